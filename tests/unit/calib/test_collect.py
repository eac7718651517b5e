from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from slimc.calib.collect import collect_ranges, table_key
from slimc.calib.data import Data
from slimc.calib.observers import MinMax, MovingAverage, Observer, Percentile
from slimc.calib.table import ValueRange
from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text

GRAPH = parse_text("""
graph (%x: f32[N,4,8,8]) -> (%y)
  %one = constant f32[] 1.0
  %a: f32[N,4,8,8] = Add(%x, %one) @add
  %m: f32[N,4,8,8] = Mul(%a, %a) @mul
  %y: f32[N,4,8,8] = Sqrt(%m) @sqrt
""")
RANDOM = np.random.default_rng(0)
FEEDS = [{"x": RANDOM.standard_normal((n, 4, 8, 8)).astype(np.float32)} for n in (2, 1, 3)]
DATA = Data.from_feeds(FEEDS, GRAPH)
ALL = np.concatenate([feed["x"].ravel() for feed in FEEDS])


class Kept(Observer):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def observe(self, array: np.ndarray) -> None:
        self.arrays.append(array)

    def range(self) -> ValueRange | None:
        return None


def test_extremes_of_inputs_inner_values_and_outputs() -> None:
    table = collect_ranges(GRAPH, DATA, {v: MinMax() for v in ("y", "x", "m")})
    assert list(table.ranges) == ["x", "m", "y"]
    assert table.ranges["x"] == ValueRange(float(ALL.min()), float(ALL.max()))
    squares = np.square(ALL + 1)
    assert table.ranges["m"].high == pytest.approx(float(squares.max()), rel=1e-6)
    assert table.ranges["m"].low == pytest.approx(float(squares.min()), rel=1e-6)


def test_elements_come_whole_where_they_are_few() -> None:
    kept = Kept()
    assert not collect_ranges(GRAPH, DATA, {"x": kept}).ranges
    assert np.concatenate(kept.arrays).tolist() == ALL.tolist()


