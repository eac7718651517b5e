"""Give every reader of a stored weight one of its own."""

from __future__ import annotations

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node

DEQUANTIZE = "DequantizeLinear"


def unshared(graph: Graph) -> Graph:
    """Copy integer constants, their scales and the DQ behind them, for one reader each; exact.

    onnxruntime 1.32 with exact integers makes weights, and their zero points, unsigned, and fails
    on one that it meets twice ("Attempt to replace the existing tensor").
    """
    editor = Editor(graph)
    taken: set[str] = set()
    for node in graph.nodes:
        if node.op != DEQUANTIZE or not all(v in graph.constants for v in node.inputs):
            continue
        for index, value in enumerate(node.inputs):
            if value in taken:
                copy = editor.add_constant(graph.constants[value], value)
                editor.set_input(node.name, index, copy)
        taken.update(node.inputs)
        readers = editor.users(node.outputs[0])
        first = 0 if editor.is_output(node.outputs[0]) else 1
        for reader in readers[first:]:
            _own(editor, graph, node, reader)
    return editor.done() if editor.changed else graph


def _own(editor: Editor, graph: Graph, node: Node, reader: Node) -> None:
    """Let `reader` read a copy of what the DQ `node` gives."""
    result = node.outputs[0]
    (real,) = editor.add(
        DEQUANTIZE,
        [editor.add_constant(graph.constants[v], v) for v in node.inputs if v in graph.constants],
        types=[graph.type_of(result)],
        attrs=node.attrs,
        name=node.name,
        near=node.name,
    )
    for index, operand in enumerate(reader.inputs):
        if operand == result:
            editor.set_input(reader.name, index, real)
    if reader.bodies:
        editor.reread_inside(reader.name, {result: real})
