from __future__ import annotations

import pytest

from slimc.analysis.dynamic_sizes import sizes_read
from slimc.analysis.shapes import infer
from slimc.ir.text import parse_text
from slimc.ops import OPS


def read(text: str) -> list[tuple[str, int, str]]:
    graph = parse_text(text)
    found = sizes_read(graph, OPS, infer(graph, OPS))
    return [(one.value, one.axis, one.node.name) for one in found]


HEAD = """
graph (%x: f32[2,6]) -> (%y)
  %w = constant f32[6,8] random(0)
  %one = constant i64[] 1
  %one1 = constant i64[1] [1]
  %two = constant i64[] 2
  %rest = constant i64[1] [-1]
  %h = MatMul(%x, %w) @fc
  %s = Shape(%h) @shape
  %n = Gather(%s, %one) @width
"""

REFITTED = {
    "a target of a Reshape": """
  %n1 = Gather(%s, %one1) @width1
  %t = Concat(%rest, %n1) {axis=0} @target
  %y = Reshape(%h, %t) @flat
""",
    "half of it as such a target": """
  %two1 = constant i64[1] [2]
  %n1 = Gather(%s, %one1) @width1
  %half = Div(%n1, %two1) @half
  %t = Concat(%rest, %two1, %half) {axis=0} @target
  %y = Reshape(%h, %t) @fold
""",
    "the shape of an Expand": """
  %ones = constant f32[1,1] [1]
  %e = Expand(%ones, %s) @spread
  %y = Mul(%h, %e) @scale
""",
}


@pytest.mark.parametrize("case", REFITTED)
def test_a_size_that_a_refit_rewrites_is_not_read(case: str) -> None:
    assert read(HEAD + REFITTED[case]) == []


COMPUTED = {
    "a square root": """
  %f = Cast(%n) {to=1} @float
  %q = Sqrt(%f) @root
  %y = Div(%h, %q) @scale
""",
    "a factor": """
  %f = Cast(%n) {to=1} @float
  %y = Mul(%h, %f) @scale
""",
}


@pytest.mark.parametrize("case", COMPUTED)
def test_a_size_under_arithmetic_with_elements_is_read(case: str) -> None:
    found = read(HEAD + COMPUTED[case])
    assert [(value, axis) for value, axis, _ in found] == [("h", 1)]


def test_the_node_that_computes_is_named() -> None:
    assert read(HEAD + COMPUTED["a factor"]) == [("h", 1, "scale")]


def test_sizes_of_other_axes_are_not_read() -> None:
    text = HEAD.replace("Gather(%s, %one)", "Gather(%s, %zero)").replace(
        "  %two =", "  %zero = constant i64[] 0\n  %two ="
    )
    assert [axis for _, axis, _ in read(text + COMPUTED["a factor"])] == [0]


def test_an_operator_without_a_row_reads_what_it_gets() -> None:
    text = HEAD + "  %y: f32[2,8] = my.domain.Strange(%h, %n) @strange\n"
    text = text.replace("-> (%y)\n", "-> (%y)\n  opset my.domain 1\n")
    assert read(text) == [("h", 1, "strange")]


def test_the_number_of_elements_is_the_size_of_every_axis() -> None:
    text = """
    graph (%x: f32[2,6]) -> (%y)
      %h = Relu(%x) @act
      %n = Size(%h) @count
      %f = Cast(%n) {to=1} @float
      %y = Div(%h, %f) @mean
    """
    assert {(value, axis) for value, axis, _ in read(text)} == {("h", 0), ("h", 1)}
