"""Q/DQ nodes of an emitted graph as rules look at them: what a contraction takes, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable, Weighted
from slimc.passes.emit_qdq import DEQUANTIZE, QUANTIZE


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

    @property
    def stored(self) -> bool:
        return self.source in self.graph.constants

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

    def same_scale(self, other: Conversion) -> bool:
        """Tell whether both map real numbers to the same integers."""
        return all(
            a is not None and b is not None and np.array_equal(a.reshape(-1), b.reshape(-1))
            for a, b in ((self.scale, other.scale), (self.zero, other.zero))
        )

    def _input(self, i: int) -> str:
        return self.node.inputs[i] if i < len(self.node.inputs) else ""


def conversions(graph: Graph) -> Iterator[Conversion]:
    """Yield every Q and DQ of a graph."""
    for node in graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE):
            yield Conversion(graph, node)


def dequantized(graph: Graph, value: str) -> Conversion | None:
    """Return the DQ that makes a value, if one does."""
    maker = graph.producers.get(value)
    return Conversion(graph, maker) if maker is not None and maker.op == DEQUANTIZE else None


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
