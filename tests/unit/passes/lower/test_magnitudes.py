from __future__ import annotations

import numpy as np

from slimc.calib.data import Data
from slimc.ir.text import parse_text
from slimc.passes.lower.magnitudes import magnitudes


def test_the_largest_of_all_feeds_counts_and_infinity_is_told() -> None:
    graph = parse_text(
        """graph (%x: f32[N,3]) -> (%y)
  %one = constant f32[] 1
  %a: f32[N,3] = Neg(%x)
  %y: f32[N,3] = Div(%one, %a)"""
    )
    feeds = [
        {"x": np.array([[1, -2, 3]], np.float32)},
        {"x": np.array([[0, -7, 2], [1, 1, 1]], np.float32)},
    ]
    found = magnitudes(graph, Data.from_feeds(feeds, graph), ["x", "a", "y"])
    assert found == {"x": 7.0, "a": 7.0, "y": np.inf}


def test_nan_is_told_and_values_in_f16_are_measured() -> None:
    graph = parse_text(
        """graph (%x: f32[4]) -> (%y)
  %h: f16[4] = Cast(%x) {to=10}
  %s: f16[4] = Sqrt(%h)
  %y: f32[4] = Cast(%s) {to=1}"""
    )
    feeds = [{"x": np.array([1, -4, 9, 16], np.float32)}]
    found = magnitudes(graph, Data.from_feeds(feeds, graph), ["x", "h", "s"])
    assert found == {"x": 16.0, "h": 16.0, "s": np.inf}


def test_no_values_need_no_run() -> None:
    graph = parse_text("graph (%x: f32[1]) -> (%y)\n  %y: f32[1] = Neg(%x)")
    assert magnitudes(graph, Data.synthesize(graph, {}), []) == {}
