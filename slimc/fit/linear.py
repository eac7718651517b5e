"""A weighted node as a product of matrices: its data, at sampled results, times its weights.

y[r, g, o] = sum_p w[g, o, p] x[r, g, p]  (+ bias[g, o])

r counts results (samples and positions), g groups, o output channels, p = (i, taps) the inputs of
one result: input channels times the taps of the kernel. The axes follow from the operator's
signature, the taps from its row; no operator is named here.
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
_FLOATS = "fV"  # numpy kinds of floats; V: types that numpy lacks, bf16 and smaller


@dataclass(frozen=True, eq=False)
class Linear:
    """A weighted node, and the axes of its groups, channels and taps."""

    node: Node
    """The node."""
    row: Op
    """Its row of the operator table."""
    call: Call
    """Its operands and attributes."""
    sizes: Mapping[str, int]
    """Size of each label of the weight."""
    data: str
    """Name of the data."""
    weight: str
    """Name of the weight."""
    result: str
    """Name of the result."""
    bias: int | None
    """Index of the bias operand (it may be absent); None if the operator has none."""
    bias_shape: tuple[int, ...] | None
    """Shape of a bias with one number per output channel; None if there is no such bias."""
    data_axes: tuple[Axis, ...]
    """Labels of the axes of the data."""
    weight_axes: tuple[Axis, ...]
    """Labels of the axes of the weight."""
    result_axes: tuple[Axis, ...]
    """Labels of the axes of the result."""
    groups: tuple[str, ...]
    """Labels of the groups."""
    outs: tuple[str, ...]
    """Labels of the output channels."""
    ins: tuple[str, ...]
    """Labels of the input channels."""
    kernel: tuple[str, ...]
    """Labels of the taps."""

    @property
    def columns(self) -> int:
        """Number of input elements of one result."""
        return self._size(self.ins) * self._size(self.kernel)

    @property
    def taps(self) -> int:
        """Number of positions of the data that one result uses."""
        return self._size(self.kernel)

    @property
    def group_count(self) -> int:
        """Number of groups, each with its own columns."""
        return self._size(self.groups)

    @property
    def channel_count(self) -> int:
        """Number of output channels, of all groups."""
        return self._size(self.groups) * self._size(self.outs)

    @property
    def channel_axis(self) -> int | None:
        """Axis of the result with all groups and output channels, in this order; or None."""
        channels = [*self.groups, *self.outs]
        for i, axis in enumerate(self.result_axes):
            if [label.name for term in axis for label in term] == channels:
                return i
        return None

    @property
    def is_scaled(self) -> bool:
        """Return whether the node also scales its product or its bias."""
        return self.row.weighted is not None and self.row.weighted.is_scaled(self.node.attrs)

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """Return an array of the weight's shape as [g, o, p]."""
        split = _split_axes(weight, self.weight_axes, self._order, self.sizes)
        return split.reshape(self._size(self.groups), self._size(self.outs), -1)

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
        return _widen_halves(flat[rows]).reshape(shape)

    def reads(self, x: np.ndarray, shape: Sequence[int], rows: Ints) -> np.ndarray:
        """Return the inputs of results, [r, g, p]. shape: of the result."""
        if not len(rows):
            return np.zeros((0, self._size(self.groups), self.columns), np.float32)
        outer = self._outer(shape)
        # A vector times a matrix has no outer axes.
        result_places = np.zeros((len(rows), 0), np.int64)
        if outer:
            result_places = np.stack(np.unravel_index(rows, outer), axis=1)
        names = (*self.groups, *self.ins)
        flat, sizes = _rows_first(x, self.data_axes, names, self.sizes)
        positions, inside = self._read_places(result_places, sizes, outer)
        inputs = _widen_halves(flat[positions.reshape(-1)]).reshape(*positions.shape, -1)
        if not inside.all():
            inputs[~inside] = 0
        groups = self._size(self.groups)
        split = inputs.reshape(len(rows), self.taps, groups, -1)
        return split.transpose(0, 2, 3, 1).reshape(len(rows), groups, -1)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Return the input channels at every position of the data, [positions, g, i]."""
        flat, _ = _rows_first(x, self.data_axes, (*self.groups, *self.ins), self.sizes)
        shape = (len(flat), self._size(self.groups), self._size(self.ins))
        return _widen_halves(flat).reshape(shape)

    def count(self, shape: Sequence[int]) -> int:
        """Return how many results a value of this shape holds."""
        return prod(self._outer(shape))

    def leading(self, shape: Sequence[int]) -> int:
        """Return the size of the leading axis of the results: the samples, if there is one."""
        outer = self._outer(shape)
        return outer[0] if outer else 1

    @property
    def _order(self) -> tuple[str, ...]:
        return (*self.groups, *self.outs, *self.ins, *self.kernel)

    def _size(self, names: Sequence[str]) -> int:
        return prod(self.sizes[name] for name in names)

    def _outer(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of the result's axes that are not channels."""
        channels = {*self.groups, *self.outs}
        return tuple(
            size
            for size, axis in zip(shape, self.result_axes, strict=True)
            if not channels & labels_of((axis,))
        )

    def _read_places(
        self, places: Ints, sizes: Sequence[int], outer: Sequence[int]
    ) -> tuple[Ints, Mask]:
        """Return, per result and tap, the row of the data that it uses, and whether it is inside.

        places: i64[r, axes] of the results; sizes: of the data's axes that are not channels.
        """
        depth = len(self.kernel)
        steps = np.cumprod([1, *sizes[:0:-1]])[::-1] if sizes else np.zeros(0, np.int64)
        positions = np.zeros((len(places), 1), np.int64)
        inside = np.ones((len(places), 1), bool)
        fixed = len(sizes) - depth
        outer_labels = _axes_without(self.result_axes, (*self.groups, *self.outs))
        for axis, names in enumerate(
            _axes_without(self.data_axes, (*self.groups, *self.ins))[:fixed]
        ):
            if names and names in outer_labels:
                positions += (places[:, outer_labels.index(names)] * steps[axis])[:, None]
        if depth:
            assert self.row.taps is not None
            taps = self.row.taps(self.call, sizes[fixed:], outer[len(outer) - depth :])
            for axis, table in enumerate(taps):
                read = table[places[:, len(outer) - depth + axis]]
                positions = (
                    positions[:, :, None] + (read * steps[fixed + axis])[:, None, :]
                ).reshape(len(places), -1)
                inside = (inside[:, :, None] & (read >= 0)[:, None, :]).reshape(len(places), -1)
        return np.where(inside, positions, 0), inside


