"""What stays in float beside integers, on a runtime that would make integers of it by itself.

ONNX Runtime (from 1.19, WeightBiasQuantization) quantizes weight and bias of a Conv, ConvTranspose
or Gemm whose data comes from a DQ and whose result goes to a Q, with one scale for all channels. It
does so only where the data has one scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.analysis.contraction_axes import data_channels
from slimc.analysis.shapes import infer
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable, Weighted
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.remarks import Remark, applied, skipped


@dataclass(frozen=True)
class Border:
    """A float contraction, and the DQ that makes its data."""

    node: Node
    parts: Weighted
    source: Node


def quantized_by_runtime(graph: Graph, ops: OpTable) -> Iterator[Border]:
    """Yield the float contractions of a graph with Q/DQ that the runtime would quantize."""
    for node in graph.nodes:
        parts = ops.weighted(node)
        if node.integer or parts is None or parts.bias is None:
            continue  # a product without a bias is left alone
        source = graph.producers.get(node.inputs[parts.data])
        weight = graph.producers.get(node.inputs[parts.weight])
        bias = node.inputs[parts.bias] if parts.bias < len(node.inputs) else ""
        stored = weight is not None and weight.op == DEQUANTIZE
        if stored and bias not in graph.constants:
            continue
        if source is None or source.op != DEQUANTIZE or not _has_one_scale(graph, source):
            continue
        if _is_quantized(graph, ops, node):
            yield Border(node, parts, source)


def guard_floats(graph: Graph, ops: OpTable, made_by: str) -> tuple[Graph, list[Remark]]:
    """Give the data of such contractions its scale once per channel: the same numbers, exactly."""
    borders = tuple(quantized_by_runtime(graph, ops))
    if not borders:
        return graph, []
    bounds = infer(graph, ops).bounds
    editor, remarks = Editor(graph, made_by=made_by), []
    for border in borders:
        node, name = border.node, border.node.name
        bound = bounds.get(name)
        found = data_channels(bound, border.parts) if bound is not None else None
        if found is None or found[1] < 2:
            why = "its channels are not known" if found is None else "it has one channel"
            text = f"onnxruntime may run it in integers, with one scale for its weights: {why}"
            remarks.append(skipped(name, text))
            continue
        real = _per_channel(editor, graph, border.source, name, *found)
        editor.set_input(name, border.parts.data, real)
        text = f"stays in float: the scale of '{border.source.inputs[0]}' stands once per channel"
        remarks.append(applied(node.name, f"{text}, or onnxruntime quantizes its weights"))
    return editor.finish(form=graph.form), remarks


def hold_behind(graph: Graph, kinds: frozenset[str], made_by: str) -> tuple[Graph, list[Remark]]:
    """Let a Q stay behind floats of some kinds: its scale stands once per channel, the same.

    ONNX Runtime moves a Q before what only moves or picks elements (QDQPropagation), where it has
    one scale; MaxPool of integers has a fast kernel only behind a convolution of integers.
    """
    editor, remarks = Editor(graph, made_by=made_by), []
    for node in graph.nodes:
        if node.integer or node.kind not in kinds:
            continue
        shape = graph.shape_of(node.outputs[0])
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        for reader in graph.users.get(node.outputs[0], ()):
            if reader.op != QUANTIZE or not _has_one_scale(graph, reader):
                continue
            if not isinstance(channels, int) or channels < 2:
                text = (
                    "onnxruntime may run it in integers: it has one channel, or an unknown number"
                )
                remarks.append(skipped(node.name, text))
                continue
            operands = _each(editor, graph, reader, channels)
            attrs = {**reader.attrs, "axis": 1}
            editor.update(reader.name, inputs=tuple(operands), attrs=attrs)
            remarks.append(applied(node.name, "stays in float: the scale behind it is per channel"))
    return editor.finish(form=graph.form) if remarks else graph, remarks


def _each(editor: Editor, graph: Graph, source: Node, channels: int) -> list[str]:
    """Return the operands of a Q or DQ, with scale and zero point once per channel."""
    operands = [source.inputs[0]]
    for value in source.inputs[1:]:
        array = graph.constants[value].array
        each = np.full(channels, array.reshape(-1)[0], array.dtype)
        operands.append(editor.add_constant(each, f"{value}.each"))
    return operands


def _per_channel(
    editor: Editor, graph: Graph, source: Node, near: str, axis: int, channels: int
) -> str:
    """Add a DQ like `source`, with its scale and zero point once per channel."""
    operands = _each(editor, graph, source, channels)
    (real,) = editor.add(
        DEQUANTIZE,
        operands,
        attrs={"axis": axis},
        name=f"{near}.dequantize",
        types=[graph.type_of(source.outputs[0])],
        near=near,
    )
    return real


def _has_one_scale(graph: Graph, source: Node) -> bool:
    if any(v not in graph.constants for v in source.inputs[1:]):
        return False
    return graph.constants[source.inputs[1]].array.size == 1


def _is_quantized(graph: Graph, ops: OpTable, node: Node) -> bool:
    """Tell whether a Q alone reads the result of a node, clamps in between aside."""
    while True:
        value = node.outputs[0]
        readers = graph.users.get(value, ())
        if len(readers) != 1 or value in graph.outputs:
            return False
        (node,) = readers
        if node.op == QUANTIZE:
            return True
        if not ops.clamp(node):
            return False
