"""Channels leave from inside If, Loop and Scan, both branches taken."""

from __future__ import annotations

import numpy as np
from cutting import Cut, assert_same, cut, drawn

from slimc.ir.graph import Graph


def both(made: Cut) -> list[dict[str, np.ndarray]]:
    """Return a feed for each value of the input `c`."""
    feed = drawn(made.whole)
    return [{**feed, "c": np.array(value)} for value in (False, True)]


def body(graph: Graph, node: str, number: int = 0) -> Graph:
    return graph.by_name[node].bodies[number]


INSIDE = """
graph (%x: f32[2,6], %c: bool[]) -> (%y)
  %w = constant f32[6,8] random(0)
  %y: f32[2,3] = If(%c) @if
    then_branch = graph () -> (%t)
      %v = constant f32[8,3] random(1)
      %h = MatMul(%x, %w) @up
      %r = Relu(%h) @act
      %t = MatMul(%r, %v) @down
    else_branch = graph () -> (%e)
      %a = constant f32[6,10] random(2)
      %b = constant f32[10] random(3)
      %d = constant f32[10,3] random(4)
      %g = Gemm(%x, %a, %b) @wide
      %e = MatMul(%g, %d) @back
"""


def test_channels_that_live_in_a_branch_leave() -> None:
    made = cut(INSIDE)
    assert made.lost == {"up": 4, "wide": 5}
    assert made.shape("w") == (6, 4), "a constant outside the body"
    assert made.shape("v") == (4, 3), "a constant inside"
    assert made.shape("b") == (5,)
    assert_same(made, *both(made))


def test_a_kept_node_keeps_what_is_inside() -> None:
    assert cut(INSIDE, keep=("if",)).lost == {}
    assert cut(INSIDE, keep=("up",)).lost == {"wide": 5}


CAPTURED = """
graph (%x: f32[2,6], %c: bool[]) -> (%y, %z)
  %w = constant f32[6,8] random(0)
  %u = constant f32[8,2] random(5)
  %h = MatMul(%x, %w) @outer
  %z = MatMul(%h, %u) @aside
  %y: f32[2,3] = If(%c) @if
    then_branch = graph () -> (%t)
      %v = constant f32[8,3] random(1)
      %r = Relu(%h) @act
      %t = MatMul(%r, %v) @down
    else_branch = graph () -> (%e)
      %d = constant f32[8,3] random(2)
      %e = MatMul(%h, %d) @back
"""


def test_a_captured_value_loses_channels_in_every_reader() -> None:
    made = cut(CAPTURED)
    assert made.lost == {"outer": 4}
    assert [made.shape(k) for k in "wuvd"] == [(6, 4), (4, 2), (4, 3), (4, 3)]
    assert_same(made, *both(made))


def test_a_captured_value_is_pinned_by_what_a_body_does_with_it() -> None:
    strange = CAPTURED.replace("= Relu(%h)", ": f32[2,8] = my.domain.Strange(%h)")
    strange = strange.replace("-> (%y, %z)\n", "-> (%y, %z)\n  opset my.domain 1\n")
    made = cut(strange)
    assert made.lost == {}
    assert "'act' (my.domain.Strange), whose axes are not understood" in made.why_pinned("outer")


RESULTS = """
graph (%x: f32[1,3,6,6], %c: bool[]) -> (%y)
  %w = constant f32[8,3,1,1] random(0)
  %q = constant f32[4,8,1,1] random(5)
  %h = Conv(%x, %w) @first
  %s: f32[1,8,6,6] = If(%c) @if
    then_branch = graph () -> (%t)
      %t = Relu(%h) @act
    else_branch = graph () -> (%e)
      %v = constant f32[8,8,1,1] random(1)
      %b = constant f32[8] random(2)
      %e = Conv(%h, %v, %b) @again
  %n = Sigmoid(%s) @gate
  %y = Conv(%n, %q) @last
"""


