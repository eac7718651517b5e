"""Which nodes hold weights that are integers already: a file that somebody quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slimc.analysis.shapes import infer
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, ValueType
from slimc.ops.op import OpTable
from slimc.ops.qdq import QDQ

_BITS = 8  # of the widest integers that weights are quantized to


def integer_weights(graph: Graph, ops: OpTable) -> tuple[str, ...]:
    """Return the names of the nodes that hold quantized weights, those of bodies included.

    They are: contractions of integers; Q and DQ of constants (weights, or a bias); lookups in a
    table of integers; and nodes of unknown operators with a matrix of integers.
    """
    types = infer(graph, ops).types
    fixed: set[str] = set()
    return tuple(
        node.name for scope in graph.scopes() for node in _holders(scope, ops, types, fixed)
    )


def _holders(
    scope: Graph, ops: OpTable, types: Mapping[str, ValueType], fixed: set[str]
) -> Iterator[Node]:
    """Yield the nodes of one graph. fixed: values that follow from constants; it is added to."""
    fixed.update(scope.constants)
    for node in scope.nodes:
        if node.reads and all(value in fixed for value in node.reads):
            fixed.update(o for o in node.outputs if o)
        if _holds_integers(node, ops, types, fixed):
            yield node


def _holds_integers(
    node: Node, ops: OpTable, types: Mapping[str, ValueType], fixed: set[str]
) -> bool:
    narrow = [value for value in node.inputs if value and _is_narrow(types.get(value))]
    row = ops.get(node.kind)
    if node.kind in QDQ.rows:
        return node.inputs[0] in fixed
    if row is None:
        return any(value in fixed and _rank(types[value]) > 1 for value in narrow)
    if row.macs:
        return bool(narrow)
    table = node.inputs[row.table] if row.table is not None else ""
    return table in fixed and table in narrow


def _is_narrow(kind: ValueType | None) -> bool:
    return isinstance(kind, TensorType) and kind.dtype.is_integer and kind.dtype.bits <= _BITS


def _rank(kind: ValueType) -> int:
    return len(kind.shape or ()) if isinstance(kind, TensorType) else 0
