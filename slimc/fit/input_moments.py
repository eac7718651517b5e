"""Moments of the inputs of weighted nodes, from one run through the samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, specs_of
from slimc.execute.piecewise import Walk
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.activation_products import ProductEnergies, activation_product
from slimc.fit.linear import Linear, as_linear
from slimc.fit.moments import Moments
from slimc.fit.sampling import Sampler
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable

WIDEST = 2304  # columns of a covariance to invert: 256 channels under 3 x 3 taps


@dataclass(frozen=True, eq=False)
class Read:
    """Moments of the input of a weighted node, over its sampled results.

    level: "columns" (h: f32[g, p, p], mean: f64[g, p]), "channels" where p is too large (the taps
    are seen as samples: h: f32[g, i, i], mean: [g, i]), or "diagonal" where that is too large as
    well (h: f32[g, p], the variances).
    """

    linear: Linear
    level: str
    mean: Floats
    h: np.ndarray


Unread = tuple[Linear, str, np.ndarray]  # a Read whose covariances are in the store


class Reads:
    """Moments by node name. They may be spooled to disk until `close`."""

    def __init__(self, store: Store, moments: Mapping[str, ProductEnergies | Unread]) -> None:
        self._store, self._found = store, moments

    def get(self, node: str) -> Read | ProductEnergies | None:
        """Return the moments of a node, None where they are unknown."""
        moments = self._found.get(node)
        if isinstance(moments, tuple):
            return Read(*moments, self._store.get(node, 0))
        return moments

    def close(self) -> None:
        """Remove the spooled data."""
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
    """Run the samples once, and sum second moments of the inputs of `nodes` at sampled results.

    Held-out samples (`held_out.is_held`) are left out, so that what follows from the moments can be
    validated on them. Nodes are left out if they are no plain product with constant weights, have
    no result, or have inputs whose squares overflow. Memory: the live values and the moments, each
    up to half of `store_bytes`; the rest is spooled to disk.
    """
    selected = [node for node in graph.nodes if node.name in nodes]
    layers = {node.name: as_linear(graph, ops, facts, node) for node in selected}
    products = {
        node.name: product
        for node in selected
        if layers[node.name] is None
        and (product := activation_product(graph, facts, node)) is not None
    }
    feeds = list(data.first_samples(samples))
    if not feeds:
        return Reads(Store(store_bytes // 2), {})
    sampler = Sampler(tuple(count_samples(specs_of(feed), graph) for feed in feeds), seed)
    covariances = Store(store_bytes // 2)
    moments_of: dict[str, ProductEnergies | Unread] = {}
    with Store(store_bytes // 2) as live:
        run = Walk(graph, feeds, {node.name for node in selected}, live)
        run.advance()
        for node in selected:
            layer, product = layers[node.name], products.get(node.name)
            if product is not None:
                moments_of[node.name] = product.energies(run, len(feeds))
            if layer is None:
                run.advance()
                continue
            x = [run.value(layer.data, feed) for feed in range(len(feeds))]
            run.advance(also=[layer.result])
            level, moments = _sum_moments(layer, run, x, sampler)
            if not moments.count:
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                h = moments.xx.astype(np.float32)
            if np.isfinite(h).all():
                covariances.put(node.name, 0, h)
                moments_of[node.name] = layer, level, moments.mean_x
    return Reads(covariances, moments_of)


def _sum_moments(
    layer: Linear, run: Walk, x: list[np.ndarray], sampler: Sampler
) -> tuple[str, Moments]:
    channels = layer.columns // layer.taps
    level = "columns" if layer.columns <= WIDEST else "channels"
    if level == "channels" and channels > WIDEST:
        level = "diagonal"
    moments = Moments(diagonal=level == "diagonal")
    for feed, array in enumerate(x):
        shape = run.value(layer.result, feed).shape
        for part in sampler.parts(layer, feed, shape):
            inputs = layer.reads(array, shape, part.training_rows().rows)
            if level == "channels":
                split = inputs.reshape(len(inputs), layer.group_count, channels, layer.taps)
                inputs = split.transpose(0, 3, 1, 2).reshape(-1, layer.group_count, channels)
            moments.add(inputs, np.zeros((*inputs.shape[:2], 0), inputs.dtype))
    return level, moments
