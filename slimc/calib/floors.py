"""Values whose least number is known without looking: results of clamps."""

from __future__ import annotations

from slimc.analysis.shapes import Facts, call_of
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable


def floors(graph: Graph, ops: OpTable, facts: Facts) -> dict[str, float]:
    """Return the lower bound of every value that a clamp of the top graph makes (a Relu: 0)."""
    found = {}
    for node in graph.nodes:
        row = ops.get(node.kind)
        bounds = row.clamp(call_of(graph, facts, node)) if row is not None and row.clamp else None
        if bounds is not None:
            found[node.outputs[0]] = bounds[0]
    return found
