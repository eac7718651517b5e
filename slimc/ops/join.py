"""Operators that concatenate axes or cut them into runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops import values
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, Quant, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import blank_rest, join_operands, labels, replace_axis, spell

HUGE = 10**9  # exporters write this or more for "to the end"


def concat_axes(call: Call) -> str:
    """The axis of the result is the sum of the operands'."""
    axes, axis = labels(call.rank(0)), call.axis(0)
    runs = labels(len(call.types), "p")
    texts = [spell(replace_axis(axes, axis, run)) for run in runs]
    return f"{join_operands(*texts)} -> {spell(replace_axis(axes, axis, '+'.join(runs)))}"


def _concat_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = [_elements_or_unknown(call, i) for i in range(len(call.types))]
    parts = [a for a in arrays if a is not None]
    if len(parts) < len(arrays) or sum(a.size for a in parts) > values.LIMIT:
        return values.UNKNOWN
    return (values.to_numeric(np.concatenate(parts, axis=call.axis(0))),)


def _elements_or_unknown(call: Call, operand: int) -> np.ndarray | None:
    """Return an operand's elements, all None if only its (short) shape is known."""
    elements = call.value(operand)
    if elements is not None:
        return elements
    shape = [d for d in call.shape(operand) if isinstance(d, int)]
    dtype = call.dtype(operand)
    if len(shape) < call.rank(operand) or dtype is None or not dtype.is_integer:
        return None
    return np.full(shape, None, object) if int(np.prod(shape)) <= values.LIMIT else None


def _split_sizes(call: Call) -> list[Dim]:
    """Return the sizes of the results of a Split along its axis."""
    axis, count = call.axis(0), call.results
    size = call.shape(0)[axis]
    if call.has_operand(1):
        sizes = call.value(1)
        if sizes is None:
            raise Unmatched("the sizes of its results are computed at run time")
        return [values.as_size(d) for d in sizes.tolist()]
    each = dims.ceil_divide(size, count)
    last = dims.subtract(size, dims.multiply(each, count - 1))
    return [*[each] * (count - 1), last]


def split_axes(call: Call) -> SizedSignature:
    """The axis of the operand is the sum of the results'."""
    axes, axis, parts = labels(call.rank(0)), call.axis(0), _split_sizes(call)
    if len(parts) != call.results:
        raise Unmatched(f"{len(parts)} sizes for {call.results} results")
    runs = labels(len(parts), "p")
    texts = [spell(replace_axis(axes, axis, run)) for run in runs]
    data = spell(replace_axis(axes, axis, "+".join(runs)))
    return f"{data}{blank_rest(call)} -> {join_operands(*texts)}", dict(
        zip(runs, parts, strict=True)
    )


