"""Graphs whose ranges go into a file beside the model: every value of floats has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from slimc.analysis.shapes import call_of, infer
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node, Quantization
from slimc.ops.op import OpTable, Weighted
from slimc.passes.base import PassResult
from slimc.remarks import Remark, applied
from slimc.targets.target import Target

MADE_BY = "insert-qdq"


def keep_ranges(graph: Graph, ops: OpTable, target: Target) -> PassResult:
    """Keep the records of a graph, and let its weights be what the runtime makes of them.

    The runtime rounds weights by itself: per output channel, scale = max |w| / 127, to the nearest.
    Weights that are numbers q * scale of a grid with |q| = 127 in every channel are rounded to
    themselves; so they are written as such, and each channel keeps one largest number. What others
    read too gets a copy for the node.
    Clamps behind integer nodes run in the same kernel, and are marked as they are.
    """
    editor = Editor(graph, made_by=MADE_BY)
    remarks: list[Remark] = []
    for node in _integer_clamps(graph, ops, target):
        editor.update(node.name, integer=True)
    weights = list(_weights(graph, ops))
    times = Counter(node.inputs[parts.weight] for node, parts in weights)
    for node, parts in weights:
        weight = node.inputs[parts.weight]
        record, numbers = graph.records[weight], graph.constants[weight].array
        if len(graph.users[weight]) == times[weight] and weight not in graph.outputs:
            editor.set_constant(weight, round_to_grid(numbers, record))
        else:
            copy = editor.add_constant(round_to_grid(numbers, record), f"{node.name}.weight")
            editor.set_input(node.name, parts.weight, copy)
            editor.set_record(copy, record)
            editor.set_record(weight, None)
        data = graph.records[node.inputs[parts.data]].dtype.text
        remarks.append(applied(node.name, f"runs in integers: {data} data, ranges beside the file"))
    return PassResult(editor.finish(), tuple(remarks))


def _weights(graph: Graph, ops: OpTable) -> Iterator[tuple[Node, Weighted]]:
    """Yield the integer contractions of a constant weight that has a record."""
    for node in graph.nodes:
        weighted, weight = ops.weighted(node), ops.weight_of(node)
        stored = weight in graph.records and weight in graph.constants
        if node.integer and weighted is not None and stored:
            yield node, weighted


def round_to_grid(array: np.ndarray, record: Quantization) -> np.ndarray:
    """Return the numbers of a weight's grid, the largest of each channel at the end of the grid."""
    integers = record.quantize(array)
    axis = record.axis or 0
    moved = np.moveaxis(integers, axis, 0)
    channels = moved.reshape(1 if record.axis is None else len(moved), -1).copy()
    magnitudes = np.abs(channels.astype(np.int32))
    largest = magnitudes.argmax(axis=1)
    rows = np.flatnonzero(magnitudes.max(axis=1, initial=0))  # what is all zero has no scale
    channels[rows, largest[rows]] = np.sign(channels[rows, largest[rows]]) * record.high
    numbers = record.dequantize(np.moveaxis(channels.reshape(moved.shape), 0, axis))
    return numbers.astype(array.dtype)


def _integer_clamps(graph: Graph, ops: OpTable, target: Target) -> list[Node]:
    """Return the clamps (Relu, Clip) of results of integer nodes, which have a record."""
    facts = infer(graph, ops)
    integer = {node.name for node in graph.nodes if node.integer}
    clamps: list[Node] = []
    for node in graph.nodes:
        clamp = ops.clamp(node)
        maker = graph.producers.get(node.inputs[0]) if node.inputs else None
        if clamp is None or node.integer or maker is None:
            continue
        if maker.name not in integer or node.outputs[0] not in graph.records:
            continue
        call = call_of(graph, facts, node)
        if clamp(call) is not None and not (target.misfit and target.misfit(call)):
            integer.add(node.name)
            clamps.append(node)
    return clamps
