"""Where a graph computes with the size of an axis in a way that does not follow when indices leave.

`Shape(x)` feeding a Reshape target is harmless: the target is refitted. The same number under a
square root is not: the computation would change with the width. To tell them apart, every size that
a node reads is replaced by a symbol, the value rules of the operator table carry the symbols on,
and a symbol that arrives anywhere but at a refitted operand is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from slimc.analysis.shapes import Facts, call_of
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, ValueType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, OpTable, UnknownType

_SYMBOL = re.compile(r"@\d+")


@dataclass(frozen=True)
class SizeRead:
    """The size of an axis of a value, computed with by a node."""

    value: str
    axis: int
    node: Node


def sizes_read(graph: Graph, ops: OpTable, facts: Facts) -> list[SizeRead]:
    """Return every size that is computed with, once per axis, in the order of the nodes."""
    tracing = _Tracing(graph, facts)
    found: dict[tuple[str, int], SizeRead] = {}
    for node in graph.nodes:
        row = ops.get(node.kind)
        for symbol in tracing.follow(node, row):
            value, axis = tracing.symbols[symbol]
            found.setdefault((value, axis), SizeRead(value, axis, node))
    return list(found.values())


@dataclass
class _Tracing:
    graph: Graph
    facts: Facts
    symbols: dict[str, tuple[str, int]] = field(default_factory=dict)
    by_axis: dict[tuple[str, int], str] = field(default_factory=dict)
    known: dict[str, np.ndarray] = field(default_factory=dict)  # value -> elements with symbols

    def follow(self, node: Node, row: Op | None) -> tuple[str, ...]:
        """Carry symbols over a node; return those that end in it."""
        incoming = tuple(dict.fromkeys(s for v in node.reads for s in self._in_value(v)))
        made = [self.facts.values.get(o) for o in node.outputs if o]
        if row is None or row.value is None or not any(m is not None for m in made):
            return incoming if row is None else self._not_refitted(node, row)
        call = self._symbolic(call_of(self.graph, self.facts, node), node)
        try:
            results: Sequence[np.ndarray | None] = row.value(call)
        except Unmatched:
            results = ()
        lost = False
        for i, output in enumerate(node.outputs):
            old = self.facts.values.get(output) if output else None
            new = results[i] if i < len(results) else None
            if old is not None:
                lost |= not _as_known(new, old)
                if new is not None and any(_symbols_in(new)):
                    self.known[output] = new
        if lost and row.refit is not None:  # elements in a number that the refit sees to
            return self._not_refitted(node, row)
        return incoming if lost else ()

    def _in_value(self, value: str) -> Iterator[str]:
        return _symbols_in(self.known[value]) if value in self.known else iter(())

    def _not_refitted(self, node: Node, row: Op) -> tuple[str, ...]:
        """Return the symbols in operands of a real operator that its refit does not rewrite."""
        bound = self.facts.bounds.get(node.name)
        ends: dict[str, None] = {}
        for i, value in enumerate(node.inputs):
            said = bound is not None and i < len(bound.inputs) and bound.inputs[i] is not None
            if row.refit is None or bound is None or said:
                ends.update(dict.fromkeys(self._in_value(value)))
        for body in node.bodies:
            ends.update(dict.fromkeys(s for v in body.captured for s in self._in_value(v)))
        return tuple(ends)

    def _symbolic(self, call: Call, node: Node) -> Call:
        """Return the call with symbols for the sizes of operands whose elements are not known."""
        values = list(call.values)
        types: list[ValueType | UnknownType | None] = list(call.types)
        for i, value in enumerate(node.inputs):
            kind = types[i] if i < len(types) else None
            if value in self.known:
                values[i] = self.known[value]
            elif values[i] is None and isinstance(kind, TensorType) and kind.shape is not None:
                sizes = tuple(self._symbol(value, axis) for axis in range(len(kind.shape)))
                types[i] = replace(kind, shape=sizes)
        return replace(call, types=tuple(types), values=tuple(values))

    def _symbol(self, value: str, axis: int) -> str:
        symbol = self.by_axis.setdefault((value, axis), f"@{len(self.by_axis)}")
        self.symbols[symbol] = (value, axis)
        return symbol


def _symbols_in(elements: np.ndarray) -> Iterator[str]:
    for element in elements.ravel().tolist():
        if isinstance(element, str):
            yield from _SYMBOL.findall(element)


def _as_known(new: np.ndarray | None, old: np.ndarray) -> bool:
    """Tell whether every element that has a number has a number or a text in `new` too."""
    if new is None or new.shape != old.shape:
        return False
    pairs = zip(new.ravel().tolist(), old.ravel().tolist(), strict=True)
    return all(a is not None or b is None for a, b in pairs)
