"""The sum that a value alone goes into: a bias behind a product, or a residual branch joining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from slimc.ir import dims
from slimc.ir.graph import Graph, Node
from slimc.ir.types import Shape
from slimc.ops.groups import member
from slimc.ops.op import OpTable, Weighted


class Summed(NamedTuple):
    """The node that adds, and the number of its other operand."""

    node: Node
    operand: int

    @property
    def other(self) -> str:
        """The value that is added."""
        return self.node.inputs[self.operand]


def sole_sum(graph: Graph, ops: OpTable, value: str) -> Summed | None:
    """Return the sum that alone reads a value, once; None where others need the value too."""
    readers = graph.users.get(value, ())
    if value in graph.outputs or len(readers) != 1:
        return None
    (reader,) = readers
    if not member(ops, reader.kind, "sum") or reader.inputs.count(value) != 1:
        return None
    return Summed(reader, 1 - reader.inputs.index(value))


def has_bias_shape(summand: Shape, product: Shape) -> bool:
    """Return whether a summand broadcasts to a product [..,M,N] as the bias of a Gemm.

    That is [N], and of matrices [1,N], [M,N] and [M,1] (onnxruntime, matmul_add_fusion.cc).
    """
    if len(summand) == 1 and product:
        return dims.are_equal(summand[0], product[-1])
    if len(summand) != 2 or len(product) != 2:
        return False
    (rows, columns), (m, n) = summand, product
    across = dims.are_equal(columns, n)
    return (across and (rows == 1 or dims.are_equal(rows, m))) or (
        columns == 1 and dims.are_equal(rows, m)
    )


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant bias: the operand `index` of `reader`. elements: f32[channels] or f32[1]."""

    reader: Node
    index: int
    elements: np.ndarray


def bias_behind(graph: Graph, ops: OpTable, node: Node, weighted: Weighted) -> Bias | None:
    """Return the constant that a sum alone adds to a contraction which takes no bias itself.

    A runtime fuses the two, and to an integer kernel only if both constants are integers.
    """
    added = sole_sum(graph, ops, node.outputs[0]) if weighted.bias is None else None
    array = None if added is None else graph.array(added.other)
    if added is None or array is None or array.ndim > 1 or not np.isfinite(array).all():
        return None
    return Bias(added.node, added.operand, array.astype(np.float32).reshape(-1))
