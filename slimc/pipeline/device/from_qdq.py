"""A file with Q/DQ nodes as a graph with records, for what it costs; its numbers are left out."""

from __future__ import annotations

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization
from slimc.ops.op import OpTable
from slimc.targets.contractions import Conversion, conversions


def recorded(graph: Graph, ops: OpTable) -> Graph:
    """Return the graph without its Q/DQ nodes, and with records of the types of integers.

    A node whose first operand comes from integers computes in them. Stored weights become floats of
    zeros: what is counted are sizes. A graph without Q/DQ is returned as it is.
    """
    from_integers = {one.node.outputs[0]: one for one in conversions(graph) if _is_back(one)}
    editor = Editor(graph)
    for node in graph.nodes:
        parts = ops.weighted(node)
        data = parts.data if parts is not None else 0
        if len(node.inputs) > data and node.inputs[data] in from_integers:
            editor.update(node.name, integer=node.outputs[0] not in from_integers)
    for value, one in from_integers.items():
        _absorb(editor, value, one)
    return editor.done() if from_integers else graph


def _is_back(one: Conversion) -> bool:
    """Tell whether this makes real numbers: a DQ whose integers are of a known type."""
    return one.integers is not None and one.graph.is_float(one.node.outputs[0])


def _absorb(editor: Editor, value: str, one: Conversion) -> None:
    source = one.source
    constant = editor.constant(source)
    if constant is not None:
        zeros = np.broadcast_to(np.float32(0), constant.shape)
        source = editor.add_constant(Constant(zeros), f"{source}.floats")
    elif source == one.node.inputs[0]:
        return  # integers that no Q of the graph makes stay as they are
    if one.integers is not None:
        low, high = one.integers.span
        scale, zero = np.float32(1), one.integers.numpy.type(0)
        record = Quantization(one.integers, np.array(scale), np.array(zero), int(low), int(high))
        editor.set_record(source, record)
    editor.redirect(value, source)
