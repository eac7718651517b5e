from __future__ import annotations

import pytest

from slimc.analysis.integer_weights import integer_weights
from slimc.ir.text import parse_text
from slimc.ops import OPS

WHERE = {
    "product": """
graph (%x: u8[N,8]) -> (%y)
  %w = constant i8[8,4] random(0)
  %y: i32[N,4] = MatMulInteger(%x, %w) @product
""",
    "weight": """
graph (%x: f32[N,8]) -> (%y)
  %w = constant f32[8,4] random(0)
  %s = constant f32[] 0.01
  %q: u8[8,4] = QuantizeLinear(%w, %s) @weight
  %y: u8[N,8] = QuantizeLinear(%x, %s) @data
""",
    "lookup": """
graph (%x: i64[N]) -> (%y)
  %table = constant u8[8,4] random(0)
  %s = constant f32[] 0.01
  %r: u8[N,4] = Gather(%table, %x) @lookup
  %y: f32[N,4] = DequantizeLinear(%r, %s) @rows
""",
    "unknown": """
graph (%x: f32[N,8]) -> (%y)
  %w = constant i8[8,4] random(0)
  %y: f32[N,4] = Product(%x, %w) @unknown
""",
    "inside": """
graph (%c: bool[], %x: f32[N,8]) -> (%y)
  %w = constant i8[8,4] random(0)
  %s = constant f32[] 0.01
  %y: f32[N,4] = If(%c) @choice
    then_branch = graph () -> (%a)
      %d: f32[8,4] = DequantizeLinear(%w, %s) @inside
      %a: f32[N,4] = MatMul(%x, %d) @then
    else_branch = graph () -> (%b)
      %b: f32[N,4] = Identity(%x) @else
""",
}


@pytest.mark.parametrize("node", WHERE)
def test_integers_that_are_weights_are_found(node: str) -> None:
    assert integer_weights(parse_text(WHERE[node]), OPS)[0] == node


def test_integers_that_are_data_are_no_weights() -> None:
    graph = parse_text("""
graph (%x: u8[N,8], %i: i64[N]) -> (%y)
  %w = constant f32[8,4] random(0)
  %s = constant f32[] 0.01
  %names = constant i64[8,4] random(0)
  %f: f32[N,8] = DequantizeLinear(%x, %s) @floats
  %y: f32[N,4] = MatMul(%f, %w) @product
  %r: i64[N,4] = Gather(%names, %i) @lookup
""")
    assert integer_weights(graph, OPS) == ()
