"""What reads the values of each scale, seen over samples in one walk through the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.held_out import HELD_OUT_EVERY, is_held
from slimc.execute.ort import Feed
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.linear import Linear, as_linear
from slimc.fit.sampling import Sampler
from slimc.ir.graph import Graph, same_record
from slimc.ops.op import OpTable
from slimc.passes.context import Context
from slimc.passes.quant.range_search import MAX_ELEMENTS, RangeSearch, sample_elements

MAX_ROWS = 2048  # results of a product that are looked at, all samples together
MAX_OUTPUTS = 256  # of its outputs; more are mixed into as many

SharedValues = tuple[str, ...]


def find_shared_scales(graph: Graph, ops: OpTable) -> list[SharedValues]:
    """Return computed values with one scale for all elements; together those that a node ties.

    That is an integer node, or a clamp, which the kernel before it may do.
    """
    import networkx as nx

    ties = nx.Graph()
    weights = {v for node in graph.nodes if (v := ops.weight_of(node)) in graph.constants}
    ties.add_nodes_from(
        v for v, r in graph.records.items() if not r.scale.ndim and v not in weights
    )
    for node in graph.nodes:
        if not (node.integer or ops.clamp(node)):
            continue
        tied = [v for v in (*node.outputs, *node.inputs) if v in ties]
        for i, a in enumerate(tied):
            same = (b for b in tied[:i] if same_record(graph.records[a], graph.records[b]))
            ties.add_edges_from((a, b) for b in same)
    order = {v: i for i, v in enumerate((*graph.inputs, *graph.constants, *graph.producers))}
    components = [
        tuple(sorted(part, key=order.__getitem__)) for part in nx.connected_components(ties)
    ]
    computed = [values for values in components if any(v not in graph.constants for v in values)]
    return sorted(computed, key=lambda values: order[values[0]])


@dataclass(frozen=True)
class Readers:
    """Who reads the values of the scales.

    products: integer contractions with constant weights, in graph order; plain: values that
    something else reads, or nothing: they are looked at themselves.
    """

    products: tuple[Linear, ...]
    plain: frozenset[str]

    @classmethod
    def of(cls, graph: Graph, ctx: Context, shared: Sequence[SharedValues]) -> Readers:
        facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
        place = {value: i for i, values in enumerate(shared) for value in values}
        all_consumers = ctx.target.placement is None or ctx.target.placement.output
        products: list[Linear] = []
        plain: set[str] = set()
        for node in graph.nodes:
            contraction = as_linear(graph, ctx.ops, facts, node) if node.integer else None
            if contraction is not None and contraction.data in place:
                products.append(contraction)
            elif node.integer or all_consumers:
                tied = {place[v] for v in node.outputs if v in place}
                plain |= {v for v in node.reads if v in place and place[v] not in tied}
        read = plain | {contraction.data for contraction in products}
        plain |= {v for values in shared if not read & {*values} for v in values}
        return cls(tuple(products), frozenset(plain))


def observe_consumers(
    graph: Graph,
    readers: Readers,
    searches: Mapping[str, RangeSearch],
    feeds: Sequence[Feed],
    seed: int,
) -> None:
    """Show every search what reads its values. searches: value -> its search, shared perhaps."""
    for value in readers.plain & graph.constants.keys():
        elements = graph.constants[value].array.reshape(-1, 1).astype(np.float32)
        searches[value].observe_range(elements)
        searches[value].observe_value(value, elements, is_held(np.arange(len(elements))))
    with Store() as store:
        stops = [contraction.node.name for contraction in readers.products]
        walk = Walk(replace(graph, records={}), feeds, stops, store)
        _ConsumerObserver(graph, walk, readers, searches, feeds, seed).run()


class _ConsumerObserver:
    """One walk, from product to product."""

    def __init__(
        self,
        graph: Graph,
        walk: Walk,
        readers: Readers,
        searches: Mapping[str, RangeSearch],
        feeds: Sequence[Feed],
        seed: int,
    ) -> None:
        self.graph, self.walk, self.readers, self.searches = graph, walk, readers, searches
        leading = tuple(count_samples(specs_of(feed), graph) for feed in feeds)
        self.sampler = Sampler(leading, seed, MAX_ROWS)
        self.waiting = {v for v in searches if v not in graph.constants}

    def run(self) -> None:
        self._advance()
        for contraction in self.readers.products:
            read = [
                self.walk.value(contraction.data, feed) for feed in range(len(self.sampler.leading))
            ]
            self._advance(also=[contraction.result])
            self._see_product(contraction, read)

    def _advance(self, also: Collection[str] = ()) -> None:
        """Run the next piece, and look at the values that it has made."""
        self.walk.advance(also={*also, *self.waiting})
        for value in sorted(v for v in self.waiting if self.walk.has(v)):
            self.waiting.discard(value)
            self._see_value(value)

    def _see_value(self, value: str) -> None:
        """Look at a value's extremes, and where something else than a product reads it, at it."""
        search, samples = self.searches[value], self.sampler.samples
        per_sample = MAX_ELEMENTS // samples + 1
        for feed, leading in enumerate(self.sampler.leading):
            x = self.walk.value(value, feed)
            search.observe_range(x)
            if value in self.readers.plain:
                rows = sample_elements(x, leading, per_sample)
                first = self.sampler.first(feed) if samples >= HELD_OUT_EVERY else 0
                number = first + np.arange(len(rows))
                search.observe_value(value, rows, is_held(number))

    def _see_product(self, contraction: Linear, read: Sequence[np.ndarray]) -> None:
        w = _mix_outputs(
            contraction.matrix(self.graph.constants[contraction.weight].array.astype(np.float32))
        )
        for feed, x in enumerate(read):
            shape = self.walk.value(contraction.result, feed).shape
            for part in self.sampler.parts(contraction, feed, shape):
                rows = contraction.reads(x, shape, part.rows)
                self.searches[contraction.data].observe_contraction(
                    contraction.node.name, rows, w, part.held
                )


def _mix_outputs(w: np.ndarray) -> np.ndarray:
    """Mix outputs into fewer, by signs at random: lengths of W x stay as they are in the mean.

    w: [g, o, p]. Source: Achlioptas, "Database-friendly random projections", 2003, section 2.
    """
    outs = w.shape[1]
    if outs <= MAX_OUTPUTS:
        return w
    signs = np.random.default_rng(0).integers(0, 2, (MAX_OUTPUTS, outs)).astype(np.float32) * 2 - 1
    mixed: np.ndarray = (signs / np.float32(np.sqrt(MAX_OUTPUTS))) @ w
    return mixed
