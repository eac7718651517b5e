"""Q/DQ nodes of an emitted graph as rules look at them: what a contraction takes, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS
from slimc.ops.groups import member, members
from slimc.ops.op import OpTable, Weighted
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.targets.target import Subject

# What may stand between a stored weight and its reader: runtimes work it out when they load.
MOVES = frozenset({*members(OPS, "moving"), "Cast"})
LONGEST = 100  # nodes that rules look back: no network moves elements more often in a row


@dataclass(frozen=True, eq=False)
class Conversion:
    """A Q or a DQ with its parameters. `stored`: it works on a constant (a weight, a bias)."""

    graph: Graph
    node: Node

    @cached_property
    def integers(self) -> DType | None:
        """The integer type: of the zero point, else of the DQ's operand."""
        zero = self.graph.type_of(self._input(2))
        if isinstance(zero, TensorType):
            return zero.dtype
        source = self.graph.type_of(self.node.inputs[0])
        if self.node.op == DEQUANTIZE and isinstance(source, TensorType):
            return source.dtype
        return None

    @cached_property
    def scale(self) -> np.ndarray | None:
        return self.graph.array(self._input(1))

    @cached_property
    def zero(self) -> np.ndarray | None:
        return self.graph.array(self._input(2))

    @property
    def has_zero(self) -> bool:
        return bool(self._input(2))

    @cached_property
    def source(self) -> str:
        """The value that is quantized: of a DQ behind a Q that of the Q."""
        maker = self.graph.producers.get(self.node.inputs[0])
        both = self.node.op == DEQUANTIZE and maker is not None and maker.op == QUANTIZE
        return maker.inputs[0] if both and maker is not None else self.node.inputs[0]

    @cached_property
    def stored(self) -> bool:
        value = self.source
        while value not in self.graph.constants:
            maker = self.graph.producers.get(value)
            if maker is None or maker.kind not in MOVES:
                return False
            value = maker.inputs[0]
        return True

    @property
    def axis(self) -> int | None:
        """The axis of the scales, None for one scale."""
        if self.scale is None or self.scale.size == 1:
            return None
        axis = self.node.attrs.get("axis", 1)
        rank = self.rank
        return int(axis) % rank if isinstance(axis, int) and rank else None

    @property
    def block(self) -> int:
        """Elements along the axis that share a scale; 0: one scale per index."""
        block = self.node.attrs.get("block_size", 0)
        return block if isinstance(block, int) else 0

    @property
    def rank(self) -> int | None:
        kind = self.graph.type_of(self.node.inputs[0])
        return len(kind.shape) if isinstance(kind, TensorType) and kind.shape is not None else None

    def spread(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return a scale or zero point for each element of data; None if that is not known."""
        axis = self.axis
        if array.size > 1 and axis is None:
            return None
        try:
            if axis is not None and self.block:
                array = array.take(np.arange(shape[axis]) // self.block, axis)
            elif axis is not None:
                array = array.reshape([-1 if i == axis else 1 for i in range(len(shape))])
            else:
                array = array.reshape(())
            return np.broadcast_to(array, shape)
        except (IndexError, ValueError):  # its scales do not fit it: a rule says so
            return None

    def same_scale(self, other: Conversion) -> bool:
        """Tell whether both map real numbers to the same integers."""
        return all(
            a is not None and b is not None and np.array_equal(a.reshape(-1), b.reshape(-1))
            for a, b in ((self.scale, other.scale), (self.zero, other.zero))
        )

    def _input(self, i: int) -> str:
        return self.node.inputs[i] if i < len(self.node.inputs) else ""


def makers(graph: Graph, value: str) -> Iterator[Node]:
    """Yield what makes a value, what makes the first operand of that, and so on."""
    for _ in range(LONGEST):
        maker = graph.producers.get(value)
        if maker is None:
            return
        yield maker
        value = maker.inputs[0] if maker.inputs else ""


def conversions(graph: Graph) -> Iterator[Conversion]:
    """Yield every Q and DQ of a graph."""
    for node in graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE):
            yield Conversion(graph, node)


def dequantized(graph: Graph, value: str) -> Conversion | None:
    """Return the DQ that makes a value, if one does."""
    maker = graph.producers.get(value)
    return Conversion(graph, maker) if maker is not None and maker.op == DEQUANTIZE else None


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight as its reader gets it. axis: of the scales there; None: one scale, or not known."""

    conversion: Conversion
    axis: int | None


def weight_of(subject: Subject, value: str) -> Weight | None:
    """Return the DQ that makes a weight, seen through what only moves its elements."""
    moves: list[Node] = []
    for maker in makers(subject.graph, value):
        if maker.kind not in MOVES and not member(subject.ops, maker.kind, "moving"):
            break
        moves.append(maker)
    else:
        return None
    if maker.op != DEQUANTIZE:
        return None
    found = Conversion(subject.graph, maker)
    axis = found.axis
    for node in reversed(moves):
        axis = _moved(subject, node, axis)
    return Weight(found, axis)


def _moved(subject: Subject, node: Node, axis: int | None) -> int | None:
    """Return where an axis of the operand lies in the result; None where that is not known."""
    bound = subject.facts.bounds.get(node.name) if axis is not None else None
    if bound is None or axis is None or not bound.inputs or bound.inputs[0] is None:
        return None
    before, after = bound.inputs[0], bound.outputs[0]
    if after is None or axis >= len(before):
        return None
    return next((i for i, terms in enumerate(after) if terms == before[axis]), None)


def contractions(graph: Graph, ops: OpTable) -> Iterator[tuple[Node, Weighted]]:
    """Yield the contractions of a graph."""
    for node in graph.nodes:
        row = ops.get(node.kind)
        if row is not None and row.weighted is not None:
            yield node, row.weighted


def integer_contractions(graph: Graph, ops: OpTable) -> Iterator[tuple[Node, Weighted]]:
    """Yield the contractions whose data and weight both come from a DQ."""
    for node, parts in contractions(graph, ops):
        operands = (node.inputs[parts.data], node.inputs[parts.weight])
        if all(dequantized(graph, value) is not None for value in operands):
            yield node, parts
