from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.graph import Form, Graph, Node, Quantization
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ir.verify import find_problems, verify

NET = parse_text("""graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4,2] random(0)
  %z: f32[N,2] = MatMul(%x, %w)
  %y: f32[N,2] = Relu(%z)
""")


def record(**changes: Any) -> Quantization:
    facts: dict[str, Any] = {
        "dtype": DType.I8,
        "scale": np.array(0.5, np.float32),
        "zero_point": np.array(0, np.int8),
        "low": -127,
        "high": 127,
    }
    return Quantization(**{**facts, **changes})


def test_a_sound_graph_has_no_problems() -> None:
    for form in (Form.IMPORTED, Form.CANONICAL, Form.QUANTIZED):
        verify(replace(NET, form=form))
    verify(replace(NET, form=Form.LEGAL, target="cpu"))


def test_the_error_names_the_graph_and_its_form() -> None:
    with pytest.raises(SlimcError, match="broken-graph") as caught:
        verify(replace(NET, outputs=("nothing",)))
    assert caught.value.message == "the output 'nothing' has no producer"
    assert "form imported" in caught.value.where


def changed(**changes: Any) -> list[str]:
    return list(find_problems(replace(NET, **changes)))


def test_values_are_made_before_they_are_read() -> None:
    (problem,) = changed(nodes=NET.nodes[::-1])
    assert problem == "node 'y' reads 'z', which is not defined before it"


def test_names_are_unique() -> None:
    again = replace(NET.nodes[1], outputs=("z",))
    assert any("values are named 'z'" in p for p in changed(nodes=(*NET.nodes, again)))
    twin = replace(NET.nodes[1], outputs=("v",))
    assert any("nodes are named 'y'" in p for p in changed(nodes=(*NET.nodes, twin)))


def test_inputs_have_types() -> None:
    assert changed(types={}) == ["input 'x' has no type"]


def test_bodies_are_looked_into() -> None:
    def branch(node: Node) -> Graph:
        return Graph("b", (), (node.outputs[0],), (node,))

    attrs = {
        "then_branch": branch(Node("Relu", ("z",), ("r",), "then")),
        "else_branch": branch(Node("Relu", ("x",), ("s",), "else")),
    }
    loop = Node("If", ("x",), ("i",), "if", attrs)
    assert list(find_problems(replace(NET, nodes=(*NET.nodes, loop), outputs=("y", "i")))) == []
    later = Node("Neg", ("s",), ("n",), "neg")
    found = changed(nodes=(NET.nodes[0], loop, later, NET.nodes[1]))
    assert found == ["node 'neg' reads 's', which is not defined before it"]


def test_no_dead_code_from_canonical_on() -> None:
    dead = Node("Neg", ("x",), ("d",), "dead")
    constants = {**NET.constants, "unread": Constant(np.zeros(1, np.float32))}
    assert changed(nodes=(dead, *NET.nodes), constants=constants) == []
    found = changed(nodes=(dead, *NET.nodes), constants=constants, form=Form.CANONICAL)
    assert found == [
        "node 'dead' is dead: nothing reads its results",
        "constant 'unread' is dead: nothing reads it",
    ]


def test_records_only_where_the_form_has_them() -> None:
    for form in (Form.IMPORTED, Form.CANONICAL):
        assert "has a quantization" in changed(records={"x": record()}, form=form)[0]
    assert changed(records={"x": record()}, form=Form.QUANTIZED) == []
    assert changed(form=Form.LEGAL) == ["it has no target"]


@pytest.mark.parametrize(
    ("value", "changes", "told"),
    [
        ("none", {}, "'none' has a quantization but is not defined"),
        ("x", {"low": -200}, "has the invalid range -200..127 for i8"),
        ("x", {"scale": np.array(0.0)}, "a scale that is not positive"),
        ("x", {"scale": np.ones(2)}, "of different shapes"),
        ("x", {"scale": np.ones(2), "zero_point": np.zeros(2)}, "several scales but no axis"),
        ("w", {"scale": np.ones(4), "zero_point": np.zeros(4), "axis": 1}, "along an axis of 2"),
    ],
)  # fmt: skip
def test_records_that_are_wrong(value: str, changes: dict[str, Any], told: str) -> None:
    found = changed(records={value: record(**changes)}, form=Form.QUANTIZED)
    assert any(told in problem for problem in found)
