"""A weighted node as a product of matrices: its data, at sampled results, times its weights.

    y[r, g, o] = sum_p w[g, o, p] x[r, g, p]  (+ bias[g, o])

r counts results (samples and places), g groups, o output channels, p = (i, taps) what one result
reads: input channels times the kernel's taps. Which axis is which follows from the operator's
signature, what a kernel reads from its `taps`; no operator is named here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from slimc.analysis.shapes import Facts, call_of
from slimc.ir.arrays import Ints, Mask
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.axes import Axis, Unmatched, labels_of
from slimc.ops.op import Call, Op, OpTable

_F32_BYTES = 4
_FLOATS = "fV"  # kinds of numpy: V are those that it lacks, bf16 and fewer bits


@dataclass(frozen=True, eq=False)
class Linear:
    """A weighted node, and where its groups, channels and taps stand.

    data, weight, result: names of values; bias: number of the operand (there or not), and the shape
    in which it has one number per output channel; None where there is no such operand.
    groups, outs, ins, kernel: names of labels of the weight; sizes: theirs.
    """

    node: Node
    row: Op
    call: Call
    sizes: Mapping[str, int]
    data: str
    weight: str
    result: str
    bias: int | None
    bias_shape: tuple[int, ...] | None
    data_axes: tuple[Axis, ...]
    weight_axes: tuple[Axis, ...]
    result_axes: tuple[Axis, ...]
    groups: tuple[str, ...]
    outs: tuple[str, ...]
    ins: tuple[str, ...]
    kernel: tuple[str, ...]

    @property
    def columns(self) -> int:
        """Return how many elements one result reads."""
        return self._size(self.ins) * self._size(self.kernel)

    @property
    def taps(self) -> int:
        """Return how many places of the data one result reads."""
        return self._size(self.kernel)

    @property
    def group_count(self) -> int:
        """Return the number of groups, each of which reads columns of its own."""
        return self._size(self.groups)

    @property
    def channel_count(self) -> int:
        """Return the number of output channels, of all groups."""
        return self._size(self.groups) * self._size(self.outs)

    @property
    def channel_axis(self) -> int | None:
        """Return the axis of the result that has all groups and output channels, in this order."""
        wanted = [*self.groups, *self.outs]
        for i, axis in enumerate(self.result_axes):
            if [label.name for term in axis for label in term] == wanted:
                return i
        return None

    @property
    def is_scaled(self) -> bool:
        """Tell whether the node scales its product or its bias as well."""
        return self.row.weighted is not None and self.row.weighted.is_scaled(self.node.attrs)

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """Return an array of the weight's shape as [g, o, p]."""
        laid = _laid(weight, self.weight_axes, self._order, self.sizes)
        return laid.reshape(self._size(self.groups), self._size(self.outs), -1)

    def array(self, matrix: np.ndarray) -> np.ndarray:
        """Return [g, o, p] in the weight's axes: the inverse of `matrix`."""
        names = [label.name for axis in self.weight_axes for term in axis for label in term]
        full = matrix.reshape([self._size((name,)) for name in self._order])
        order = [self._order.index(name) for name in names]
        sizes = [prod(self._size((label.name,)) for label in axis[0]) for axis in self.weight_axes]
        return full.transpose(order).reshape(sizes)

    def channels(self, y: np.ndarray, rows: Ints) -> np.ndarray:
        """Return results [r, g, o] of the node's result (or a value of its shape). rows: i64[r]."""
        names = (*self.groups, *self.outs)
        flat, _ = _rows_first(y, self.result_axes, names, self.sizes)
        shape = (len(rows), self._size(self.groups), self._size(self.outs))
        return _wide(flat[rows]).reshape(shape)

    def reads(self, x: np.ndarray, shape: Sequence[int], rows: Ints) -> np.ndarray:
        """Return what results read of the data, [r, g, p]. shape: of the result."""
        if not len(rows):
            return np.zeros((0, self._size(self.groups), self.columns), np.float32)
        outer = self._outer(shape)
        places = np.zeros((len(rows), 0), np.int64)  # a vector times a matrix has no other axes
        if outer:
            places = np.stack(np.unravel_index(rows, outer), axis=1)
        names = (*self.groups, *self.ins)
        flat, sizes = _rows_first(x, self.data_axes, names, self.sizes)
        at, inside = self._read_places(places, sizes, outer)
        found = _wide(flat[at.reshape(-1)]).reshape(*at.shape, -1)
        if not inside.all():
            found[~inside] = 0
        groups = self._size(self.groups)
        split = found.reshape(len(rows), self.taps, groups, -1)
        return split.transpose(0, 2, 3, 1).reshape(len(rows), groups, -1)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Return the input channels at every place of the data, [places, g, i]."""
        flat, _ = _rows_first(x, self.data_axes, (*self.groups, *self.ins), self.sizes)
        shape = (len(flat), self._size(self.groups), self._size(self.ins))
        return _wide(flat).reshape(shape)

    def count(self, shape: Sequence[int]) -> int:
        """Return how many results a result value of this shape holds."""
        return prod(self._outer(shape))

    def leading(self, shape: Sequence[int]) -> int:
        """Return the size of the leading axis that results are counted by: the samples, if any."""
        outer = self._outer(shape)
        return outer[0] if outer else 1

    @property
    def _order(self) -> tuple[str, ...]:
        return (*self.groups, *self.outs, *self.ins, *self.kernel)

    def _size(self, names: Sequence[str]) -> int:
        return prod(self.sizes[name] for name in names)

    def _outer(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of the result's axes that are no channels."""
        own = {*self.groups, *self.outs}
        return tuple(
            size
            for size, axis in zip(shape, self.result_axes, strict=True)
            if not own & labels_of((axis,))
        )

    def _read_places(
        self, places: Ints, sizes: Sequence[int], outer: Sequence[int]
    ) -> tuple[Ints, Mask]:
        """Return, per result and tap, the row of the data it reads, and whether it is inside.

        places: i64[r, axes] of the results; sizes: of the data's axes that are no channels.
        """
        depth = len(self.kernel)
        steps = np.cumprod([1, *sizes[:0:-1]])[::-1] if sizes else np.zeros(0, np.int64)
        at = np.zeros((len(places), 1), np.int64)
        inside = np.ones((len(places), 1), bool)
        fixed = len(sizes) - depth
        made = _free(self.result_axes, (*self.groups, *self.outs))
        for axis, names in enumerate(_free(self.data_axes, (*self.groups, *self.ins))[:fixed]):
            if names and names in made:
                at += (places[:, made.index(names)] * steps[axis])[:, None]
        if depth:
            assert self.row.taps is not None
            taps = self.row.taps(self.call, sizes[fixed:], outer[len(outer) - depth :])
            for axis, table in enumerate(taps):
                read = table[places[:, len(outer) - depth + axis]]
                at = (at[:, :, None] + (read * steps[fixed + axis])[:, None, :]).reshape(
                    len(places), -1
                )
                inside = (inside[:, :, None] & (read >= 0)[:, None, :]).reshape(len(places), -1)
        return np.where(inside, at, 0), inside