def refit_split(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the sizes of the results; `num_outputs` alone does not state them."""
    runs = labels(call.results, "p")
    changed = {i: after[r] for i, r in enumerate(runs) if after[r] != bound.sizes[r]}
    if not changed:
        return ShapeRefit()
    if call.has_operand(1):
        return ShapeRefit(elements={1: changed})
    sizes = np.array([after[r] for r in runs], np.int64)
    return ShapeRefit(attrs={"num_outputs": None}, operands={1: sizes})


def _split_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known_arrays(call, 0)
    parts = [p for p in _split_sizes(call) if isinstance(p, int)]
    if arrays is None or len(parts) < call.results:
        return values.UNKNOWN
    pieces = np.split(arrays[0], np.cumsum(parts)[:-1], axis=call.axis(0))
    return tuple(values.to_numeric(piece) for piece in pieces)


@dataclass(frozen=True)
class Cut:
    """What a Slice keeps of one axis; None where it is computed at run time."""

    axis: int
    """The axis, counted from the front."""
    place: int
    """Position among the starts, ends and steps."""
    start: Dim
    """First index."""
    count: Dim
    """Number of indices."""
    step: int | None
    """Distance of indices."""


def _slice_cuts(call: Call) -> list[Cut]:
    """Return what a Slice keeps of each axis that it names."""
    starts, ends = (_slice_bounds(call, i) for i in (1, 2))
    count = len(starts)
    axes = call.int_list("axes", 3) if call.has_operand(3) else list(range(count))
    steps = _slice_bounds(call, 4) if call.has_operand(4) else [1] * count
    if axes is None or not count == len(ends) == len(axes) == len(steps):
        raise Unmatched("its starts, ends, axes and steps differ in number")
    shape = call.shape(0)
    bounds = zip(starts, ends, steps, strict=True)
    places = enumerate(zip((axis % len(shape) for axis in axes), bounds, strict=True))
    return [_make_cut(shape[axis], axis, place, *around) for place, (axis, around) in places]


def _slice_bounds(call: Call, operand: int) -> list[Dim]:
    elements = call.value(operand)
    if elements is not None:
        return [values.as_size(v) for v in elements.ravel().tolist()]
    length = call.shape(operand)[0]
    if not isinstance(length, int):
        raise Unmatched("how many axes it slices is computed at run time")
    return [None] * length


def _make_cut(size: Dim, axis: int, place: int, start: Dim, end: Dim, step: Dim) -> Cut:
    if not isinstance(step, int):
        return Cut(axis, place, None, None, None)
    backward = step < 0
    first = _clamp(start, size, low=0, high=-1 if backward else 0)
    last = _clamp(end, size, low=-1 if backward else 0, high=-1 if backward else 0)
    length = dims.subtract(first, last) if backward else dims.subtract(last, first)
    count = dims.ceil_divide(length, abs(step))
    if isinstance(count, int):
        cut_short = isinstance(size, str) and count > 1  # the axis may be shorter
        count = None if cut_short else max(0, count)
    return Cut(axis, place, first, count, step)


def _clamp(bound: Dim, size: Dim, *, low: int, high: int) -> Dim:
    """Return a start or end counted from the front, within low .. size + high.

    A number is assumed to be within a named size, unless no size is as large (`HUGE`).
    """
    if bound is None or size is None:
        return 0 if bound == 0 else None
    if isinstance(bound, int) and isinstance(size, int):
        return min(max(bound + size if bound < 0 else bound, low), size + high)
    if isinstance(bound, int) and abs(bound) >= HUGE:
        return dims.add(size, high) if bound > 0 else low
    if isinstance(bound, int):
        return dims.add(size, bound) if bound < 0 else bound
    return bound


def slice_axes(call: Call) -> SizedSignature:
    """A sliced axis is the run before the kept one, the kept run, and the run after it."""
    axes = labels(call.rank(0))
    data, result = list(axes), list(axes)
    sizes: dict[str, Dim] = {}
    for cut in _slice_cuts(call):
        a, size = cut.axis, call.shape(0)[cut.axis]
        if cut.start == 0 and dims.are_equal(cut.count, size) and cut.step == 1:
            continue
        if cut.step != 1 or cut.start is None or cut.count is None or size is None:
            data[a], result[a], sizes[f"y{a}"] = f"a{a}!", f"y{a}!", cut.count
            continue
        after = dims.subtract(size, dims.add(cut.start, cut.count))
        runs = {f"b{a}": cut.start, f"m{a}": cut.count, f"e{a}": after}
        sizes.update(runs)
        data[a] = "+".join(name for name, d in runs.items() if d != 0 or name == f"m{a}")
        result[a] = f"m{a}"
    return f"{spell(data)}{blank_rest(call)} -> {spell(result)}", sizes


def refit_slice(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update starts and ends to the remaining sizes of the runs."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for cut in _slice_cuts(call):
        names = [f"{letter}{cut.axis}" for letter in "bme"]
        if names[1] in bound.sizes and any(after[n] != bound.sizes[n] for n in names):
            starts[cut.place] = after[names[0]]
            ends[cut.place] = after[names[0]] + after[names[1]]
    return ShapeRefit(elements={1: starts, 2: ends})


def _slice_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    slices = [slice(None)] * array.ndim
    for cut in _slice_cuts(call):
        if not isinstance(cut.start, int) or not isinstance(cut.count, int) or cut.step is None:
            return None
        stop = cut.start + cut.count * cut.step
        slices[cut.axis] = slice(cut.start, None if stop < 0 else stop, cut.step)
    return array[tuple(slices)]


JOIN = make_table(
    Op("Concat", concat_axes, quant=Quant.SHARED_SCALE, alone="operand", value=_concat_value),
    Op("Split", split_axes, quant=Quant.PASS_THROUGH, refit=refit_split, value=_split_value),
    Op("Slice", slice_axes, quant=Quant.PASS_THROUGH, refit=refit_slice,
       value=values.move_rule(_slice_value)),
)  # fmt: skip
