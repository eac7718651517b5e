from __future__ import annotations

import pytest

import slimc
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.bodies_in_float import deciding_inputs, left_in_bodies

CHOSEN = """graph (%x: f32[1,4], %sr: i64[]) -> (%y)
  %w = constant f32[4,2] random(0)
  %rate = constant i64[] 16000
  %c: bool[] = Equal(%sr, %rate) @same
  %y: f32[1,2] = If(%c) @if
    then_branch = graph () -> (%a)
      %a: f32[1,2] = MatMul(%x, %w) @fast
    else_branch = graph () -> (%b)
      %v = constant f32[4,2] random(1)
      %r: f32[1,2] = MatMul(%x, %v) @slow
      %b: f32[1,2] = Relu(%r) @relu"""
LOOPED = """graph (%x: f32[2,4], %n: i64[]) -> (%y)
  %w = constant f32[4,4] random(0)
  %y: f32[2,4] = Loop(%n, _, %x) @loop
    body = graph (%i: i64[], %go: bool[], %s: f32[2,4]) -> (%on, %next)
      %on: bool[] = Identity(%go) @on
      %next: f32[2,4] = MatMul(%s, %w) @inside"""


def test_layers_of_both_branches_are_named_with_the_input_to_fix() -> None:
    said = left_in_bodies(parse_text(CHOSEN), OPS)
    assert sorted(one.node for one in said) == ["fast", "slow"]
    assert {one.message for one in said} == {"stays in float: it stands in a body of 'if' (If)"}
    assert all("--bind sr=VALUE" in one.help for one in said)


def test_a_loop_is_freed_by_no_input() -> None:
    graph = parse_text(LOOPED)
    (said,) = left_in_bodies(graph, OPS)
    assert (said.node, said.help) == ("inside", "")
    assert deciding_inputs(graph, graph.by_name["loop"]) == ()


@pytest.mark.parametrize(
    ("condition", "inputs"),
    [
        ("%c: bool[] = Equal(%sr, %rate) @same", ("sr",)),
        ("%c: bool[] = ReduceMax(%x) @same", ()),  # data decide
    ],
)
def test_which_inputs_decide(condition: str, inputs: tuple[str, ...]) -> None:
    graph = parse_text(CHOSEN.replace("%c: bool[] = Equal(%sr, %rate) @same", condition))
    assert deciding_inputs(graph, graph.by_name["if"]) == inputs


def test_a_graph_without_bodies_leaves_nothing() -> None:
    graph = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Relu(%x) @relu")
    assert left_in_bodies(graph, OPS) == ()
    assert deciding_inputs(graph, graph.by_name["relu"]) == ()


def test_the_branch_of_a_bound_input_becomes_integers() -> None:
    left = slimc.compile(parse_text(CHOSEN), "quant", "cpu-vnni")
    made = slimc.compile(parse_text(CHOSEN), "quant", "cpu-vnni", bind={"sr": "16000"})
    assert (left.report.integer_intended, made.report.integer_intended) == (0, 1)
    assert made.report.integer_achieved == 1
    (nothing,) = (r for p in left.report.passes for r in p.remarks if "nothing in" in r.message)
    assert "--bind sr=VALUE" in nothing.message
