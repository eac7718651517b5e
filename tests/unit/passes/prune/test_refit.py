from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer, retype
from slimc.calib.data import Data
from slimc.execute.ort import run
from slimc.fit.input_moments import collect_reads
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.prune.refit import refit_readers
from slimc.passes.prune.slice_axes import slice_axes

CONV = """
graph (%x: f32[N,3,5,5]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[4,8,1,1] random(1)
  %a = Conv(%x, %wa) @a
  %r = Relu(%a) @ra
  %y = Conv(%r, %wb) @b
"""
GEMM = """
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,8] random(0)
  %wb = constant f32[8,4] random(1)
  %c = constant f32[{c}] random(2)
  %a = Gemm(%x, %wa) @a
  %r = Relu(%a) @ra
  %y = Gemm(%r, %wb, %c) @b
"""
TURNED = """
graph (%x: f32[6,32]) -> (%y)
  %wa = constant f32[8,6] random(0)
  %wb = constant f32[4,8] random(1)
  %a = Gemm(%wa, %x) @a
  %r = Relu(%a) @ra
  %y = Gemm(%wb, %r) @b
"""
SHARED = """
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,8] random(0)
  %wb = constant f32[8,8] random(1)
  %wc = constant f32[8,8] random(3)
  %c = constant f32[8] random(2)
  %a = Gemm(%x, %wa) @a
  %r = Relu(%a) @ra
  %s = Gemm(%r, %wb, %c) @b
  %t = Gemm(%r, %wc, %c) @d
  %y = Sub(%s, %t) @sub
"""
CASES = {
    "conv": CONV,
    "bias": GEMM.format(c=4),
    "a row": GEMM.format(c="1,4"),
    "one number": GEMM.format(c=1),
    "matmul": CONV.replace("N,3,5,5", "N,5,6").replace("8,3,3,3", "6,8").replace(
        "4,8,1,1", "8,4").replace("Conv", "MatMul"),
    "weights first": TURNED,
    "a bias of two": SHARED,
    "halves without bias": CONV.replace("f32", "f16"),
    "scaled": GEMM.format(c=4).replace("%wb, %c)", "%wb, %c) {alpha=0.5, beta=3.0}"),
    "a computed bias": GEMM.format(c=4).replace(
        "  %y = Gemm(%r, %wb, %c)", "  %n = Neg(%c) @n\n  %y = Gemm(%r, %wb, %n)"),
}  # fmt: skip


def refitted(text: str) -> tuple[Graph, Graph, Graph, dict[str, np.ndarray]]:
    """Return the graph, what is left of it, that with its readers refitted, and unseen data."""
    graph = retype(parse_text(text), OPS)
    sizes = default_sizes(graph)
    facts = infer(graph, OPS, sizes)
    coupling = couple(graph, OPS, facts)
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[: family.width // 2]] = True
    sliced = slice_axes(coupling, removed, "test")
    shape = [64 if d == "N" else d for d in graph.types["x"].shape]  # type: ignore[union-attr]  # a tensor
    rng = np.random.default_rng(0)
    dtype = graph.types["x"].dtype.numpy  # type: ignore[union-attr]  # a tensor
    feeds = [{"x": rng.standard_normal(shape).astype(dtype)} for _ in range(9)]
    names = {node.name for node in graph.nodes}
    reads = collect_reads(graph, OPS, facts, names, Data.from_feeds(feeds[:8], graph), 512)
    made = refit_readers(graph, sliced, reads)
    reads.close()
    return graph, sliced.graph, made, feeds[8]


@pytest.mark.parametrize("name", CASES)
def test_what_stays_stands_in_for_what_is_gone(name: str) -> None:
    graph, cut, made, feed = refitted(CASES[name])
    verify(made)
    wanted, before, after = (run(g, feed)["y"].astype(np.float64) for g in (graph, cut, made))
    assert np.square(after - wanted).sum() < 0.8 * np.square(before - wanted).sum()


def test_least_squares_is_that_of_numpy() -> None:
    graph, cut, made, _ = refitted(GEMM.format(c=4))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((64, 6)).astype(np.float32) for _ in range(8)])
    x = x[np.arange(len(x)) % 5 != 4]
    y, kept = run(graph, {"x": x}, ["y"])["y"], run(cut, {"x": x}, ["r"])["r"]
    ones = np.ones((len(x), 1))
    best = np.linalg.lstsq(np.hstack([kept, ones]), y, rcond=None)[0]
    close = np.hstack([kept, ones]) @ best - y
    found = run(made, {"x": x})["y"] - y
    assert np.square(found).sum() == pytest.approx(np.square(close).sum(), rel=1e-2)  # the ridge


def test_nodes_that_lost_nothing_stay() -> None:
    graph, _, made, _ = refitted(CONV)
    assert made.constants["wa"].array.shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(made.constants["wa"].array, graph.constants["wa"].array[4:])
