from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.io.graphsurgeon import from_surgeon, to_surgeon, wrap_script
from slimc.ir.graph import Form, Graph, Node
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import find_problems

NET = """graph @net (%x: f32[N,4]) -> (%y)
  metadata "author" "me"
  %w = constant f32[4,4] random(0)
  %z: f32[N,4] = MatMul(%x, %w) @fc integer
  %y: f32[N,4] = Relu(%z) @act
"""
FEEDS = {"x": np.ones((1, 4), np.float32)}


def test_a_graph_goes_and_comes_back() -> None:
    graph = parse_text(NET)
    surgeon = to_surgeon(graph)
    assert [n.op for n in surgeon.nodes] == ["MatMul", "Relu"]
    assert to_text(from_surgeon(surgeon, graph)) == NET.rstrip("\n") or (
        to_text(from_surgeon(surgeon, graph)) == to_text(graph)
    )


def test_constants_bodies_and_notes_come_back() -> None:
    graph = parse_text("""\
graph (%x: f32[4], %c: bool[]) -> (%y)
  %unread = constant f32[2] [1, 2]
  %b = constant f32[4] random(0)
  %a = constant f32[4] random(1)
  %z: f32[4] = Add(%x, %a) @add
  %t: f32[4] = Mul(%z, %b) @mul
  %y: f32[4] = If(%c) @choose
    then_branch = graph () -> (%u)
      %k = constant f32[4] random(2)
      %dead = constant f32[1] [0]
      %u: f32[4] = Mul(%t, %k) @inner
    else_branch = graph () -> (%v)
      %v: f32[4] = Exp(%t) @other
""")
    assert to_text(from_surgeon(to_surgeon(graph), graph)) == to_text(graph)


def test_a_script_that_changes_the_graph() -> None:
    def script(surgeon: Any) -> None:
        for node in surgeon.nodes:
            if node.op == "Relu":
                node.op = "Neg"

    changed = wrap_script(script)(parse_text(NET))
    assert (run(changed, FEEDS)["y"] == -run(parse_text(NET), FEEDS, ["z"])["z"]).all()


def test_a_script_that_returns_another_graph() -> None:
    def script(_: Any) -> Any:
        x, y = gs.Variable("x", np.float32, ("N", 4)), gs.Variable("y", np.float32, ("N", 4))
        return gs.Graph([gs.Node("Exp", "exp", inputs=[x], outputs=[y])], [x], [y], opset=17)

    assert [n.op for n in wrap_script(script)(parse_text(NET)).nodes] == ["Exp"]


def test_the_form_is_kept_without_dead_nodes() -> None:
    def script(surgeon: Any) -> Any:
        relu = surgeon.nodes[1]
        surgeon.outputs = [relu.inputs[0]]
        relu.inputs[0].dtype = np.float32
        return surgeon

    changed = wrap_script(script)(replace(parse_text(NET), form=Form.CANONICAL))
    assert changed.form is Form.CANONICAL
    assert [n.name for n in changed.nodes] == ["fc"]
    assert changed.nodes[0].integer
    assert not list(find_problems(changed))


def test_what_graphsurgeon_drops_is_refused() -> None:
    optional = parse_text("graph (%x: f32[4]) -> (%y)\n  %y: optional<f32[4]> = Optional(%x)")
    kind = TensorType(DType.F32, (4,))
    attribute = Graph(
        "g", ("x",), ("y",),
        (Node("Optional", ("x",), ("y",), "opt", {"type": kind}),),
        types={"x": kind},
    )  # fmt: skip
    raw = parse_text('graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = mine.Op(%x) {a=b"\\xff"}')
    empty = parse_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = mine.Op(%x) {a=[]}")
    for graph in (optional, attribute, raw, empty):
        with pytest.raises(SlimcError, match="surgeon-drops"):
            to_surgeon(graph)
