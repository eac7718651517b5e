"""What stands in a body (If, Loop, Scan) stays in float: which layers, and what would free them."""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.remarks import Remark, skipped


def left_in_bodies(graph: Graph, ops: OpTable, stays: str = "stays in float") -> tuple[Remark, ...]:
    """Say of each layer in a body how it stays; how to free it, if an input decides.

    Only values of the outer graph have records: those of a body exist in some runs and not in
    others (a branch), or many times in one (a loop).
    """
    outer = [node for node in graph.nodes if node.bodies]
    return tuple(one for node in outer for one in _left(graph, ops, node, stays))


def _left(graph: Graph, ops: OpTable, outer: Node, stays: str) -> Iterator[Remark]:
    chosen_by = ", ".join(f"--bind {v}=VALUE" for v in deciding_inputs(graph, outer))
    help = f"{chosen_by} makes the branch that it chooses part of the graph" if chosen_by else ""
    for body in outer.bodies:
        for node in body.walk():
            row = ops.get(node.kind)
            if row is not None and row.macs:
                where = f"it stands in a body of '{outer.name}' ({outer.kind})"
                yield skipped(node.name, f"{stays}: {where}", help)


def deciding_inputs(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return the single numbers among the graph's inputs that alone choose between branches.

    Nothing where the bodies are no branches (they take inputs), or where more has a say.
    """
    if not node.bodies or any(body.inputs for body in node.bodies):
        return ()
    found: dict[str, None] = {}
    seen: set[str] = set()
    todo = [v for v in node.inputs if v]
    while todo:
        value = todo.pop()
        maker = graph.producers.get(value)
        if value in seen or value in graph.constants:
            continue
        seen.add(value)
        if maker is not None:
            todo += maker.reads
        elif value in graph.inputs and _is_number(graph, value):
            found[value] = None
        else:
            return ()
    return tuple(v for v in graph.inputs if v in found)


def _is_number(graph: Graph, value: str) -> bool:
    return graph.shape_of(value) in ((), (1,))
