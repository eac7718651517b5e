"""Channels that one node makes and products read, with nothing between that minds their scale.

y_c = s_c (y_c / s_c):  the producer's constants along c are divided by s_c, the weights of all
products that read c are multiplied by it. Exact up to rounding for s > 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts, call_of
from slimc.fit.linear import Linear, linear
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType
from slimc.ops.op import Op, OpTable, Quant
from slimc.rewrite.summed import sole_sum


@dataclass(frozen=True, eq=False)
class Site:
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

    def rescale(self, editor: Editor, s: np.ndarray) -> None:
        """Divide what makes the channels by s, multiply what reads them. s: f64[channels]."""
        if self.producer is not None:
            one = self.producer
            w = one.matrix(_array(editor, one.node.name, _weight_at(one)))
            made = one.array(w / s.reshape(*w.shape[:2], 1))
            _replace(editor, one.node.name, _weight_at(one), made)
        for name, operand, axis in self.vectors:
            old = _array(editor, name, operand)
            shape = [1] * old.ndim
            shape[axis] = -1
            _replace(editor, name, operand, old / s.reshape(shape))
        if self.gate:
            _divide(editor, self.gate, self.node, s, self.axis)
        for one in self.readers:
            w = one.matrix(_array(editor, one.node.name, _weight_at(one)))
            _replace(editor, one.node.name, _weight_at(one), one.array(w * spread(one, s)))


def spread(one: Linear, s: np.ndarray) -> np.ndarray:
    """Return a number per input channel as it goes with what results read, [g, 1, p]."""
    return np.repeat(s, one.taps).reshape(one.group_count, 1, -1)


def sites_of(
    graph: Graph, ops: OpTable, facts: Facts, gates: bool = False
) -> Iterator[tuple[str, Site | str]]:
    """Yield the nodes that make channels for products, or why theirs cannot be rescaled.

    gates: those too whose results take one more multiplication.
    """
    for node in graph.nodes:
        row, one = ops.get(node.kind), linear(graph, ops, facts, node)
        if one is not None and one.channel_axis is not None:
            yield node.name, _of_product(graph, ops, facts, one)
        elif row is not None and row.affine:
            yield node.name, _of_normalisation(graph, ops, facts, node, row)
        elif row is not None and row.gate and gates:
            yield node.name, _of_gate(graph, ops, facts, node)


def _of_product(graph: Graph, ops: OpTable, facts: Facts, one: Linear) -> Site | str:
    axis, node, value = one.channel_axis or 0, one.node, one.result
    rank = len(one.result_axes)
    vectors: list[tuple[str, int, int]] = []
    if one.bias is not None and one.bias < len(node.inputs) and node.inputs[one.bias]:
        bias = graph.array(node.inputs[one.bias])
        if bias is None or bias.size != one.channel_count or one.bias_shape is None:
            return "its bias is not one constant per channel"
        along = int(np.argmax(bias.shape)) - bias.ndim
        vectors.append((node.name, one.bias, along))
    added = sole_sum(graph, ops, value)
    constant = graph.array(added.other) if added is not None else None
    if added is not None and constant is not None:
        if not _along(constant, axis - rank, one.channel_count):
            return "what is added to it is not one constant per channel"
        vectors.append((added.node.name, added.operand, axis - rank))
        value = added.node.outputs[0]
    found = _readers(graph, ops, facts, value, axis)
    if isinstance(found, str):
        return found
    return Site(node, one, tuple(vectors), found, one.channel_count)


def _of_normalisation(graph: Graph, ops: OpTable, facts: Facts, node: Node, row: Op) -> Site | str:
    shape = facts.shape(node.outputs[0])
    given = [i for i in row.affine if i < len(node.inputs) and node.inputs[i]]
    constants = [graph.array(node.inputs[i]) for i in given]
    if shape is None or not given or any(c is None or c.ndim != 1 for c in constants):
        return "its scale and bias are not one constant per channel"
    bound = facts.bounds.get(node.name)
    axes = bound.inputs[given[0]] if bound is not None else None
    if bound is None or not axes or axes[0] not in (bound.outputs[0] or ()):
        return "its scale is not along one axis of its result"
    axis = (bound.outputs[0] or ()).index(axes[0])
    found = _readers(graph, ops, facts, node.outputs[0], axis)
    if isinstance(found, str):
        return found
    return Site(node, None, tuple((node.name, i, -1) for i in given), found, shape[axis])


def _of_gate(graph: Graph, ops: OpTable, facts: Facts, node: Node) -> Site | str:
    value, shape = node.outputs[0], facts.shape(node.outputs[0])
    products = (linear(graph, ops, facts, user) for user in graph.users.get(value, ()))
    one = next((p for p in products if p is not None and p.data == value), None)
    wanted = [*one.groups, *one.ins] if one is not None else []
    for axis, terms in enumerate(one.data_axes if one is not None else ()):
        if shape is not None and [n.name for term in terms for n in term] == wanted:
            found = _readers(graph, ops, facts, value, axis)
            if isinstance(found, str):
                return found
            return Site(node, None, (), found, shape[axis], value, axis - len(shape))
    return "no product reads its channels"


def _readers(
    graph: Graph, ops: OpTable, facts: Facts, value: str, axis: int
) -> tuple[Linear, ...] | str:
    """Return the products that read the channels of a value, or what else does."""
    found: list[Linear] = []
    wanted = [(value, axis)]
    for name, at in wanted:
        if name in graph.outputs:
            return f"its channels are those of graph output '{name}'"
        for node in graph.users.get(name, ()):
            one = linear(graph, ops, facts, node)
            if one is not None and one.data == name and node.inputs.count(name) == 1:
                labels = [n.name for term in one.data_axes[at] for n in term]
                if labels != [*one.groups, *one.ins]:
                    return f"'{node.name}' ({node.kind}) sums over other axes too"
                found.append(one)
                continue
            row = ops.get(node.kind)
            place = _passes(graph, facts, node, row, name, at) if row is not None else None
            if place is None:
                return f"'{node.name}' ({node.kind}) does not scale with them"
            wanted.append((node.outputs[0], place))
    return tuple(found) if found else "no product reads its channels"


def _passes(graph: Graph, facts: Facts, node: Node, row: Op, value: str, axis: int) -> int | None:
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


def _divide(editor: Editor, value: str, maker: Node, s: np.ndarray, axis: int) -> None:
    """Let all that reads a value read it divided by s along an axis counted from the end."""
    kind = editor.type_of(value)
    assert isinstance(kind, TensorType)
    factor = (1 / s).reshape([-1, *([1] * (-axis - 1))]).astype(kind.dtype.numpy)
    constant = editor.add_constant(factor, f"{maker.name}.factor")
    (made,) = editor.add(
        "Mul", [value, constant], types=[kind], name=f"{maker.name}.scaled", near=maker.name
    )
    added = editor.producer(made)
    assert added is not None
    editor.redirect(value, made, keep=[added.name])


def _along(array: np.ndarray, axis: int, channels: int) -> bool:
    """Tell whether an array has one number per channel, along an axis counted from the end."""
    return array.ndim >= -axis and array.size == array.shape[axis] == channels


def _weight_at(one: Linear) -> int:
    return one.node.inputs.index(one.weight)


def _array(editor: Editor, node: str, operand: int) -> np.ndarray:
    array = editor.array(editor.node(node).inputs[operand])
    assert array is not None
    return array.astype(np.float64)


def _replace(editor: Editor, node: str, operand: int, array: np.ndarray) -> None:
    """Give an operand other elements, and a constant of its own where others read the old one."""
    name = editor.node(node).inputs[operand]
    old = editor.array(name)
    assert old is not None
    made = array.reshape(old.shape).astype(old.dtype)
    twice = editor.node(node).inputs.count(name) > 1
    if editor.count_users(name) == 1 and not editor.is_output(name) and not twice:
        editor.set_constant(name, made)
    else:
        editor.set_input(node, operand, editor.add_constant(made, f"{node}.scaled"))