def test_what_branches_make_is_tied_to_the_result() -> None:
    made = cut(RESULTS)
    assert made.lost == {"first": 4}, "the identity branch ties input and result"
    assert [made.shape(k) for k in "wvbq"] == [(4, 3, 1, 1), (4, 4, 1, 1), (4,), (4, 4, 1, 1)]
    assert str(body(made.graph, "if").types["e"]) == "f32[1,4,6,6]"
    assert_same(made, *both(made))


def test_branches_of_unlike_sizes_pin_the_result() -> None:
    made = cut(RESULTS.replace("%t = Relu(%h)", "%t = GlobalAveragePool(%h)"))
    assert made.lost == {}
    assert "'if' (If.results), which reads it as a whole" in made.why_pinned("again")


def test_a_constant_that_a_branch_makes_is_sliced() -> None:
    text = RESULTS.replace("%t = Relu(%h) @act", "%t = constant f32[1,8,6,6] random(7)")
    made = cut(text)
    assert made.lost == {"first": 4, "again": 4}
    assert made.shape("t") == (1, 4, 6, 6)
    assert_same(made, *both(made))


def test_a_constant_that_a_branch_makes_and_reads_becomes_two() -> None:
    text = RESULTS.replace(
        "%t = Relu(%h) @act",
        "%t = constant f32[1,8,6,6] random(7)\n      %k = constant f32[2,8,1,1] random(8)\n"
        "      %o = Conv(%t, %k) @aside",
    )
    made = cut(
        text.replace("%s: f32[1,8,6,6] =", "%s: f32[1,8,6,6], %p: f32[1,2,6,6] =")
        .replace("(%t)\n", "(%t, %o)\n")
        .replace("(%e)\n", "(%e, %j)\n      %j = constant f32[1,2,6,6] random(9)\n")
        .replace("(%y)\n", "(%y, %p)\n", 1)
    )
    assert_same(made, *both(made))


def test_bodies_inside_bodies() -> None:
    inner = """%e: f32[1,8,6,6] = If(%c) @inner
        then_branch = graph () -> (%f)
          %v = constant f32[8,8,1,1] random(1)
          %f = Conv(%h, %v) @deep
        else_branch = graph () -> (%g)
          %g = Neg(%h) @neg
"""
    start = RESULTS.index("%v =")
    text = RESULTS[:start] + inner + RESULTS[RESULTS.index("  %n =") :]
    made = cut(text)
    assert made.lost == {"first": 4}
    assert made.shape("v") == (4, 4, 1, 1)
    assert_same(made, *both(made))


def test_a_size_that_decides_a_branch_stays() -> None:
    text = CAPTURED.replace(", %c: bool[]", "").replace(
        "  %y: f32",
        "  %k = constant i64[] 1\n  %n = constant i64[] 8\n  %o = Shape(%h) @size\n"
        "  %p = Gather(%o, %k) @width\n  %c = Equal(%p, %n) @wide\n  %y: f32",
    )
    made = cut(text)
    assert made.lost == {}
    assert "'wide' (Equal), which computes with its size" in made.why_pinned("outer")


LOOP = """
graph (%x: f32[2,6], %i: f32[2,8]) -> (%y, %all)
  %n = constant i64[] 3
  %w = constant f32[6,8] random(0)
  %r = constant f32[8,8] random(1)
  %v = constant f32[8,3] random(2)
  %h = MatMul(%x, %w) @in
  %last, %all = Loop(%n, _, %h) @loop
    body = graph (%k: i64[], %go: bool[], %s: f32[2,8]) -> (%on, %next, %taken)
      %t = constant f32[8,3] random(3)
      %u = constant f32[3,8] random(4)
      %on = Identity(%go) @on
      %m = MatMul(%s, %r) @recur
      %a = Add(%m, %h) @residual
      %next = Tanh(%a) @act
      %taken = MatMul(%next, %t) @out
  %y = MatMul(%last, %v) @end
"""


def test_carried_values_of_a_loop_are_tied_before_in_and_after() -> None:
    made = cut(LOOP)
    assert made.lost == {"in": 4}
    assert [made.shape(k) for k in "wrvt"] == [(6, 4), (4, 4), (4, 3), (4, 3)]
    assert str(body(made.graph, "loop").types["s"]) == "f32[2,4]"
    assert_same(made)


