from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.held_out import select_held_out
from slimc.fit.linear import Linear, as_linear
from slimc.fit.sampling import ROWS, sample_rows
from slimc.ir.text import parse_text, to_text
from slimc.ops import OPS

GRAPH = parse_text(
    """
    graph (%x: f32[N,3,16,16]) -> (%y)
      %w = constant f32[4,3,3,3] random(0)
      %y: f32[N,4,14,14] = Conv(%x, %w) @n
    """
)


def conv() -> Linear:
    found = as_linear(GRAPH, OPS, infer(GRAPH, OPS, {"N": 2}), GRAPH.nodes[0])
    assert found is not None
    return found


def test_few_places_are_all_taken() -> None:
    found = sample_rows(conv(), (10, 4, 14, 14), 0, 0, 10, 0)
    np.testing.assert_array_equal(found.rows, np.arange(10 * 14 * 14))
    held = found.held.reshape(10, -1)
    assert held.all(axis=1).tolist() == [False] * 4 + [True] + [False] * 4 + [True]
    assert not held[[0, 1, 2, 3, 5, 6, 7, 8]].any()


def test_of_many_some_are_taken_in_every_sample() -> None:
    found = sample_rows(conv(), (64, 4, 14, 14), 3, 128, 1000, 0)
    each = -(-ROWS // 1000)
    assert np.bincount(found.rows // 196, minlength=64).tolist() == [each] * 64
    again = sample_rows(conv(), (64, 4, 14, 14), 3, 128, 1000, 0)
    np.testing.assert_array_equal(found.rows, again.rows)
    other = sample_rows(conv(), (64, 4, 14, 14), 4, 192, 1000, 0)
    assert (found.rows != other.rows).any()
    sample = 128 + found.rows // 196
    np.testing.assert_array_equal(found.held, sample % 5 == 4)


def test_windows_of_a_sample_are_places_of_it() -> None:
    found = sample_rows(conv(), (10 * 40, 4, 14, 14), 0, 0, 10, 0, sample_count=10)
    each = -(-ROWS // 10)
    assert np.bincount(found.rows // (40 * 196)).tolist() == [each] * 10
    np.testing.assert_array_equal(found.held, found.rows // (40 * 196) % 5 == 4)


def test_one_sample_holds_out_places() -> None:
    found = sample_rows(conv(), (1, 4, 14, 14), 0, 0, 1, 0)
    assert 0 < found.held.sum() < len(found.held)


def test_chunks_hold_every_row_once() -> None:
    found = sample_rows(conv(), (10, 4, 14, 14), 0, 0, 10, 0)
    parts = found.chunks(1 << 20)
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate([p.rows for p in parts]), found.rows)


def feeds_of(*sizes: int) -> list[dict[str, np.ndarray]]:
    """Feeds of so many samples, numbered through."""
    numbers = np.split(np.arange(sum(sizes), dtype=np.float32), np.cumsum(sizes)[:-1])
    return [{"x": np.tile(part.reshape(-1, 1, 1, 1), (1, 3, 16, 16))} for part in numbers]


def seen(data: Data) -> list[list[float]]:
    return [feed["x"][:, 0, 0, 0].tolist() for feed in data]


def test_every_fifth_sample_over_all_feeds_is_held_out() -> None:
    assert seen(select_held_out(Data.from_feeds(feeds_of(3, 4, 8), GRAPH), 0)) == [[4], [9, 14]]


def test_fewer_than_five_samples_are_all_seen() -> None:
    assert seen(select_held_out(Data.from_feeds(feeds_of(4), GRAPH), 0)) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("leading", ["2", "A", "?"])
def test_feeds_that_cannot_be_cut_stay_whole(leading: str) -> None:
    text = to_text(GRAPH).replace(
        "(%x: f32[N,3,16,16])", f"(%x: f32[{leading},3,16,16], %z: f32[B])"
    )
    feeds = [{**feed, "z": np.zeros(2, np.float32)} for feed in feeds_of(2, 2, 2, 2)]
    found = select_held_out(Data.from_feeds(feeds, parse_text(text)), 0)
    assert seen(found) == [[4, 5]]
