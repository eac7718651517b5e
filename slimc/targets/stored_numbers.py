"""The numbers that a stored weight has where it is read, worked out without a runtime."""

from __future__ import annotations

from math import prod

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, static_shape
from slimc.ops import OPS
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.targets.contractions import MOVES, Conversion


def stored_numbers(graph: Graph, value: str) -> np.ndarray | None:
    """Return what a constant becomes behind Q, DQ and what only moves elements; else None.

    Numbers that Q makes zero are zero; others of a Q are as they are stored.
    """
    moves: list[Node] = []
    while value not in graph.constants:
        maker = graph.producers.get(value)
        if maker is None or maker.kind not in MOVES | {QUANTIZE, DEQUANTIZE}:
            return None
        moves.append(maker)
        value = maker.inputs[0]
    array: np.ndarray | None = graph.constants[value].array
    for node in reversed(moves):
        array = None if array is None else _moved(graph, node, array)
    return array


def _moved(graph: Graph, node: Node, array: np.ndarray) -> np.ndarray | None:
    """Apply a node to the elements of its operand."""
    if node.op == DEQUANTIZE:
        stored = node.inputs[0] in graph.constants
        return real_numbers(Conversion(graph, node)) if stored else array
    if node.op == QUANTIZE:
        one = Conversion(graph, node)
        least = None if one.scale is None else one.spread(one.scale, array.shape)
        real = array.astype(np.float32)
        return None if least is None else np.where(np.rint(real / least) == 0, 0, real)
    if node.op == "Transpose":
        order = node.attrs.get("perm", tuple(reversed(range(array.ndim))))
        if not isinstance(order, tuple) or sorted(order) != list(range(array.ndim)):
            return None
        return array.transpose(order)
    if OPS.rows[node.kind].order == "changed":
        return None
    shape = static_shape(graph.type_of(node.outputs[0]))
    return array.reshape(shape) if shape is not None and array.size == prod(shape) else None


def real_numbers(one: Conversion) -> np.ndarray | None:
    """Return what a DQ makes of stored integers, (q - zero) * scale; None where it is not known."""
    stored = one.graph.array(one.node.inputs[0])
    if stored is None or one.scale is None or (one.has_zero and one.zero is None):
        return None
    scale = one.spread(one.scale, stored.shape)
    zero = np.zeros(()) if one.zero is None else one.spread(one.zero, stored.shape)
    kind = one.graph.type_of(one.node.outputs[0])
    if scale is None or zero is None or not isinstance(kind, TensorType):
        return None
    steps = stored.astype(np.int64) - zero.astype(np.int64)
    real: np.ndarray = (steps.astype(np.float32) * scale.astype(np.float32)).astype(
        kind.dtype.numpy
    )
    return real
