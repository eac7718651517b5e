from __future__ import annotations

from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.input_sizes import at_sizes_of, measure_sample


def test_macs_are_those_of_one_sample() -> None:
    text = "graph (%x: f32[N,4]) -> (%y)\n  %w = constant f32[4,6] random(0)\n  %y = MatMul(%x, %w)"
    assert measure_sample(parse_text(text), OPS).macs == 24
    assert measure_sample(parse_text(text), OPS, {"N": 12}).macs == 24


def test_a_state_per_sample_counts_once() -> None:
    state = parse_text("""
    graph (%x: f32[N,4], %state: f32[2,M,4]) -> (%y)
      %w = constant f32[4,6] random(0)
      %s = Add(%x, %state) @s
      %y = MatMul(%s, %w) @y
    """)
    assert measure_sample(state, OPS, {"N": 12, "M": 12}).macs == 2 * 24


def test_sizes_that_another_graph_fixes() -> None:
    free = parse_text("graph (%x: f32[N,M,M,4]) -> (%y)\n  %y: f32[N,M,M,4] = Relu(%x)")
    fixed = parse_text("graph (%x: f32[2,8,8,K]) -> (%y)\n  %y: f32[2,8,8,K] = Relu(%x)")
    assert str(at_sizes_of(free, fixed).type_of("x")) == "f32[2,8,8,4]"
    assert str(at_sizes_of(free, fixed).type_of("y")) == "f32[2,8,8,4]"
    assert str(at_sizes_of(fixed, free).type_of("x")) == "f32[2,8,8,4]"
    uneven = parse_text("graph (%x: f32[2,8,6,4]) -> (%y)\n  %y: f32[2,8,6,4] = Relu(%x)")
    assert str(at_sizes_of(free, uneven).type_of("x")) == "f32[2,M,M,4]"
    other = parse_text("graph (%z: f32[2,8,8,4]) -> (%y)\n  %y: f32[2,8,8,4] = Relu(%z)")
    assert at_sizes_of(free, other) is free
