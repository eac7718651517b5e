"""Channels that one node makes and products read, with nothing between that minds their scale.

y_c = s_c (y_c / s_c):  the producer's constants along c are divided by s_c, the weights of all
products that read c are multiplied by it. Exact up to rounding for s > 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts, call_of
from slimc.fit.linear import Linear, as_linear
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import Op, OpTable, Quant
from slimc.rewrite.summed import sole_sum


@dataclass(frozen=True, eq=False)
class ScalableChannels:
    """Who makes the channels, and the products that read them all.

    producer: of a product; else a normalisation, whose constants are among `vectors`: node,
    operand, and axis of the channels counted from the end. gate: value of an operator that does not
    scale; one more multiplication behind it divides, along `axis` counted from the end.
    """

    node: Node
    producer: Linear | None
    vectors: tuple[tuple[str, int, int], ...]
    readers: tuple[Linear, ...]
    channels: int
    gate: str = ""
    axis: int = -1

    def rescale(self, editor: Editor, s: Floats) -> None:
        """Divide what makes the channels by s, multiply what reads them. s: f64[channels]."""
        if self.producer is not None:
            contraction = self.producer
            w = contraction.matrix(
                _read_array(editor, contraction.node.name, _weight_operand(contraction))
            )
            scaled = contraction.array(w / s.reshape(*w.shape[:2], 1))
            _replace_constant(editor, contraction.node.name, _weight_operand(contraction), scaled)
        for name, operand, axis in self.vectors:
            old = _read_array(editor, name, operand)
            shape = [1] * old.ndim
            shape[axis] = -1
            _replace_constant(editor, name, operand, old / s.reshape(shape))
        if self.gate:
            _insert_division(editor, self.gate, self.node, s, self.axis)
        for contraction in self.readers:
            w = contraction.matrix(
                _read_array(editor, contraction.node.name, _weight_operand(contraction))
            )
            _replace_constant(
                editor,
                contraction.node.name,
                _weight_operand(contraction),
                contraction.array(w * spread_over_inputs(contraction, s)),
            )


def spread_over_inputs(contraction: Linear, s: Floats) -> Floats:
    """Return a number per input channel as it goes with what results read, [g, 1, p]."""
    return np.repeat(s, contraction.taps).reshape(contraction.group_count, 1, -1)


def find_sites(
    graph: Graph, ops: OpTable, facts: Facts, gates: bool = False
) -> Iterator[tuple[str, ScalableChannels | str]]:
    """Yield the nodes that make channels for products, or why theirs cannot be rescaled.

    gates: those too whose results take one more multiplication.
    """
    for node in graph.nodes:
        row, contraction = ops.get(node.kind), as_linear(graph, ops, facts, node)
        if contraction is not None and contraction.channel_axis is not None:
            yield node.name, _contraction_site(graph, ops, facts, contraction)
        elif row is not None and row.affine:
            yield node.name, _normalization_site(graph, ops, facts, node, row)
        elif row is not None and row.gate and gates:
            yield node.name, _gate_site(graph, ops, facts, node)


def _contraction_site(
    graph: Graph, ops: OpTable, facts: Facts, contraction: Linear
) -> ScalableChannels | str:
    axis, node, value = contraction.channel_axis or 0, contraction.node, contraction.result
    rank = len(contraction.result_axes)
    vectors: list[tuple[str, int, int]] = []
    if (
        contraction.bias is not None
        and contraction.bias < len(node.inputs)
        and node.inputs[contraction.bias]
    ):
        bias = graph.array(node.inputs[contraction.bias])
        if bias is None or bias.size != contraction.channel_count or contraction.bias_shape is None:
            return "its bias is not one constant per channel"
        along = int(np.argmax(bias.shape)) - bias.ndim
        vectors.append((node.name, contraction.bias, along))
    added = sole_sum(graph, ops, value)
    constant = graph.array(added.other) if added is not None else None
    if added is not None and constant is not None:
        if not _is_per_channel(constant, axis - rank, contraction.channel_count):
            return "what is added to it is not one constant per channel"
        vectors.append((added.node.name, added.operand, axis - rank))
        value = added.node.outputs[0]
    readers = _find_readers(graph, ops, facts, value, axis)
    if isinstance(readers, str):
        return readers
    return ScalableChannels(node, contraction, tuple(vectors), readers, contraction.channel_count)


def _normalization_site(
    graph: Graph, ops: OpTable, facts: Facts, node: Node, row: Op
) -> ScalableChannels | str:
    shape = facts.shape(node.outputs[0])
    operands = [i for i in row.affine if i < len(node.inputs) and node.inputs[i]]
    constants = [graph.array(node.inputs[i]) for i in operands]
    if shape is None or not operands or any(c is None or c.ndim != 1 for c in constants):
        return "its scale and bias are not one constant per channel"
    bound = facts.bounds.get(node.name)
    axes = bound.inputs[operands[0]] if bound is not None else None
    if bound is None or not axes or axes[0] not in (bound.outputs[0] or ()):
        return "its scale is not along one axis of its result"
    axis = (bound.outputs[0] or ()).index(axes[0])
    readers = _find_readers(graph, ops, facts, node.outputs[0], axis)
    if isinstance(readers, str):
        return readers
    return ScalableChannels(
        node, None, tuple((node.name, i, -1) for i in operands), readers, shape[axis]
    )


def _gate_site(graph: Graph, ops: OpTable, facts: Facts, node: Node) -> ScalableChannels | str:
    value, shape = node.outputs[0], facts.shape(node.outputs[0])
    products = (as_linear(graph, ops, facts, user) for user in graph.users.get(value, ()))
    contraction = next((p for p in products if p is not None and p.data == value), None)
    labels = [*contraction.groups, *contraction.ins] if contraction is not None else []
    for axis, terms in enumerate(contraction.data_axes if contraction is not None else ()):
        if shape is not None and [n.name for term in terms for n in term] == labels:
            readers = _find_readers(graph, ops, facts, value, axis)
            if isinstance(readers, str):
                return readers
            return ScalableChannels(node, None, (), readers, shape[axis], value, axis - len(shape))
    return "no product reads its channels"


def _find_readers(
    graph: Graph, ops: OpTable, facts: Facts, value: str, axis: int
) -> tuple[Linear, ...] | str:
    """Return the products that read the channels of a value, or what else does."""
    readers: list[Linear] = []
    pending = [(value, axis)]
    for name, position in pending:
        if name in graph.outputs:
            return f"its channels are those of graph output '{name}'"
        for node in graph.users.get(name, ()):
            contraction = as_linear(graph, ops, facts, node)
            if (
                contraction is not None
                and contraction.data == name
                and node.inputs.count(name) == 1
            ):
                labels = [n.name for term in contraction.data_axes[position] for n in term]
                if labels != [*contraction.groups, *contraction.ins]:
                    return f"'{node.name}' ({node.kind}) sums over other axes too"
                readers.append(contraction)
                continue
            row = ops.get(node.kind)
            place = (
                _passed_axis(graph, facts, node, row, name, position) if row is not None else None
            )
            if place is None:
                return f"'{node.name}' ({node.kind}) does not scale with them"
            pending.append((node.outputs[0], place))
    return tuple(readers) if readers else "no product reads its channels"


def _passed_axis(
    graph: Graph, facts: Facts, node: Node, row: Op, value: str, axis: int
) -> int | None:
    """Return where a node has the channels that it passes on, scaled as they come; else None."""
    bound = facts.bounds.get(node.name)
    if bound is None or [*node.inputs[:1]] != [value] or node.inputs.count(value) != 1:
        return None
    if any(v in graph.users or v in graph.outputs for v in node.outputs[1:] if v):
        return None
    clamp = row.clamp(call_of(graph, facts, node)) if row.clamp is not None else None
    if clamp is not None:
        scales = all(end == 0 or np.isinf(end) for end in clamp)
    else:
        moves = row.quant is Quant.PASS_THROUGH and row.clamp is None and len(node.inputs) == 1
        scales = row.homogeneous or moves
    before, after = (bound.inputs[0] or ()), (bound.outputs[0] or ())
    if not scales or axis >= len(before) or list(after).count(before[axis]) != 1:
        return None
    return list(after).index(before[axis])


def _insert_division(editor: Editor, value: str, maker: Node, s: Floats, axis: int) -> None:
    """Let all that reads a value read it divided by s along an axis counted from the end."""
    kind = editor.tensor(value)
    assert kind is not None
    factor = (1 / s).reshape([-1, *([1] * (-axis - 1))]).astype(kind.dtype.numpy)
    constant = editor.add_constant(factor, f"{maker.name}.factor")
    (scaled,) = editor.add(
        "Mul", [value, constant], types=[kind], name=f"{maker.name}.scaled", near=maker.name
    )
    added = editor.producer(scaled)
    assert added is not None
    editor.redirect(value, scaled, keep=[added.name])


def _is_per_channel(array: np.ndarray, axis: int, channels: int) -> bool:
    """Tell whether an array has one number per channel, along an axis counted from the end."""
    return array.ndim >= -axis and array.size == array.shape[axis] == channels


def _weight_operand(contraction: Linear) -> int:
    return contraction.node.inputs.index(contraction.weight)


def _read_array(editor: Editor, node: str, operand: int) -> Floats:
    array = editor.array(editor.node(node).inputs[operand])
    assert array is not None
    return array.astype(np.float64)


def _replace_constant(editor: Editor, node: str, operand: int, array: Floats) -> None:
    """Give an operand other elements, and a constant of its own where others read the old one."""
    name = editor.node(node).inputs[operand]
    old = editor.array(name)
    assert old is not None
    elements = array.reshape(old.shape).astype(old.dtype)
    twice = editor.node(node).inputs.count(name) > 1
    if editor.count_users(name) == 1 and not editor.is_output(name) and not twice:
        editor.set_constant(name, elements)
    else:
        editor.set_input(node, operand, editor.add_constant(elements, f"{node}.scaled"))