def linear(graph: Graph, ops: OpTable, facts: Facts, node: Node) -> Linear | None:
    """Return a node as a product of matrices; None if it is none, or of another form."""
    row, bound = ops.get(node.kind), facts.bounds.get(node.name)
    if row is None or row.weighted is None or bound is None or len(node.outputs) != 1:
        return None
    operands = (row.weighted.data, row.weighted.weight)
    constant = [i for i in operands if node.inputs[i] in graph.constants]
    if len(constant) != 1:
        return None
    (weight,) = constant
    (data,) = (i for i in operands if i != weight)
    axes = [bound.inputs[data], bound.inputs[weight], bound.outputs[0]]
    read, held, made = ([*(a or ())] for a in axes)
    if None in axes or any(len(axis) != 1 for axis in (*read, *held, *made)):
        return None
    in_data, in_weight, in_result = (labels_of(tuple(a)) for a in (read, held, made))
    names = [label.name for axis in held for term in axis for label in term]
    sizes = {n: size for n in names if isinstance(size := bound.sizes.get(n), int)}
    call, groups = call_of(graph, facts, node), [n for n in names if n in in_data & in_result]
    outs = [n for n in names if n in in_result and n not in in_data]
    found = Linear(
        node,
        row,
        call,
        sizes,
        node.inputs[data],
        node.inputs[weight],
        node.outputs[0],
        row.weighted.bias,
        _bias_shape(row, call, [*groups, *outs], sizes),
        tuple(read),
        tuple(held),
        tuple(made),
        groups=tuple(groups),
        outs=tuple(outs),
        ins=tuple(n for n in names if n in in_data and n not in in_result),
        kernel=tuple(n for n in names if n not in in_data and n not in in_result),
    )
    once = len(set(names)) == len(names) == len(sizes)
    fits = once and _is_plain(found, in_weight)
    numbers = graph.constants[found.weight].array.dtype.kind in _FLOATS
    return found if fits and numbers and (not found.kernel or row.taps is not None) else None


