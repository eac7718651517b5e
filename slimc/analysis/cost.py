"""What a graph costs: multiply-accumulates, parameters, bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slimc.analysis.shapes import Facts, infer
from slimc.ir import dims
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import GraphSize


def macs(graph: Graph, ops: OpTable, facts: Facts) -> dict[str, int]:
    """Return the multiply-accumulates of every node that has any, by name.

    A node with bodies costs what the dearest of them costs once. Nodes of unknown sizes are left
    out.
    """
    found: dict[str, int] = {}
    for node in graph.nodes:
        row, bound = ops.get(node.kind), facts.bounds.get(node.name)
        if row is not None and bound is not None and row.macs:
            terms = [
                dims.multiply(*(bound.sizes.get(name) for name in labels))
                for labels in row.mac_labels(bound)
            ]
            numbers = [t for t in terms if isinstance(t, int)]
            if terms and len(numbers) == len(terms):
                found[node.name] = sum(numbers)
        known = facts.bodies.get(node.name, ()) if node.bodies else ()
        inside = zip(node.bodies, known, strict=True)
        dearest = max((sum(macs(b, ops, f).values()) for b, f in inside), default=0)
        if dearest:
            found[node.name] = found.get(node.name, 0) + dearest
    return found


def parameters(graph: Graph) -> int:
    """Return the number of trained numbers: elements of constants with more than one.

    Floats of any type count, and integers of 16 bits or less (stored weights); wider integers are
    shapes, indices, or biases in i32. Scales of stored weights count too.
    """
    return sum(c.array.size for c in _constants(graph) if _is_trained(c))


def size_bytes(graph: Graph) -> int:
    """Return the bytes that the elements of all constants take in a file."""
    return sum(c.size_bytes for c in _constants(graph))


def measure(graph: Graph, ops: OpTable, sizes: Mapping[str, int]) -> GraphSize:
    """Measure a graph with these sizes for its names; MACs are for all samples of a batch."""
    facts = infer(graph, ops, sizes)
    return GraphSize(
        size_bytes=size_bytes(graph),
        parameters=parameters(graph),
        macs=sum(macs(graph, ops, facts).values()),
        nodes=sum(1 for _ in graph.walk()),
    )


def _constants(graph: Graph) -> Iterator[Constant]:
    yield from graph.constants.values()
    for node in graph.nodes:
        for body in node.bodies:
            yield from _constants(body)


def _is_trained(constant: Constant) -> bool:
    dtype = constant.dtype
    return constant.array.size > 1 and (dtype.is_float or (dtype.is_integer and dtype.bits <= 16))
