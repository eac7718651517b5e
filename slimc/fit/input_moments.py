"""Moments of what the weighted nodes of a graph read, from one walk through the samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.calib.data import Data
from slimc.calib.feeds import samples_of, specs_of
from slimc.execute.piecewise import Walk
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.activation_products import Energies, product_of
from slimc.fit.linear import Linear, linear
from slimc.fit.moments import Moments
from slimc.fit.sampling import Sampler
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable

WIDEST = 2304  # columns of a covariance that is inverted: 256 channels under 3 x 3 taps


@dataclass(frozen=True, eq=False)
class Read:
    """What a weighted node reads, over its sampled results.

    level: "columns" (h: f32[g, p, p], mean: f64[g, p]), "channels" where p is too large (the taps
    are seen as samples: h: f32[g, i, i], mean: [g, i]), or "diagonal" where that is too large as
    well (h: f32[g, p], the variances).
    """

    linear: Linear
    level: str
    mean: Floats
    h: np.ndarray


Unread = tuple[Linear, str, np.ndarray]  # a Read whose covariances lie in the store


class Reads:
    """Moments by node name. They may lie on disk until `close`."""

    def __init__(self, store: Store, found: Mapping[str, Energies | Unread]) -> None:
        self._store, self._found = store, found

    def get(self, node: str) -> Read | Energies | None:
        """Return the moments of a node, None where they are not known."""
        one = self._found.get(node)
        if isinstance(one, tuple):
            return Read(*one, self._store.get(node, 0))
        return one

    def close(self) -> None:
        """Remove what lies on disk."""
        self._store.close()


def collect_reads(
    graph: Graph,
    ops: OpTable,
    facts: Facts,
    nodes: Collection[str],
    data: Data,
    samples: int,
    seed: int = 0,
    store_bytes: int = STORE_BYTES,
) -> Reads:
    """Run the samples once, and sum second moments of what `nodes` read at sampled results.

    The samples that `sampling.held_out` gives are left out, so that what follows from the moments
    can be judged on them. So are nodes that are no plain product with constant weights, those
    without a result, and those whose squares overflow. Memory: the live values and the moments,
    each up to half of `store_bytes`, the rest on disk.
    """
    wanted = [node for node in graph.nodes if node.name in nodes]
    layers = {node.name: linear(graph, ops, facts, node) for node in wanted}
    products = {
        node.name: product
        for node in wanted
        if layers[node.name] is None and (product := product_of(graph, facts, node)) is not None
    }
    feeds = list(data.first_samples(samples))
    if not feeds:
        return Reads(Store(store_bytes // 2), {})
    sampler = Sampler(tuple(samples_of(specs_of(feed), graph) for feed in feeds), seed)
    kept = Store(store_bytes // 2)
    found: dict[str, Energies | Unread] = {}
    with Store(store_bytes // 2) as live:
        walk = Walk(graph, feeds, {node.name for node in wanted}, live)
        walk.advance()
        for node in wanted:
            one, product = layers[node.name], products.get(node.name)
            if product is not None:
                found[node.name] = product.energies(walk, len(feeds))
            if one is None:
                walk.advance()
                continue
            x = [walk.value(one.data, feed) for feed in range(len(feeds))]
            walk.advance(also=[one.result])
            level, moments = _summed(one, walk, x, sampler)
            if not moments.count:
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                h = moments.xx.astype(np.float32)
            if np.isfinite(h).all():
                kept.put(node.name, 0, h)
                found[node.name] = one, level, moments.mean_x
    return Reads(kept, found)


def _summed(one: Linear, walk: Walk, x: list[np.ndarray], sampler: Sampler) -> tuple[str, Moments]:
    channels = one.columns // one.taps
    level = "columns" if one.columns <= WIDEST else "channels"
    if level == "channels" and channels > WIDEST:
        level = "diagonal"
    moments = Moments(diagonal=level == "diagonal")
    for feed, array in enumerate(x):
        shape = walk.value(one.result, feed).shape
        for part in sampler.parts(one, feed, shape):
            read = one.reads(array, shape, part.seen().rows)
            if level == "channels":
                split = read.reshape(len(read), one.group_count, channels, one.taps)
                read = split.transpose(0, 3, 1, 2).reshape(-1, one.group_count, channels)
            moments.add(read, np.zeros((*read.shape[:2], 0), read.dtype))
    return level, moments