def as_linear(graph: Graph, ops: OpTable, facts: Facts, node: Node) -> Linear | None:
    """Return a node as a product of matrices; None if it is none, or has another form."""
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
    data_axes, weight_axes, result_axes = ([*(a or ())] for a in axes)
    if None in axes or any(len(axis) != 1 for axis in (*data_axes, *weight_axes, *result_axes)):
        return None
    in_data, in_weight, in_result = (
        labels_of(tuple(a)) for a in (data_axes, weight_axes, result_axes)
    )
    names = [label.name for axis in weight_axes for term in axis for label in term]
    sizes = {n: size for n in names if isinstance(size := bound.sizes.get(n), int)}
    call, groups = call_of(graph, facts, node), [n for n in names if n in in_data & in_result]
    outs = [n for n in names if n in in_result and n not in in_data]
    layer = Linear(
        node,
        row,
        call,
        sizes,
        node.inputs[data],
        node.inputs[weight],
        node.outputs[0],
        row.weighted.bias,
        _bias_shape(row, call, [*groups, *outs], sizes),
        tuple(data_axes),
        tuple(weight_axes),
        tuple(result_axes),
        groups=tuple(groups),
        outs=tuple(outs),
        ins=tuple(n for n in names if n in in_data and n not in in_result),
        kernel=tuple(n for n in names if n not in in_data and n not in in_result),
    )
    is_unique = len(set(names)) == len(names) == len(sizes)
    is_product = is_unique and _is_plain(layer, in_weight)
    is_float = graph.constants[layer.weight].array.dtype.kind in _FLOATS
    return layer if is_product and is_float and (not layer.kernel or row.taps is not None) else None


def _bias_shape(
    row: Op, call: Call, channels: Sequence[str], sizes: Mapping[str, int]
) -> tuple[int, ...] | None:
    """Return a shape of the bias with one number per channel, None if there is none.

    The shape of the operand, if it has one number per channel. Else, if the operand is absent or a
    single number, a shape that binds to the labels of the channels.
    """
    operand = None if row.weighted is None else row.weighted.bias
    if operand is None or not all(name in sizes for name in channels):
        return None
    count = prod(sizes[name] for name in channels)
    tried: list[tuple[int, ...]] = [(count,), (count, 1)]
    if call.has_operand(operand):
        try:
            shape = tuple(size for size in call.shape(operand) if isinstance(size, int))
        except Unmatched:
            return None
        if len(shape) != call.rank(operand):
            return None
        tried = tried if prod(shape) == 1 else [shape]
    for shape in tried:
        types = [*call.types, *(None,) * (operand + 1 - len(call.types))]
        types[operand] = TensorType(DType.F32, shape)
        try:
            axes = row.bind(replace(call, types=tuple(types))).inputs[operand]
        except Unmatched:
            continue
        labels = [label.name for axis in axes or () for term in axis for label in term]
        if labels == list(channels):
            return shape
    return None


def _is_plain(layer: Linear, weight_labels: Set[str]) -> bool:
    """Return whether each axis of data and result has only labels of the weight, or none of them.

    An axis of the data without them is also an axis of the result, or the kernel slides along it.
    """
    if any(
        labels_of((a,)) & weight_labels and labels_of((a,)) - weight_labels
        for a in (*layer.data_axes, *layer.result_axes)
    ):
        return False
    result_labels = _axes_without(layer.result_axes, (*layer.groups, *layer.outs))
    data_labels = _axes_without(layer.data_axes, (*layer.groups, *layer.ins))
    return all(
        not names or names in result_labels
        for names in data_labels[: len(data_labels) - len(layer.kernel)]
    )


def _axes_without(axes: Sequence[Axis], channels: Sequence[str]) -> list[Set[str]]:
    """Return the labels of each axis that has none of these channels."""
    return [labels for axis in axes if (labels := labels_of((axis,))).isdisjoint(channels)]


def _widen_halves(array: np.ndarray) -> np.ndarray:
    """Return halves as f32: their sums need more bits."""
    return array.astype(np.float32) if array.dtype.itemsize < _F32_BYTES else array


def _split_axes(
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
    channel_axes = [i for i, axis in enumerate(axes) if labels_of((axis,)) & set(channels)]
    row_axes = [i for i in range(len(axes)) if i not in channel_axes]
    sizes = tuple(array.shape[i] for i in row_axes)
    names = [label.name for i in channel_axes for term in axes[i] for label in term]
    split_shape = [*sizes, *(size_of[name] for name in names)]
    split = array.transpose([*row_axes, *channel_axes]).reshape(split_shape)
    order = [len(row_axes) + names.index(name) for name in channels]
    moved = split.transpose([*range(len(row_axes)), *order])
    return moved.reshape(prod(sizes), prod(size_of[name] for name in channels)), sizes
