from __future__ import annotations

import numpy as np

from slimc.calib.collect import batch_feeds, batch_singly
from slimc.calib.data import Data
from slimc.ir.text import parse_text

GRAPH = parse_text("graph (%x: f32[N,A,B]) -> (%y)\n  %y: f32[N,A,B] = Relu(%x) @r")


def data(*shapes: tuple[int, int, int]) -> Data:
    return Data.from_feeds([{"x": np.full(s, i, np.float32)} for i, s in enumerate(shapes)], GRAPH)


def test_neighbours_of_one_shape_run_together() -> None:
    several = data((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 3))
    made = list(batch_feeds(several))
    assert [(batch.first, batch.count) for batch in made] == [(0, 2), (2, 1), (3, 1)]
    assert made[0].feed["x"][:, 0, 0].tolist() == [0, 1, 1]
    assert [batch.where(several) for batch in made[:2]] == [
        "feeds 0 to 1 of a list",
        "feed 2 of a list",
    ]


def test_at_most_eight_samples() -> None:
    assert [batch.count for batch in batch_feeds(data(*[(4, 1, 1)] * 5))] == [2, 2, 1]


def test_large_feeds_stay_alone() -> None:
    assert [batch.count for batch in batch_feeds(data(*[(1, 512, 400)] * 2))] == [1, 1]


def test_without_an_axis_of_samples_each_is_alone() -> None:
    graph = parse_text("graph (%x: f32[1,2]) -> (%y)\n  %y: f32[1,2] = Relu(%x) @r")
    feeds = Data.from_feeds([{"x": np.zeros((1, 2), np.float32)}] * 3, graph)
    assert (
        [b.count for b in batch_feeds(feeds)] == [b.count for b in batch_singly(feeds)] == [1, 1, 1]
    )
