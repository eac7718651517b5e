"""Plug-ins: nodes of other runtimes, which nothing runs here. Graphs are run up to them."""

from __future__ import annotations

from dataclasses import replace

from slimc.io.schemas import schema_of
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node

# onnxruntime has its own operators in the one, and ONNX's other tables in domains like the other.
_RUN = ("com.microsoft", "ai.onnx")


def is_plugin(node: Node) -> bool:
    """Tell whether a node is no operator of ONNX, nor of onnxruntime."""
    if node.domain:
        return not node.domain.startswith(_RUN)
    return schema_of(node) is None


def up_to_plugins(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """Return the graph without plug-ins and without what reads their results, and those nodes.

    Its outputs are those that are left, then the values that the nodes taken out read. A node with
    a plug-in in a body counts as one.
    """
    aside: list[Node] = []
    behind: set[str] = set()
    for node in graph.nodes:
        inside = (inner for body in node.bodies for inner in body.walk())
        if any(map(is_plugin, (node, *inside))) or not behind.isdisjoint(node.reads):
            aside.append(node)
            behind.update(node.outputs)
    if not aside:
        return graph, ()
    read = (v for node in aside for v in node.reads if v in graph.producers)
    ends = dict.fromkeys(v for v in (*graph.outputs, *read) if v not in behind)
    left = {node.name for node in aside}
    nodes = tuple(node for node in graph.nodes if node.name not in left)
    editor = Editor(replace(graph, nodes=nodes, outputs=tuple(ends)))
    editor.changed = True
    return editor.finish(), tuple(aside)
