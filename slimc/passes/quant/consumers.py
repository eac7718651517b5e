"""What reads the values of each scale, seen over samples in one walk through the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.feeds import samples_of, specs_of
from slimc.calib.held_out import HELD, is_held
from slimc.execute.ort import Feed
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.linear import Linear, linear
from slimc.fit.sampling import Sampler
from slimc.ir.graph import Graph, same_record
from slimc.ops.op import OpTable
from slimc.passes.context import Context
from slimc.passes.quant.range_search import ELEMENTS, Search, elements_of

ROWS = 2048  # results of a product that are looked at, all samples together
OUTS = 256  # of its outputs; more are mixed into as many

Shared = tuple[str, ...]


def shared_scales(graph: Graph, ops: OpTable) -> list[Shared]:
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
        around = [v for v in (*node.outputs, *node.inputs) if v in ties]
        for i, a in enumerate(around):
            same = (b for b in around[:i] if same_record(graph.records[a], graph.records[b]))
            ties.add_edges_from((a, b) for b in same)
    order = {v: i for i, v in enumerate((*graph.inputs, *graph.constants, *graph.producers))}
    found = [tuple(sorted(part, key=order.__getitem__)) for part in nx.connected_components(ties)]
    computed = [values for values in found if any(v not in graph.constants for v in values)]
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
    def of(cls, graph: Graph, ctx: Context, shared: Sequence[Shared]) -> Readers:
        facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
        place = {value: i for i, values in enumerate(shared) for value in values}
        everyone = ctx.target.placement is None or ctx.target.placement.output
        products: list[Linear] = []
        plain: set[str] = set()
        for node in graph.nodes:
            one = linear(graph, ctx.ops, facts, node) if node.integer else None
            if one is not None and one.data in place:
                products.append(one)
            elif node.integer or everyone:
                tied = {place[v] for v in node.outputs if v in place}
                plain |= {v for v in node.reads if v in place and place[v] not in tied}
        read = plain | {one.data for one in products}
        plain |= {v for values in shared if not read & {*values} for v in values}
        return cls(tuple(products), frozenset(plain))


def watch(
    graph: Graph, readers: Readers, searches: Mapping[str, Search], feeds: Sequence[Feed], seed: int
) -> None:
    """Show every search what reads its values. searches: value -> its search, shared perhaps."""
    for value in readers.plain & graph.constants.keys():
        elements = graph.constants[value].array.reshape(-1, 1).astype(np.float32)
        searches[value].see_range(elements)
        searches[value].see_value(value, elements, is_held(np.arange(len(elements))))
    with Store() as store:
        stops = [one.node.name for one in readers.products]
        walk = Walk(replace(graph, records={}), feeds, stops, store)
        _Watch(graph, walk, readers, searches, feeds, seed).run()


class _Watch:
    """One walk, from product to product."""

    def __init__(
        self,
        graph: Graph,
        walk: Walk,
        readers: Readers,
        searches: Mapping[str, Search],
        feeds: Sequence[Feed],
        seed: int,
    ) -> None:
        self.graph, self.walk, self.readers, self.searches = graph, walk, readers, searches
        leading = tuple(samples_of(specs_of(feed), graph) for feed in feeds)
        self.sampler = Sampler(leading, seed, ROWS)
        self.waiting = {v for v in searches if v not in graph.constants}

    def run(self) -> None:
        self._advance()
        for one in self.readers.products:
            read = [self.walk.value(one.data, feed) for feed in range(len(self.sampler.leading))]
            self._advance(also=[one.result])
            self._see_product(one, read)

    def _advance(self, also: Collection[str] = ()) -> None:
        """Run the next piece, and look at the values that it has made."""
        self.walk.advance(also={*also, *self.waiting})
        for value in sorted(v for v in self.waiting if self.walk.has(v)):
            self.waiting.discard(value)
            self._see_value(value)

    def _see_value(self, value: str) -> None:
        """Look at a value's extremes, and where something else than a product reads it, at it."""
        search, samples = self.searches[value], self.sampler.samples
        wanted = ELEMENTS // samples + 1
        for feed, leading in enumerate(self.sampler.leading):
            x = self.walk.value(value, feed)
            search.see_range(x)
            if value in self.readers.plain:
                rows = elements_of(x, leading, wanted)
                first = self.sampler.first(feed) if samples >= HELD else 0
                number = first + np.arange(len(rows))
                search.see_value(value, rows, is_held(number))

    def _see_product(self, one: Linear, read: Sequence[np.ndarray]) -> None:
        w = _narrowed(one.matrix(self.graph.constants[one.weight].array.astype(np.float32)))
        for feed, x in enumerate(read):
            shape = self.walk.value(one.result, feed).shape
            for part in self.sampler.parts(one, feed, shape):
                seen = one.reads(x, shape, part.rows)
                self.searches[one.data].see_product(one.node.name, seen, w, part.held)


def _narrowed(w: np.ndarray) -> np.ndarray:
    """Mix outputs into fewer, by signs at random: lengths of W x stay as they are in the mean.

    w: [g, o, p]. Source: Achlioptas, "Database-friendly random projections", 2003, section 2.
    """
    outs = w.shape[1]
    if outs <= OUTS:
        return w
    signs = np.random.default_rng(0).integers(0, 2, (OUTS, outs)).astype(np.float32) * 2 - 1
    mixed: np.ndarray = (signs / np.float32(np.sqrt(OUTS))) @ w
    return mixed
