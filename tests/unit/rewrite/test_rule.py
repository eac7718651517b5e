from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text, to_text
from slimc.ops.elementwise import ELEMENTWISE
from slimc.rewrite.match import Match
from slimc.rewrite.result import PassResult
from slimc.rewrite.rule import Made, Rule, Skip, rewrite

NEG_NEG = Rule("Neg(&Neg(x))", lambda m: m.value("x"), "two signs cancel")
FUSED = Rule("Mul{x, Sigmoid(x)}", lambda m: Made("Swish", (m.value("x"),)))


def run(text: str, *rules: Rule, keep: tuple[str, ...] = ()) -> PassResult:
    return rewrite(parse_text(text), rules, ops=ELEMENTWISE, made_by="test-pass", keep=keep)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


SIGNS = """
graph (%x: f32[2]) -> (%y)
  %a: f32[2] = Neg(%x) @a
  %b: f32[2] = Neg(%a) @b
  %y: f32[2] = Relu(%b) @y
"""


def test_a_value_replaces_a_match_and_dead_nodes_go() -> None:
    result = run(SIGNS, NEG_NEG)
    assert ops(result.graph) == ["Relu"]
    assert result.graph.nodes[0].inputs == ("x",)
    assert [str(r) for r in result.remarks] == ["applied @b: two signs cancel"]


def test_what_others_use_stays() -> None:
    text = SIGNS.replace("(%y)", "(%y, %z)") + "  %z: f32[2] = Abs(%a) @z\n"
    assert ops(run(text, NEG_NEG).graph) == ["Neg", "Relu", "Abs"]


def test_the_new_node_keeps_output_name_type_and_origin() -> None:
    text = (
        "graph (%x: f32[n]) -> (%y)\n  %s: f32[n] = Sigmoid(%x) @s\n  %y: f32[n] = Mul(%s, %x) @m"
    )
    result = run(text, FUSED)
    (node,) = result.graph.nodes
    assert (node.op, node.inputs, node.outputs, node.name) == ("Swish", ("x",), ("y",), "m")
    assert node.origin is not None
    assert (node.origin.made_by, node.origin.nodes) == ("test-pass", ("s", "m"))
    assert str(result.graph.types["y"]) == "f32[n]"
    assert result.remarks[0].message == "Sigmoid, Mul became Swish"


def test_an_input_that_serves_as_output_is_made_by_an_identity() -> None:
    text = SIGNS.replace("-> (%y)", "-> (%b)")
    result = run(text, NEG_NEG, Rule("Identity(x)", lambda m: m.value("x")))
    assert [(n.op, n.inputs, n.outputs) for n in result.graph.nodes] == [
        ("Identity", ("x",), ("b",))
    ]


def test_a_value_of_another_type_is_refused() -> None:
    text = "graph (%x: f32[2], %z: f32[1,2]) -> (%y)\n  %y: f32[1,2] = Add(%x, %z) @y"
    result = run(text, Rule("Add(x, z)", lambda m: m.value("x")))
    assert ops(result.graph) == ["Add"]
    assert result.remarks[0].message == "its type would change from f32[1,2] to f32[2]"


def test_a_new_node_of_another_type_is_refused() -> None:
    text = "graph (%x: f32[2], %z: f32[1,2]) -> (%y)\n  %y: f32[1,2] = Add(%x, %z) @y"
    result = run(text, Rule("Add(x, z)", lambda m: Made("Relu", (m.value("x"),))))
    assert result.remarks[0].kind == "skipped"


def test_nested_nodes_and_constants_are_named_after_the_root() -> None:
    def twice(m: Match) -> Made:
        return Made("Mul", (Made("Abs", (m.value("x"),)), np.array([2], np.float32)))

    result = run("graph (%x: f32[3]) -> (%y)\n  %y: f32[3] = Relu(%x) @r", Rule("Relu(x)", twice))
    inner, outer = result.graph.nodes
    assert (inner.op, inner.name, outer.inputs[1]) == ("Abs", "r.Abs", "r.b")
    assert str(result.graph.types[inner.outputs[0]]) == "f32[3]"


def test_numpy_scalars_are_constants() -> None:
    def halved(m: Match) -> Made:
        return Made("Mul", (m.value("x"), m.array("c") * np.float32(0.5)))

    text = """
graph (%x: f32[3]) -> (%y)
  %c = constant f32[] 3
  %y: f32[3] = Div(%x, %c) @d
"""
    result = run(text, Rule("Div(x, const c)", halved))
    assert result.graph.array("d.b") == 1.5


def test_a_node_that_reads_what_goes_is_found_out() -> None:
    def wrong(m: Match) -> Made:
        return Made("Abs", (m.node("Neg").outputs[0],))

    text = "graph (%x: f32[3]) -> (%y)\n  %a: f32[3] = Neg(%x)\n  %y: f32[3] = Relu(%a) @r"
    with pytest.raises(SlimcError) as error:
        run(text, Rule("Relu(Neg(x))", wrong))
    assert error.value.name == "bad-rule"


