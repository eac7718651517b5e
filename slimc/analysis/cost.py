"""What a graph costs: multiply-accumulates, parameters, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from slimc.analysis.shapes import Facts, infer
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import Measure


def macs(graph: Graph, ops: OpTable, facts: Facts) -> dict[str, int]:
    """Return the multiply-accumulates of every node that has any, bodies included.

    Exact where every size is a number; `facts` must have been inferred with a number for every
    name, or the nodes with unknown sizes are missing. A body counts once.
    """
    found: dict[str, int] = {}
    for node in graph.nodes:
        row, bound = ops.get(node.kind), facts.bounds.get(node.name)
        if row is not None and bound is not None and row.macs:
            sizes = [[bound.sizes.get(name) for name in term] for term in row.mac_labels(bound)]
            if all(isinstance(size, int) for term in sizes for size in term):
                found[node.name] = sum(
                    prod(s for s in term if isinstance(s, int)) for term in sizes
                )
        for body, inside in zip(node.bodies, facts.bodies.get(node.name, ()), strict=False):
            found |= macs(body, ops, inside)
    return found


def parameters(graph: Graph) -> int:
    """Return the elements of all weights: floats, and integers of 8 bits or less, bodies included.

    Constants of one element are settings rather than weights and do not count.
    """
    own = sum(
        c.array.size
        for c in graph.constants.values()
        if c.array.size > 1 and (c.dtype.is_float or (c.dtype.is_integer and c.dtype.bits <= 8))
    )
    return own + sum(parameters(body) for node in graph.nodes for body in node.bodies)


def size_bytes(graph: Graph) -> int:
    """Return the bytes of all constants, bodies included: the file without its structure."""
    own = sum(c.size_bytes for c in graph.constants.values())
    return own + sum(size_bytes(body) for node in graph.nodes for body in node.bodies)


def measure(graph: Graph, ops: OpTable, sizes: Mapping[str, int]) -> Measure:
    """Return bytes of constants, parameters, MACs at these sizes of named dimensions, and nodes.

    MACs are those of one run, whatever the batch; nodes are counted with those of bodies.
    """
    work = macs(graph, ops, infer(graph, ops, sizes))
    nodes = sum(1 for _ in graph.walk())
    return Measure(size_bytes(graph), parameters(graph), sum(work.values()), nodes)
