from __future__ import annotations

from slimc.analysis.shapes import infer
from slimc.calib.probes import lower_bounds
from slimc.ir.text import parse_text
from slimc.ops import OPS

GRAPH = parse_text("""
graph (%x: f32[N,2], %bound: f32[]) -> (%y)
  %low = constant f32[] -1.5
  %r: f32[N,2] = Relu(%x) @relu
  %c: f32[N,2] = Clip(%x, %low) @known
  %d: f32[N,2] = Clip(%x, %bound) @computed
  %s: f32[N,2] = Add(%r, %c) @sum
  %y: f32[N,2] = Add(%s, %d) @end
""")


def test_clamps_with_known_bounds_have_a_floor() -> None:
    assert lower_bounds(GRAPH, OPS, infer(GRAPH, OPS, {"N": 1})) == {"r": 0.0, "c": -1.5}