def test_a_constant_at_the_start_of_a_loop_is_sliced() -> None:
    text = LOOP.replace("(%n, _, %h)", "(%n, _, %z)").replace(
        "  %h =", "  %z = constant f32[2,8] random(6)\n  %h ="
    )
    made = cut(text)
    assert made.shape("z") == (2, 4)
    assert_same(made)


STACKED = LOOP.replace("%taken = MatMul(%next, %t)", "%taken = Neg(%next)").replace(
    "  %y =", "  %q = constant f32[8,2] random(8)\n  %z = MatMul(%all, %q) @each\n  %y ="
)
STACKED = STACKED.replace("-> (%y, %all)", "-> (%y, %z)")


def test_what_a_known_number_of_steps_stacks_is_tied() -> None:
    made = cut(STACKED)
    assert made.lost == {"in": 4}
    assert made.shape("q") == (4, 2)
    assert_same(made)


def test_what_an_unknown_number_of_steps_stacks_stays() -> None:
    made = cut(
        STACKED.replace("(%n, _, %h)", "(%n, %yes, %h)").replace(
            "  %n =", "  %yes = constant bool[] true\n  %n ="
        )
    )
    assert made.lost == {}
    assert "'loop' (Loop.results), which reads it as a whole" in made.why_pinned("in")


def test_a_carried_value_of_unknown_type_stays() -> None:
    made = cut(LOOP.replace("%s: f32[2,8]", "%s: f32[?,?]"))
    assert made.lost == {}
    assert "(Loop.results), which reads it as a whole" in made.why_pinned("in")


SCAN = """
graph (%x: f32[5,2,6]) -> (%y, %all)
  %w = constant f32[6,8] random(0)
  %r = constant f32[8,8] random(1)
  %v = constant f32[8,3] random(2)
  %z = constant f32[2,8] random(6)
  %h = MatMul(%x, %w) @in
  %last, %all = Scan(%z, %h) {num_scan_inputs=1} @scan
    body = graph (%s: f32[2,8], %step: f32[2,8]) -> (%next, %taken)
      %t = constant f32[8,3] random(3)
      %m = MatMul(%s, %r) @recur
      %a = Add(%m, %step) @sum
      %next = Tanh(%a) @act
      %taken = MatMul(%next, %t) @out
  %y = MatMul(%last, %v) @end
"""


def test_states_and_slices_of_a_scan_are_tied() -> None:
    made = cut(SCAN)
    assert made.lost == {"in": 4}
    assert [made.shape(k) for k in "wrvzt"] == [(6, 4), (4, 4), (4, 3), (2, 4), (4, 3)]
    assert_same(made)


def test_what_a_scan_stacks_is_tied_wherever_the_steps_stand() -> None:
    text = SCAN.replace("num_scan_inputs=1", "num_scan_inputs=1, scan_output_axes=[-1]")
    text = text.replace("%taken = MatMul(%next, %t)", "%taken = Neg(%next)").replace(
        "  %y =",
        "  %q = constant f32[8,2] random(8)\n  %u = Transpose(%all) {perm=[2, 0, 1]} @turn\n"
        "  %c = MatMul(%u, %q) @each\n  %y =",
    )
    made = cut(text.replace("-> (%y, %all)", "-> (%y, %c)"))
    assert made.lost == {"in": 4}
    assert made.shape("q") == (4, 2)
    assert_same(made)


def test_the_axis_that_a_scan_runs_over_stays() -> None:
    text = SCAN.replace("num_scan_inputs=1", "num_scan_inputs=1, scan_input_axes=[2]")
    text = text.replace("%x: f32[5,2,6]", "%x: f32[2,8,6]").replace(
        "%w = constant f32[6,8]", "%w = constant f32[6,5]"
    )
    made = cut(text)
    assert "in" not in made.lost
    assert "'scan' (Scan.results), which needs every index of it" in made.why_pinned("in")
    assert_same(made)
