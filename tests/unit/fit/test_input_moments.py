from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.execute.ort import run
from slimc.fit import input_moments as module
from slimc.fit.activation_products import ProductEnergies
from slimc.fit.input_moments import Read, Reads, collect_reads
from slimc.ir.text import parse_text
from slimc.ops import OPS

GRAPH = parse_text(
    """
    graph (%x: f32[N,3,5,5]) -> (%y)
      %w = constant f32[4,3,3,3] random(0)
      %v = constant f32[6,4,1,1] random(1)
      %u = constant f32[6,2] random(2)
      %shape = constant i64[3] [0, 6, -1]
      %a = Conv(%x, %w) @a
      %r = Relu(%a) @ra
      %b = Conv(%r, %v) @b
      %f = Reshape(%b, %shape) @flat
      %t = Transpose(%f) {perm=[0,2,1]} @turn
      %p = MatMul(%t, %f) @scores
      %m = MatMul(%t, %u) @c
      %y = MatMul(%p, %m) @mix
    """
)
NODES = {"a", "b", "c", "scores", "mix", "ra"}
FEEDS = [
    {"x": np.random.default_rng(i).standard_normal((n, 3, 5, 5)).astype(np.float32)}
    for i, n in enumerate((6, 3, 11))
]


def collected(feeds: list[dict[str, np.ndarray]], store_bytes: int = 1 << 30) -> Reads:
    data = Data.from_feeds(feeds or (lambda: []), GRAPH)
    facts = infer(GRAPH, OPS, {"N": 6})
    return collect_reads(GRAPH, OPS, facts, NODES, data, 256, store_bytes=store_bytes)


def seen(value: str) -> np.ndarray:
    """Return a value of all samples that are not held out: every fifth is."""
    whole = np.concatenate([run(GRAPH, feed, [value])[value] for feed in FEEDS])
    return whole[np.arange(len(whole)) % 5 != 4]


def patches() -> np.ndarray:
    """Return what every result of the first Conv reads, [r, p], gathered by hand."""
    x = np.concatenate([feed["x"] for feed in FEEDS])
    x = x[np.arange(len(x)) % 5 != 4]
    found = [x[:, :, i : i + 3, j : j + 3].reshape(len(x), -1) for i in range(3) for j in range(3)]
    return np.concatenate(found)


def read_of(reads: Reads, node: str) -> Read:
    found = reads.get(node)
    assert isinstance(found, Read)
    return found


def test_moments_are_those_of_what_the_nodes_read() -> None:
    reads = collected(FEEDS)
    wanted = {
        "a": patches(),
        "b": seen("r").transpose(0, 2, 3, 1).reshape(-1, 4),
        "c": seen("t").reshape(-1, 6),
    }
    for node, x in wanted.items():
        read = read_of(reads, node)
        assert read.level == "columns"
        np.testing.assert_allclose(read.mean[0], x.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(read.h[0], np.cov(x.T, bias=True), rtol=1e-3, atol=1e-4)
    reads.close()


@pytest.mark.parametrize(("widest", "level"), [(4, "channels"), (2, "diagonal")])
def test_wide_reads_are_seen_coarsely(
    widest: int, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WIDEST", widest)
    reads = collected(FEEDS)
    read = read_of(reads, "a")
    assert read.level == level
    if level == "channels":
        x = patches().reshape(-1, 3, 9).transpose(0, 2, 1).reshape(-1, 3)
        np.testing.assert_allclose(read.h[0], np.cov(x.T, bias=True), rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_allclose(read.h[0], patches().var(0), rtol=1e-3)
    reads.close()


def test_products_of_two_activations_have_energies() -> None:
    reads = collected(FEEDS)
    energies = reads.get("scores")
    assert isinstance(energies, ProductEnergies)
    t, f = (np.concatenate([run(GRAPH, feed, [v])[v] for feed in FEEDS]) for v in ("t", "f"))
    each = (np.square(t).sum(axis=1) * np.square(f).sum(axis=2)).sum(axis=0)
    (shares,) = energies.shares.values()
    np.testing.assert_allclose(shares, each / each.sum(), rtol=1e-4)
    assert reads.get("ra") is None, "no product"
    assert reads.get("elsewhere") is None
    reads.close()


@pytest.mark.parametrize("store_bytes", [0, 4096])
def test_moments_on_disk_are_the_same_bits(store_bytes: int) -> None:
    whole, small = collected(FEEDS), collected(FEEDS, store_bytes)
    for node in ("a", "b", "c"):
        one, other = read_of(whole, node), read_of(small, node)
        np.testing.assert_array_equal(one.h, other.h)
        np.testing.assert_array_equal(one.mean, other.mean)
    whole.close()
    small.close()


def test_no_feeds_give_no_moments() -> None:
    reads = collected([])
    assert all(reads.get(node) is None for node in NODES)
    reads.close()


def test_numbers_that_are_not_finite_are_left_out() -> None:
    broken = [{"x": feed["x"].copy()} for feed in FEEDS]
    broken[0]["x"][0] = np.nan
    reads = collected(broken)
    assert np.isfinite(read_of(reads, "a").h).all()
    assert np.isfinite(read_of(reads, "b").h).all()
    reads.close()


def test_squares_that_overflow_are_no_moments() -> None:
    huge = [{name: array * np.float32(1e22) for name, array in feed.items()} for feed in FEEDS]
    reads = collected(huge)
    assert reads.get("a") is None
    reads.close()