def test_elements_are_sampled_where_they_are_many() -> None:
    data = Data.from_feeds([{"x": np.ones((64, 4, 8, 8), np.float32)}] * 3, GRAPH)
    kept = Kept()
    collect_ranges(GRAPH, data, {"x": kept}, elements=6000)
    sizes = {array.size for array in kept.arrays}
    assert len(kept.arrays) == 3
    assert sizes == {-(-64 * 4 * 8 * 8 // 11)}  # every 11th of 16384: at most 2000 of each feed


def test_values_are_split_where_their_elements_would_take_too_much() -> None:
    calls: list[tuple[int, int]] = []
    observers = {v: Percentile(99) for v in ("x", "a", "m", "y")}
    split = collect_ranges(
        GRAPH,
        DATA,
        observers,
        elements=3 * 1024,
        live_bytes=10000,
        progress=lambda *n: calls.append(n),
    )
    assert calls == [(3, 6), (6, 6)]  # 4096 bytes a value: two at a time; three feeds, together
    whole = collect_ranges(GRAPH, DATA, {v: Percentile(99) for v in observers}, elements=3 * 1024)
    assert split.ranges == whole.ranges


def test_halves_are_measured_as_floats() -> None:
    graph = parse_text("""
graph (%x: f32[N]) -> (%y)
  %h: f16[N] = Cast(%x) {to=10} @down
  %n: f16[N] = Neg(%h) @neg
  %y: f32[N] = Cast(%n) {to=1} @up
""")
    data = Data.from_feeds([{"x": np.array([-60000, 3, 60000], np.float32)}], graph)
    assert collect_ranges(graph, data, {"n": MinMax()}).ranges["n"].magnitude == pytest.approx(6e4)


@pytest.mark.parametrize("observer", [MinMax, lambda: Percentile(99)])
@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_what_is_not_finite_is_named(observer: type[Observer], bad: float, what: str) -> None:
    feeds = [{"x": np.ones((1, 4, 8, 8), np.float32)} for _ in range(2)]
    feeds[1]["x"][0, 3, 7, 6] = bad
    with pytest.raises(SlimcError) as caught:
        collect_ranges(GRAPH, Data.from_feeds(feeds, GRAPH), {v: observer() for v in ("y", "a")})
    assert caught.value.name == "not-finite"
    assert f"value 'a' holds {what}" in caught.value.message  # the first in the graph
    assert caught.value.where == "feeds 0 to 1 of a list, produced by 'add' (Add)"


def test_large_numbers_are_finite_though_their_sum_is_not() -> None:
    feeds = [{"x": np.full((1, 4, 8, 8), -3e38, np.float32)}]
    table = collect_ranges(GRAPH, Data.from_feeds(feeds, GRAPH), {"a": MinMax()})
    assert table.ranges["a"].low == pytest.approx(-3e38)


def test_no_feeds() -> None:
    data = Data.from_feeds(lambda: iter(()), GRAPH)
    with pytest.raises(SlimcError, match="yields no samples"):
        collect_ranges(GRAPH, data, {"x": MinMax()})


def test_feeds_of_several_shapes() -> None:
    graph = parse_text("""
graph (%x: f32[N,C,H,W]) -> (%y)
  %y: f32[N,C,H,W] = Relu(%x) @relu
""")
    shapes = [(1, 2, 3, 4), (2, 2, 5, 7), (2, 2, 5, 7), (1, 3, 1, 1)]
    feeds = [{"x": RANDOM.standard_normal(shape).astype(np.float32)} for shape in shapes]
    data = Data.from_feeds(feeds, graph)
    whole = np.concatenate([feed["x"].ravel() for feed in feeds])
    kept = Kept()
    table = collect_ranges(graph, data, {"x": MinMax(), "y": kept})
    assert table.ranges["x"] == ValueRange(float(whole.min()), float(whole.max()))
    assert np.concatenate(kept.arrays).tolist() == np.maximum(whole, 0).tolist()


def test_the_low_end_of_what_is_clamped_is_its_bound() -> None:
    graph = parse_text("""
graph (%x: f32[N,2,4,4]) -> (%y)
  %r: f32[N,2,4,4] = Relu(%x) @relu
  %y: f32[N,2,4,4] = Neg(%r) @neg
""")
    data = Data.from_feeds([{"x": np.full((2, 2, 4, 4), 3, np.float32)}], graph)
    assert collect_ranges(graph, data, {"r": MinMax()}).ranges["r"] == ValueRange(3, 3)
    assert collect_ranges(graph, data, {"r": MinMax()}, lower_bounds={"r": 0.0}).ranges[
        "r"
    ] == ValueRange(0, 3)


def test_a_moving_average_sees_every_feed_alone() -> None:
    feeds = [{"x": np.full((1, 4, 8, 8), n, np.float32)} for n in (0, 10)]
    table = collect_ranges(GRAPH, Data.from_feeds(feeds, GRAPH), {"x": MovingAverage()})
    assert table.ranges["x"] == ValueRange(1, 1)


def test_a_graph_that_takes_one_sample_only_has_its_feeds_alone() -> None:
    graph = parse_text("""
graph (%x: f32[N,4]) -> (%y)
  %shape = constant i64[2] [1, 4]
  %y: f32[1,4] = Reshape(%x, %shape) @fixed
""")
    feeds = [{"x": np.full((1, 4), n, np.float32)} for n in (1, 2)]
    assert (
        collect_ranges(graph, Data.from_feeds(feeds, graph), {"y": MinMax()}).ranges["y"].high == 2
    )


def test_key_follows_graph_data_and_observers() -> None:
    keys = [
        table_key(GRAPH, DATA, {"x": MinMax()}),
        table_key(GRAPH, DATA.head(2), {"x": MinMax()}),
        table_key(GRAPH, DATA, {"x": Percentile(99)}),
        table_key(GRAPH, DATA, {"x": Percentile(98)}),
        table_key(GRAPH, DATA, {"m": MinMax()}),
        table_key(
            replace(GRAPH, constants={"one": Constant(np.float32(2))}), DATA, {"x": MinMax()}
        ),
    ]
    assert len(set(keys)) == len(keys)
    assert collect_ranges(GRAPH, DATA, {"x": MinMax()}).key == keys[0]


def deep(graph: Graph, data: Data) -> int:
    tracemalloc.start()
    observers: dict[str, Observer] = {v: Percentile(99.9) for v in ("x", "a", "m", "y")}
    collect_ranges(graph, data, observers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_samples() -> None:
    few, many = (Data.synthesize(GRAPH, {"N": 64}, 0, count) for count in (4, 32))
    # numpy arrays are traced; 10 % for what else Python holds
    assert deep(GRAPH, many) < 1.1 * deep(GRAPH, few)