def _bias_shape(
    row: Op, call: Call, channels: Sequence[str], sizes: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Return a shape in which the bias operand has one number per channel, None if it has none.

    That of the operand if it is one; else one that binds to the labels of the channels, if the
    operand is absent or a single number.
    """
    at = None if row.weighted is None else row.weighted.bias
    if at is None or not all(name in sizes for name in channels):
        return None
    count = prod(sizes[name] for name in channels)
    tried: list[tuple[int, ...]] = [(count,), (count, 1)]
    if call.present(at):
        try:
            shape = tuple(size for size in call.shape(at) if isinstance(size, int))
        except Unmatched:
            return None
        if len(shape) != call.rank(at):
            return None
        tried = tried if prod(shape) == 1 else [shape]
    for shape in tried:
        types = [*call.types, *(None,) * (at + 1 - len(call.types))]
        types[at] = TensorType(DType.F32, shape)
        try:
            axes = row.bind(replace(call, types=tuple(types))).inputs[at]
        except Unmatched:
            continue
        found = [label.name for axis in axes or () for term in axis for label in term]
        if found == list(channels):
            return shape
    return None


def _is_plain(one: Linear, held: Set[str]) -> bool:
    """Tell whether every axis of data and result has labels of the weight, or none of them.

    An axis of the data without them is one of the result too, or the kernel slides over it.
    """
    if any(
        labels_of((a,)) & held and labels_of((a,)) - held
        for a in (*one.data_axes, *one.result_axes)
    ):
        return False
    made = _free(one.result_axes, (*one.groups, *one.outs))
    read = _free(one.data_axes, (*one.groups, *one.ins))
    return all(not names or names in made for names in read[: len(read) - len(one.kernel)])


def _free(axes: Sequence[Axis], channels: Sequence[str]) -> list[Set[str]]:
    """Return the labels of each axis that has none of these channels."""
    return [labels for axis in axes if (labels := labels_of((axis,))).isdisjoint(channels)]


def _wide(array: np.ndarray) -> np.ndarray:
    """Return halves as f32: sums of them need more bits than they have."""
    return array.astype(np.float32) if array.dtype.itemsize < _F32_BYTES else array


def _laid(
    array: np.ndarray, axes: Sequence[Axis], order: Sequence[str], size_of: Mapping[str, int]
) -> np.ndarray:
    """Return an array with one axis per label, in this order."""
    names = [label.name for axis in axes for term in axis for label in term]
    split = array.reshape([size_of[name] for name in names])
    return split.transpose([names.index(name) for name in order])


def _rows_first(
    array: np.ndarray, axes: Sequence[Axis], channels: Sequence[str], size_of: Mapping[str, int]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return an array as [rows, channels], the channels in this order, and the sizes of the rows.

    Axes without channels keep their order; those with them are split into their labels.
    """
    own = [i for i, axis in enumerate(axes) if labels_of((axis,)) & set(channels)]
    rest = [i for i in range(len(axes)) if i not in own]
    sizes = tuple(array.shape[i] for i in rest)
    names = [label.name for i in own for term in axes[i] for label in term]
    whole = [*sizes, *(size_of[name] for name in names)]
    split = array.transpose([*rest, *own]).reshape(whole)
    order = [len(rest) + names.index(name) for name in channels]
    moved = split.transpose([*range(len(rest)), *order])
    return moved.reshape(prod(sizes), prod(size_of[name] for name in channels)), sizes
