from __future__ import annotations

import pytest

from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.text import parse_text
from slimc.ops.elementwise import ELEMENTWISE
from slimc.rewrite.pattern import Found, depth, matches, parse_pattern
from slimc.rewrite.scope import EditedScope


def found(pattern: str, text: str, root: str = "") -> list[Found]:
    graph = parse_text(text)
    scope = EditedScope(Editor(graph), ELEMENTWISE)
    node = graph.by_name[root] if root else graph.nodes[-1]
    return [f for p in parse_pattern(pattern) for f in matches(p, node, scope)]


TWO = """
graph (%x: f32[2], %z: f32[2]) -> (%y)
  %r: f32[2] = Relu(%x) @r
  %y: f32[2] = Add(%r, %z) @y
"""


def test_names_stand_for_values_and_nodes() -> None:
    (one,) = found("Add(Relu(a), b)", TWO)
    assert dict(one.values) == {"a": "x", "b": "z"}
    assert one.consumed == ("y", "r")
    assert [label for label, _ in one.nodes] == ["", ""]


def test_parentheses_keep_the_order_and_braces_do_not() -> None:
    assert not found("Add(b, Relu(a))", TWO)
    assert len(found("Add{b, Relu(a)}", TWO)) == 1


def test_alternatives_of_operators_and_of_operands() -> None:
    assert found("Sub|Add(Relu|Neg(a), b)", TWO)
    assert found("Add(Neg(a) | Relu(a), b)", TWO)
    assert found("Sub(a, b) | Add(a, b)", TWO)
    assert not found("Add(Neg(a) | Abs(a), b)", TWO)


def test_a_name_used_twice_is_one_value() -> None:
    text = """
graph (%x: f32[2], %q: f32[2]) -> (%y)
  %s: f32[2] = Sigmoid(%x)
  %y: f32[2] = Mul(%s, %x)
"""
    assert found("Mul{x, Sigmoid(x)}", text)
    assert not found("Mul{x, Sigmoid(x)}", text.replace("Sigmoid(%x)", "Sigmoid(%q)"))


def test_a_value_with_another_user_is_not_used_up() -> None:
    shared = TWO.replace("-> (%y)", "-> (%y, %o)") + "  %o: f32[2] = Neg(%r) @o\n"
    assert not found("Add(Relu(a), b)", shared, "y")
    (one,) = found("Add(&Relu(a), b)", shared, "y")
    assert one.consumed == ("y",)


def test_a_graph_output_is_not_used_up() -> None:
    assert not found("Add(Relu(a), b)", TWO.replace("(%y)", "(%y, %r)"))


def test_what_a_name_stands_for_is_not_used_up() -> None:
    text = "graph (%x: f32[2]) -> (%y)\n  %r: f32[2] = Relu(%x)\n  %y: f32[2] = Mul(%r, %r)"
    assert found("Mul(Relu(a), Relu(a))", text)
    assert not found("Mul(Relu(a), b)", text)


def test_numbers_are_equal_or_near() -> None:
    text = """
graph (%x: f32[2]) -> (%y)
  %c = constant f32[] 1.41421
  %y: f32[2] = Div(%x, %c)
"""
    assert found("Div(x, 1.4142135623~)", text)
    assert not found("Div(x, 1.4142135623)", text)
    assert not found("Div(x, 1.4143~)", text)
    assert not found("Div(x, 1.4142135623~)", text.replace("f32", "f64"))


def test_half_precision_numbers_are_near_by_their_own_steps() -> None:
    text = """
graph (%x: f16[2]) -> (%y)
  %c = constant f16[] 0.16667
  %y: f16[2] = Mul(%x, %c)
"""
    assert found("Mul{x, 0.1666666~}", text)


def test_constants_optional_and_further_operands() -> None:
    text = """
graph (%x: f32[1,1,4,4]) -> (%y)
  %w = constant f32[1,1,1,1] [1]
  %y: f32[1,1,4,4] = Conv(%x, %w)
"""
    (one,) = found("Conv(x, const w, b?)", text)
    assert "b" not in one.values
    assert not found("Conv(x, w, b)", text)
    assert not found("Conv(x)", text)
    assert found("Conv(x, ...)", text)
    assert found("Conv(x, *others)", text)[0].rest == ("w",)
    assert not found("Conv(const x, w)", text)


def test_depth_counts_nodes() -> None:
    (root,) = parse_pattern("Mul(x, Add(Relu(x) | y, 3))")
    assert depth(root) == 3


@pytest.mark.parametrize("text", ["Conv(x", "x", "Conv(x) y", "Add{x}", "Conv(x,)", "5 | Relu(x)"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(SlimcError, match=r".") as error:
        parse_pattern(text)
    assert error.value.name == "text-syntax"
