"""The sum that a value alone goes into: a bias behind a product, or a residual branch joining."""

from __future__ import annotations

from typing import NamedTuple

from slimc.ir import dims
from slimc.ir.graph import Graph, Node
from slimc.ir.types import Shape

_SUM = "Add"


class Summed(NamedTuple):
    """The node that adds, and the number of its other operand."""

    node: Node
    operand: int

    @property
    def other(self) -> str:
        """The value that is added."""
        return self.node.inputs[self.operand]


def sole_sum(graph: Graph, value: str) -> Summed | None:
    """Return the sum that alone reads a value, once; None where others need the value too."""
    readers = graph.users.get(value, ())
    if value in graph.outputs or len(readers) != 1:
        return None
    (reader,) = readers
    if reader.kind != _SUM or reader.inputs.count(value) != 1:
        return None
    return Summed(reader, 1 - reader.inputs.index(value))


def has_bias_shape(summand: Shape, product: Shape) -> bool:
    """Return whether a summand broadcasts to a product [..,M,N] as the bias of a Gemm.

    That is [N], and of matrices [1,N], [M,N] and [M,1] (onnxruntime, matmul_add_fusion.cc).
    """
    if len(summand) == 1 and product:
        return dims.same(summand[0], product[-1])
    if len(summand) != 2 or len(product) != 2:
        return False
    (rows, columns), (m, n) = summand, product
    across = dims.same(columns, n)
    return (across and (rows == 1 or dims.same(rows, m))) or (columns == 1 and dims.same(rows, m))
