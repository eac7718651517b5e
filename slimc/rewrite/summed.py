"""The sum that a value alone goes into: a bias behind a product, or a residual branch joining."""

from __future__ import annotations

from typing import NamedTuple

from slimc.ir.graph import Graph, Node

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
