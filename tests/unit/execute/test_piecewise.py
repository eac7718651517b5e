from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimc.execute.ort import Session
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text

GRAPH = parse_text(
    """
    graph (%x: f32[N,3]) -> (%y)
      %u = constant f32[3,4] random(0)
      %v = constant f32[4,4] random(1)
      %w = constant f32[4,2] random(2)
      %a: f32[N,4] = MatMul(%x, %u) @a
      %b: f32[N,4] = Relu(%a) @b
      %c: f32[N,4] = MatMul(%b, %v) @c
      %d: f32[N,4] = Add(%c, %b) @d
      %y: f32[N,2] = MatMul(%d, %w) @y
    """
)
FEEDS = [
    {"x": np.random.default_rng(i).standard_normal((n, 3)).astype(np.float32)}
    for i, n in enumerate((4, 2, 3))
]


def results(graph: Graph, value: str) -> list[np.ndarray]:
    session = Session(graph, [value])
    return [session.run(feed)[value] for feed in FEEDS]


@pytest.mark.parametrize("size_bytes", [1 << 20, 40, 0], ids=["memory", "some on disk", "disk"])
def test_pieces_compute_what_the_graph_computes(size_bytes: int) -> None:
    with Store(size_bytes) as store:
        walk = Walk(GRAPH, FEEDS, {"c", "y"}, store)
        walk.advance()
        for value in ("b", "d"):
            assert walk.has(value)
            for feed, wanted in enumerate(results(GRAPH, value)):
                np.testing.assert_array_equal(walk.value(value, feed), wanted)
            walk.advance()
        assert not walk.has("d")


def test_values_go_when_nothing_needs_them() -> None:
    with Store() as store:
        walk = Walk(GRAPH, FEEDS, {"c", "y"}, store)
        walk.advance()
        assert walk.has("b")
        assert not walk.has("a")
        assert not walk.has("x")
        walk.advance(also=["c"])
        assert walk.has("c")
        assert walk.has("d")
        assert not walk.has("b")
        walk.advance()
        assert not walk.has("c")
        assert store.held_bytes == 0


def test_changed_constants_count_from_there_on() -> None:
    with Store() as store:
        walk = Walk(GRAPH, FEEDS, {"c", "y"}, store)
        walk.advance()
        walk.advance(constants={"v": np.zeros((4, 4), np.float32)})
        for feed, wanted in enumerate(results(GRAPH, "b")):
            np.testing.assert_array_equal(walk.value("d", feed), wanted)


def test_files_go_with_the_store() -> None:
    with Store(0) as store:
        store.put("a", 0, np.ones(3))
        array = store.get("a", 0)
        path = Path(str(array.filename))
        assert path.exists()
        np.testing.assert_array_equal(array, np.ones(3))
    assert not path.exists()
