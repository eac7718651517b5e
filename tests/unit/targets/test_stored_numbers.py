from __future__ import annotations

import numpy as np

from slimc.execute.ort import Session
from slimc.ir.text import parse_text
from slimc.targets.stored_numbers import stored_numbers

GRAPH = """graph (%x: f32[4]) -> (%a, %b, %y)
  %w.q = constant i8[8,4] random(0, -64..64)
  %w.s = constant f32[8] random(1, 0.01..0.02)
  %w: f32[8,4] = DequantizeLinear(%w.q, %w.s) {axis=0}
  %t: f32[4,8] = Transpose(%w) {perm=[1,0]}
  %r = constant i64[3] [2,2,8]
  %a: f32[2,2,8] = Reshape(%t, %r)
  %v = constant f32[8,4] random(2, -0.02..0.02)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %v.q: i8[8,4] = QuantizeLinear(%v, %s, %z)
  %b: f32[8,4] = DequantizeLinear(%v.q, %s, %z)
  %y: f32[4] = Relu(%x)"""


def test_numbers_are_those_that_a_runtime_works_out() -> None:
    graph = parse_text(GRAPH)
    results = Session(graph, optimize=False).run({"x": np.zeros(4, np.float32)})
    np.testing.assert_array_equal(stored_numbers(graph, "a"), results["a"])


def test_what_q_makes_zero_is_zero() -> None:
    graph = parse_text(GRAPH)
    results = Session(graph, optimize=False).run({"x": np.zeros(4, np.float32)})
    found = stored_numbers(graph, "b")
    assert found is not None
    np.testing.assert_array_equal(found == 0, results["b"] == 0)
    assert 0 < (found == 0).sum() < found.size


def test_what_is_computed_has_no_numbers() -> None:
    graph = parse_text(GRAPH)
    assert stored_numbers(graph, "x") is None
    assert stored_numbers(graph, "y") is None
