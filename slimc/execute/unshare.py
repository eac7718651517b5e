"""Give every reader of stored integers its own copy."""

from __future__ import annotations

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, all_names, with_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.ops.qdq import DEQUANTIZE


def unshared(graph: Graph) -> Graph:
    """Copy i8 constants, and DequantizeLinear of constants, for one reader each; exact.

    onnxruntime 1.32 with exact integers makes weights and their zero points unsigned, whichever
    operator reads them, and fails on one that it meets twice ("Attempt to replace the existing
    tensor"). Copies share their elements.
    """
    return _Copies(all_names(graph)).unshared(graph)


class _Copies:
    """The names in use, the i8 constants of graphs seen so far, and those with a reader."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._constants: dict[str, Constant] = {}
        self._read: set[str] = set()

    def unshared(self, graph: Graph) -> Graph:
        """Return a graph, or a body, in which no two operands are one i8 constant."""
        editor = Editor(_dequantized_apart(graph, self._names), self._names)
        self._constants |= {v: c for v, c in graph.constants.items() if c.dtype is DType.I8}
        for node in editor.graph.nodes:
            for index, value in enumerate(node.inputs):
                if value in self._read:
                    copy = editor.add_constant(self._constants[value], value)
                    editor.set_input(node.name, index, copy)
                elif value in self._constants:
                    self._read.add(value)
            attrs = with_bodies(node, self.unshared)
            if any(attrs[key] is not node.attrs[key] for key in attrs):
                editor.update(node.name, attrs=attrs)
        return editor.done(keep_dead=True)


def _dequantized_apart(graph: Graph, names: set[str]) -> Graph:
    """Let every reader of a DQ of constants but the first read a DQ of its own."""
    editor = Editor(graph, names)
    for node in graph.nodes:
        if node.op != DEQUANTIZE or not all(v in graph.constants for v in node.inputs):
            continue
        result = node.outputs[0]
        readers = editor.users(result)
        for reader in readers[0 if editor.is_output(result) else 1 :]:
            _dequantize_for(editor, node, reader)
    return editor.done(keep_dead=True)


def _dequantize_for(editor: Editor, node: Node, reader: Node) -> None:
    """Let `reader` read a copy of the DQ `node`."""
    result = node.outputs[0]
    (real,) = editor.add(
        DEQUANTIZE,
        node.inputs,
        types=[editor.type_of(result)],
        attrs=node.attrs,
        name=node.name,
        near=node.name,
    )
    for index, operand in enumerate(reader.inputs):
        if operand == result:
            editor.set_input(reader.name, index, real)
    if reader.bodies:
        editor.reread_inside(reader.name, {result: real})
