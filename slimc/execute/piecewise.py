"""Run a graph over all feeds piece by piece, so that weights may change between the pieces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from slimc.execute.ort import Feed, Session
from slimc.execute.spool import Store
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType


class Walk:
    """The nodes of a graph, cut before each node of `stops`; only values still needed are kept.

    One onnxruntime session runs one piece over every feed. Exact: a piece computes as the graph
    does, up to what onnxruntime would fuse over a cut; Q and DQ are run as they stand.
    """

    def __init__(
        self, graph: Graph, feeds: Sequence[Feed], stops: Collection[str], store: Store
    ) -> None:
        """Start before the first node. The feeds' arrays are kept as long as they are needed."""
        self.graph = graph
        self.feeds = len(feeds)
        self.store = store
        self._pieces = _pieces(graph, stops)
        self._at = 0
        self._extra: list[str] = []
        for number, feed in enumerate(feeds):
            for value in graph.inputs:
                store.put(value, number, feed[value])

    def has(self, name: str) -> bool:
        """Tell whether a value has been computed and is still there."""
        return self.store.has(name)

    def value(self, name: str, feed: int) -> Any:
        """Return a value that has been computed and is still needed, or was asked for."""
        return self.store.get(name, feed)

    def advance(
        self, also: Collection[str] = (), constants: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Run the next piece. also: values to keep until the next; constants: changed arrays."""
        piece = self._pieces[self._at]
        self._at += 1
        for value in self._extra:
            self.store.drop(value, self.feeds)
        later = {v for rest in self._pieces[self._at :] for node in rest for v in node.reads}
        made = [o for node in piece for o in node.outputs if o]
        kept = [value for value in made if value in later or value in also]
        self._extra = [value for value in kept if value not in later]
        if kept:
            self._run(piece, kept, constants or {})
        gone = {v for node in piece for v in node.reads} - later - set(made)
        for value in gone - set(self.graph.constants):
            self.store.drop(value, self.feeds)

    def _run(
        self, piece: Sequence[Node], wanted: Sequence[str], changed: Mapping[str, np.ndarray]
    ) -> None:
        """Run some nodes over every feed and keep what is wanted."""
        made = {o for node in piece for o in node.outputs}
        reads = dict.fromkeys(v for node in piece for v in node.reads)
        constants = {v: self.graph.constants[v] for v in reads if v in self.graph.constants}
        constants |= {v: Constant(a) for v, a in changed.items() if v in constants}
        inputs = tuple(v for v in reads if v not in made and v not in constants)
        types = {v: self._type_of(v) for v in inputs}
        part = replace(
            self.graph,
            types={**self.graph.types, **{v: kind for v, kind in types.items() if kind}},
            inputs=inputs,
            outputs=tuple(wanted),
            nodes=tuple(piece),
            constants=constants,
        )
        session = Session(part, fuse_integers=False)
        for feed in range(self.feeds):
            found = session.run({value: self.store.get(value, feed) for value in inputs})
            for value in wanted:
                self.store.put(value, feed, found[value])

    def _type_of(self, value: str) -> ValueType | None:
        """Return the type of a live value, from the value itself where the graph does not say."""
        known = self.graph.type_of(value)
        array = self.store.get(value, 0)
        if known is not None or not isinstance(array, np.ndarray):
            return known
        return TensorType(DType.of_numpy(array.dtype), (None,) * array.ndim)


def _pieces(graph: Graph, stops: Collection[str]) -> list[tuple[Node, ...]]:
    """Cut the nodes before each of `stops`; the first piece may be empty."""
    pieces: list[list[Node]] = [[]]
    for node in graph.nodes:
        if node.name in stops:
            pieces.append([])
        pieces[-1].append(node)
    return [tuple(piece) for piece in pieces]
