from __future__ import annotations

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.random_fields import draw_field, sizes_from_facts, synthesize_random_fields
from slimc.ir.text import parse_text
from slimc.ops import OPS

GRAPH = """
graph (%x: f32[N,3,32,32], %k: i64[N]) -> (%y, %j)
  %y = Relu(%x) @r
  %j = Identity(%k) @i
"""


def neighbours(field: np.ndarray) -> float:
    a, b = field[..., 1:].ravel(), field[..., :-1].ravel()
    return float(np.corrcoef(a, b)[0, 1])


def test_fields_are_smooth_along_long_axes_but_the_first() -> None:
    field = draw_field((8, 3, 32, 32), np.random.default_rng(0), edges=False)
    assert neighbours(field) > 0.9
    assert neighbours(np.moveaxis(field, 2, -1)) > 0.9
    flat = field - field.mean(axis=(2, 3), keepdims=True)
    assert abs(neighbours(np.moveaxis(flat, 1, -1))) < 0.2


def test_fields_cut_at_a_level_have_two_values() -> None:
    field = draw_field((4, 1, 32, 32), np.random.default_rng(0), edges=True)
    assert all(len(np.unique(sample)) <= 2 for sample in field)


def test_short_axes_are_noise() -> None:
    field = draw_field((4096, 4), np.random.default_rng(0), edges=False)
    assert abs(neighbours(field)) < 0.1


def test_feeds_fit_the_graph_and_repeat() -> None:
    graph = parse_text(GRAPH)
    data = synthesize_random_fields(graph, {"N": 2}, seed=3, count=4)
    feeds = list(data)
    assert data.synthetic
    assert data.count == len(feeds) == 4
    assert all(f["x"].shape == (2, 3, 32, 32) and f["x"].dtype == np.float32 for f in feeds)
    assert all(f["k"].dtype == np.int64 for f in feeds)
    again = synthesize_random_fields(graph, {"N": 2}, seed=3, count=4)
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(feeds, again, strict=True))
    assert not np.array_equal(feeds[0]["x"], feeds[2]["x"])


def test_sizes_are_those_of_the_facts() -> None:
    graph = parse_text(GRAPH)
    assert sizes_from_facts(graph, infer(graph, OPS, {"N": 5})) == {"N": 5}
