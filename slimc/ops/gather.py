"""Operators that select elements by position, or find positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimc.ir import dims
from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, Quant, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import blank_rest, join_operands, labels, mark_axes, replace_axis, spell


def _known_indices(call: Call) -> tuple[list[int], int] | None:
    """Return known indices of rank 1 and the size of the gathered axis, or None.

    None also for a single index, which picks a part on purpose (a token, one matrix of several),
    and for more than `values.LIMIT`.
    """
    indices, size = call.ints(1), call.shape(0)[call.axis(0)]
    if indices is None or call.rank(1) != 1 or not isinstance(size, int):
        return None
    if not 1 < len(indices) <= values.LIMIT or size > values.LIMIT:
        return None
    return [i % size for i in indices], size


def gather_axes(call: Call) -> str | SizedSignature:
    """The axes of the indices replace the gathered axis, which needs every index.

    Each index that is known is a label of its own: removing it removes all results that pick it.
    """
    axes, axis = labels(call.rank(0)), call.axis(0)
    known = _known_indices(call)
    if known is not None:
        indices, size = known
        index_labels = labels(size, "p")
        data = spell(replace_axis(axes, axis, "+".join(index_labels)))
        result = spell(replace_axis(axes, axis, "+".join(index_labels[i] for i in indices)))
        return f"{data}, -> {result}", dict.fromkeys(index_labels, 1)
    index_axes = labels(call.rank(1), "i")
    data = spell(mark_axes(axes, [axis], "!"))
    return f"{data}, {spell(index_axes)} -> {spell(replace_axis(axes, axis, *index_axes))}"


def refit_gather(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Renumber known indices by the indices that remain."""
    known = _known_indices(call)
    if known is None:
        return ShapeRefit()
    indices, size = known
    remaining = [after[name] for name in labels(size, "p")]
    if all(remaining):
        return ShapeRefit()
    new = np.array([sum(remaining[:i]) for i in indices if remaining[i]])
    kind = call.dtype(1) or DType.I64
    return ShapeRefit(operands={1: new.astype(kind.numpy)})


def _gather_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known_arrays(call, 0, 1)
    if arrays is None or not values.is_numeric(arrays[1]):
        return values.UNKNOWN
    data, indices = arrays
    result = np.take(data, indices.astype(np.int64), call.axis(0))
    return (values.to_numeric(np.asarray(result, data.dtype)),)


def _aligned_axes(call: Call, mark: str) -> tuple[str, str]:
    """Return the axes of data and of indices, which are aligned except along `axis`.

    Aligned axes are tied where their sizes are equal; the other axes of the indices get `mark`.
    """
    axis, data_shape, index_shape = call.axis(0), call.shape(0), call.shape(1)
    if len(data_shape) != len(index_shape):
        raise Unmatched(f"indices of rank {len(index_shape)} into data of rank {len(data_shape)}")
    tied = [
        i != axis and dims.are_equal(a, b)
        for i, (a, b) in enumerate(zip(data_shape, index_shape, strict=True))
    ]
    data_axes = [f"a{i}" if t else f"x{i}!" for i, t in enumerate(tied)]
    index_axes = [f"a{i}" if t else f"i{i}{mark}" for i, t in enumerate(tied)]
    return spell(data_axes), spell(index_axes)


def gather_elements_axes(call: Call) -> str:
    """The result has the axes of the indices."""
    data, indices = _aligned_axes(call, "")
    return f"{data}, {indices} -> {indices}"


def scatter_elements_axes(call: Call) -> str:
    """Updates have the axes of the indices, the result those of the data."""
    data, indices = _aligned_axes(call, "!")
    return f"{data}, {indices}, {indices} -> {data}"


def _index_depth(call: Call) -> int:
    depth = call.shape(1)[-1] if call.rank(1) else None
    if not isinstance(depth, int):
        raise Unmatched("how many axes its indices address is computed at run time")
    return depth


def gather_nd_axes(call: Call) -> str:
    """Rows of the indices address the axes after the batch axes; the others are copied."""
    batch, depth = int(call.attr("batch_dims", 0)), _index_depth(call)
    data = labels(call.rank(0))
    outer = [*data[:batch], *labels(call.rank(1) - 1 - batch, "i")]
    addressed = mark_axes(data, range(batch, batch + depth), "!")
    result = [*outer, *data[batch + depth :]]
    return f"{spell(addressed)}, {spell([*outer, 'z!'])} -> {spell(result)}"


def scatter_nd_axes(call: Call) -> str:
    """Rows of the indices address the first axes; updates have the others."""
    depth, data = _index_depth(call), labels(call.rank(0))
    outer = [f"i{k}!" for k in range(call.rank(1) - 1)]
    addressed = mark_axes(data, range(depth), "!")
    updates = [*outer, *data[depth:]]
    return f"{spell(addressed)}, {spell([*outer, 'z!'])}, {spell(updates)} -> {spell(addressed)}"


