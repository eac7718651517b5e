"""Cut a small graph as `remove-channels` does, and compare by running with the graph masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer
from slimc.execute import ort
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.types import TensorType
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.prune.explanation import Explanation
from slimc.passes.prune.mask_axes import mask_axes
from slimc.passes.prune.slice_axes import slice_axes

CLOSE = 1e-4  # sums of the same f32 products in another order, relative to the largest

Feed = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Cut:
    """What was cut: {family: units that left}, the graph before and after, and its masked form.

    masked: None where the removal is approximate.
    """

    coupling: Coupling
    lost: dict[str, int]
    whole: Graph
    graph: Graph
    masked: Graph | None

    def shape(self, constant: str) -> tuple[int, ...]:
        """Return the shape of a constant after the cut, wherever it stands."""
        found = [g.constants[constant].shape for g in _all(self.graph) if constant in g.constants]
        return found[0]

    def why_pinned(self, node: str) -> str:
        """Return what is said of a node."""
        explanation = Explanation(self.coupling, families(self.coupling))
        return "; ".join(explanation.explain(self.coupling.graph.by_name[node]))


def _all(graph: Graph) -> list[Graph]:
    inner = [body for node in graph.nodes for body in node.bodies]
    return [graph, *(g for body in inner for g in _all(body))]


def cut(text: str, ratio: float = 0.5, keep: Sequence[str] = (), seed: int = 0) -> Cut:
    """Remove a share of the units of every family, drawn by `seed`."""
    graph = parse_text(text)
    coupling = couple(graph, OPS, infer(graph, OPS, default_sizes(graph)), keep)
    removed, rng = np.zeros(len(coupling.pinned), bool), np.random.default_rng(seed)
    lost: dict[str, int] = {}
    for family in families(coupling):
        count = int(family.width * ratio) if family.width > 1 else 0
        removed[rng.permutation(family.units)[:count]] = True
        if count:
            lost[family.name] = count
    sliced = slice_axes(coupling, removed, "test").graph
    return Cut(coupling, lost, graph, sliced, mask_axes(coupling, removed, "test"))


def drawn(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a feed of normal numbers for the inputs of a graph; integers are 0, 1, 2."""
    rng, sizes, feed = np.random.default_rng(seed), default_sizes(graph), {}
    facts = infer(graph, OPS, sizes)
    for name in graph.inputs:
        kind, shape = facts.types[name], facts.shape(name)
        assert isinstance(kind, TensorType)
        assert shape is not None
        numbers = rng.normal(0, 1, shape) if kind.dtype.is_float else rng.integers(0, 3, shape)
        feed[name] = np.asarray(numbers).astype(kind.dtype.numpy)
    return feed


def assert_same(made: Cut, *feeds: Feed) -> None:
    """Run the cut graph and the masked one; both must load, and agree; types must be the shapes."""
    assert made.masked is not None, "the removal is approximate"
    verify(made.graph)
    for feed in feeds or (drawn(made.whole),):
        wanted, found = ort.run(made.masked, feed), ort.run(made.graph, feed)
        facts = infer(made.graph, OPS, default_sizes(made.graph))
        for name, array in found.items():
            assert facts.shape(name) in (None, array.shape)
            scale = max(float(np.abs(wanted[name]).max(initial=0)), 1e-6)
            np.testing.assert_allclose(array, wanted[name], rtol=CLOSE, atol=CLOSE * scale)


def assert_runs(made: Cut, *feeds: Feed) -> None:
    """Run the cut graph of an approximate removal: it must load and give numbers."""
    assert made.masked is None, "the removal is exact: compare"
    verify(made.graph)
    for feed in feeds or (drawn(made.whole),):
        assert all(np.isfinite(array).all() for array in ort.run(made.graph, feed).values())