def test_a_nested_node_may_continue_a_matched_one() -> None:
    def swapped(m: Match) -> Made:
        inner = Made("Relu", (m.value("x"),), node=m.node("Neg").name)
        return Made("Neg", (inner,))

    text = "graph (%x: f32[3]) -> (%y)\n  %a: f32[3] = Neg(%x) @n\n  %y: f32[3] = Relu(%a) @r"
    result = run(text, Rule("Relu(Neg(x))", swapped))
    assert [(n.op, n.name, n.outputs) for n in result.graph.nodes] == [
        ("Relu", "n", ("a",)),
        ("Neg", "r", ("y",)),
    ]


def test_rebuilt_continues_the_inner_node() -> None:
    def fold(m: Match) -> Made:
        return m.rebuilt("PRelu", s=m.numbers("s") * m.numbers("c"))

    text = """
graph (%x: f32[2]) -> (%y)
  %s = constant f32[2] [1, 2]
  %c = constant f32[2] [3, 4]
  %p: f32[2] = PRelu(%x, %s) @p
  %y: f32[2] = Mul(%p, %c) @m
"""
    result = run(text, Rule("Mul(PRelu(x, const s), const c)", fold))
    (node,) = result.graph.nodes
    assert (node.name, node.inputs, node.outputs) == ("p", ("x", "p.s"), ("y",))
    array = result.graph.array("p.s")
    assert array is not None
    assert array.dtype == np.float32
    assert array.tolist() == [3, 8]
    assert str(result.remarks[0]) == "applied @m: folded into @p"


def test_a_computed_operand_is_a_reason() -> None:
    def fold(m: Match) -> Skip:
        return Skip(str(m.array("z").size))

    text = "graph (%x: f32[2], %z: f32[2]) -> (%y)\n  %y: f32[2] = Add(%x, %z) @y"
    result = run(text, Rule("Add(x, z)", fold))
    assert str(result.remarks[0]) == "skipped @y: 'z' is computed, not constant"


def test_kept_nodes_are_left_and_unknown_ones_named() -> None:
    result = run(SIGNS, NEG_NEG, keep=("a*",))
    assert ops(result.graph) == ["Neg", "Neg", "Relu"]
    assert "kept by option" in result.remarks[0].message
    with pytest.raises(SlimcError) as error:
        run(SIGNS, NEG_NEG, keep=("c",))
    assert error.value.name == "unknown-node"


def test_bodies_are_rewritten_and_see_outer_constants() -> None:
    text = """
graph (%c: bool[], %x: f32[2]) -> (%y)
  %one = constant f32[] 1
  %y: f32[2] = If(%c) @if
    then_branch = graph () -> (%t)
      %t: f32[2] = Mul(%x, %one) @t
    else_branch = graph () -> (%e)
      %n: f32[2] = Neg(%x) @n
      %m: f32[2] = Neg(%n) @m
      %e: f32[2] = Abs(%m) @e
"""
    result = run(text, NEG_NEG, Rule("Mul{x, 1}", lambda m: m.value("x")))
    then, other = result.graph.nodes[0].bodies[::-1]
    assert ops(other) == ["Abs"]
    assert [(n.op, n.inputs) for n in then.nodes] == [("Identity", ("x",))]
    assert "one" not in result.graph.constants
    assert parse_text(to_text(result.graph)) is not None


def test_rules_that_undo_each_other_are_found_out() -> None:
    there = Rule("Relu(x)", lambda m: Made("Abs", (m.value("x"),)))
    back = Rule("Abs(x)", lambda m: Made("Relu", (m.value("x"),)))
    with pytest.raises(SlimcError) as error:
        run("graph (%x: f32[3]) -> (%y)\n  %y: f32[3] = Relu(%x) @r", there, back)
    assert error.value.name == "rules-do-not-end"


def test_a_node_with_a_second_result_in_use_stays() -> None:
    text = "graph (%x: f32[3]) -> (%y, %m)\n  %y: f32[3], %m: bool[3] = Dropout(%x) @d"
    result = run(text, Rule("Dropout(x, ...)", lambda m: m.value("x")))
    assert str(result.remarks[0]) == "skipped @d: more than its first result is used"


def chain(count: int) -> str:
    lines = [f"  %v{i}: f32[2] = Neg(%{f'v{i - 1}' if i else 'x'}) @n{i}" for i in range(count)]
    return "\n".join(["graph (%x: f32[2]) -> (%y)", *lines, f"  %y: f32[2] = Abs(%v{count - 1})"])


def fan(count: int) -> str:
    """One value with `count` users, and a chain that collects what they make."""
    lines = ["graph (%x: f32[2]) -> (%y)", "  %v: f32[2] = Neg(%x) @v", "  %s0: f32[2] = Abs(%x)"]
    for i in range(count // 2):
        lines.append(f"  %n{i}: f32[2] = Neg(%v) @n{i}")
        lines.append(f"  %s{i + 1}: f32[2] = Add(%s{i}, %n{i}) @a{i}")
    return "\n".join([*lines, f"  %y: f32[2] = Abs(%s{count // 2})"])


@pytest.mark.parametrize("make", [chain, fan])
def test_ten_thousand_nodes_take_seconds(make: Callable[[int], str]) -> None:
    graph = parse_text(make(10_000))
    start = time.process_time()
    after = rewrite(graph, [NEG_NEG], ops=ELEMENTWISE, made_by="test-pass").graph
    assert time.process_time() - start < 10  # about 1 s; a quadratic engine takes minutes
    assert ops(after).count("Neg") == 0