def tensor_scatter_axes(call: Call) -> str:
    """TensorScatter: updates are written into the cache along `axis`, at one index per batch."""
    axes, axis = labels(call.rank(0)), call.axis(-2)
    cache, update = mark_axes(axes, [axis], "!"), replace_axis(axes, axis, "u!")
    return f"{spell(cache)}, {spell(update)}, a0? -> {spell(cache)}"


def one_hot_axes(call: Call) -> SizedSignature:
    """A new axis of size `depth` is inserted at `axis`."""
    axes, axis = labels(call.rank(0)), int(call.attr("axis", -1))
    result = list(axes)
    result.insert(axis + len(axes) + 1 if axis < 0 else axis, "d!")
    depth = call.ints(1)
    return f"{spell(axes)}, , -> {spell(result)}", {"d": depth[0] if depth else None}


def top_k_axes(call: Call) -> SizedSignature:
    """The k largest elements along `axis`, and their positions."""
    axes, axis = labels(call.rank(0)), call.axis(-1)
    count = call.value(1)
    result = spell(replace_axis(axes, axis, "k!"))
    size = None if count is None else values.as_size(count.ravel().tolist()[0])
    return f"{spell(mark_axes(axes, [axis], '!'))}, -> {result}, {result}", {"k": size}


def cumulative_axes(call: Call) -> str:
    """CumSum, CumProd: an element depends on those before it along one axis."""
    axes = labels(call.rank(0))
    axis_operand = call.ints(1)
    over = range(len(axes)) if axis_operand is None else [axis_operand[0] % len(axes)]
    data = spell(mark_axes(axes, over, "!"))
    return f"{data}, -> {data}"


def trilu_axes(call: Call) -> str:
    """Trilu: which elements are kept depends on the position in the last two axes."""
    rank = call.rank(0)
    data = spell(mark_axes(labels(rank), [rank - 2, rank - 1], "!"))
    return f"{data}{blank_rest(call)} -> {data}"


def reverse_sequence_axes(call: Call) -> str:
    """ReverseSequence: reverses the first elements along time; their number is per batch entry."""
    axes = labels(call.rank(0))
    batch, time = call.axis(1, "batch_axis"), call.axis(0, "time_axis")
    data = spell(mark_axes(axes, [time], "!"))
    return f"{data}, {axes[batch]} -> {data}"


def compress_axes(call: Call) -> str:
    """Compress: selected indices of `axis`, or of the flattened operand."""
    axes = labels(call.rank(0))
    if "axis" not in call.attrs:
        return f"{spell(mark_axes(axes, range(len(axes)), '!'))}, c! -> k!"
    axis = call.axis(0)
    return f"{spell(mark_axes(axes, [axis], '!'))}, c! -> {spell(replace_axis(axes, axis, 'k!'))}"


def unique_axes(call: Call) -> str:
    """Unique elements, or slices along `axis`; their first positions, inverse indices, counts."""
    axes = labels(call.rank(0))
    data = spell(mark_axes(axes, range(len(axes)), "!"))
    if "axis" not in call.attrs:
        return f"{data} -> k!, k!, i!, k!"
    result = replace_axis(mark_axes(axes, range(len(axes)), "!"), call.axis(0), "k!")
    return f"{data} -> {join_operands(spell(result), 'k!', 'i!', 'k!')}"


def non_zero_axes(call: Call) -> SizedSignature:
    """Positions: one row per axis, one column per element that is not zero."""
    data = spell(mark_axes(labels(call.rank(0)), range(call.rank(0)), "!"))
    return f"{data} -> r! k!", {"r": call.rank(0)}


GATHER = make_table(
    Op("Gather", gather_axes, quant=Quant.PASS_THROUGH, table=0, value=_gather_value,
       refit=refit_gather),
    Op("GatherElements", gather_elements_axes, quant=Quant.PASS_THROUGH),
    Op("GatherND", gather_nd_axes, quant=Quant.PASS_THROUGH),
    Op("ScatterElements", scatter_elements_axes),
    Op("ScatterND", scatter_nd_axes),
    Op("TensorScatter", tensor_scatter_axes),
    Op("OneHot", one_hot_axes, dtypes=2),
    Op("TopK", top_k_axes, dtypes=lambda c: (c.dtype(0), DType.I64)),
    Op("CumSum", cumulative_axes),
    Op("CumProd", cumulative_axes),
    Op("Trilu", trilu_axes),
    Op("ReverseSequence", reverse_sequence_axes),
    Op("Compress", compress_axes),
    Op("Unique", unique_axes, dtypes=lambda c: (c.dtype(0), *(DType.I64,) * 3)),
    Op("NonZero", non_zero_axes, dtypes=DType.I64),
    Op("NonMaxSuppression", lambda c: (f"n! b! x!, n! c! b!{blank_rest(c, 2)} -> k! z!", {"z": 3}),
       dtypes=DType.I64),
    Op("Det", "*b m! n! -> *b"),
)  # fmt: skip
