"""Operators that choose elements by their indices, by older ones that compare indices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimc.ir.arrays import Ints
from slimc.ir.types import DType
from slimc.targets.express.old_node import OldNode, Way


def _one_hot(old: OldNode) -> None:
    """OneHot compares each index, counted from the front, with 0..depth-1 along a new axis.

    An index beyond the depth is like none of them.
    """
    depth, values = old.array(1), old.array(2)
    if depth is None or values is None:
        raise old.refusal("its depth or its values are computed at run time")
    if values.size != 2:
        raise old.refusal(f"it has {values.size} values where two are due")
    count, rank = int(depth.reshape(-1)[0]), old.rank
    axis = old.whole("axis", -1) % (rank + 1)
    kind = old.dtype if old.dtype in (DType.I32, DType.I64) else DType.I64
    index = old.cast(old.operand(0), kind)
    negative = old.add("Less", index, old.constant(0, kind))
    index = old.add("Where", negative, old.add("Add", index, old.constant(count, kind)), index)
    places = old.constant(_along(count, axis, rank + 1), kind)
    index = old.add("Unsqueeze", index, old.constant([axis], DType.I64))
    off, on = (old.constant(v, old.dtype_of(old.operand(2))) for v in values)
    old.become("Where", old.add("Equal", index, places), on, off)


def _hardmax(old: OldNode) -> None:
    """Hardmax compares the index of the first of the largest elements with 0..n-1."""
    rank = old.rank
    axis = old.whole("axis", -1) % rank
    count = old.size(axis)
    if not isinstance(count, int):
        raise old.refusal(f"the size of axis {axis} is not known")
    largest = old.add("ArgMax", old.operand(0), axis=axis, keepdims=1)
    places = old.constant(_along(count, axis, rank), DType.I64)
    old.become("Cast", old.add("Equal", largest, places), to=old.dtype.code)


def _trilu(old: OldNode) -> None:
    """Trilu keeps elements whose column is not before row + k (upper), or not behind it."""
    k = old.array(1)
    if old.operand(1) and k is None:
        raise old.refusal("its diagonal k is computed at run time")
    first = 0 if k is None else int(k.reshape(-1)[0])
    rows = old.add("Unsqueeze", _indices(old, -2, first), old.constant([1], DType.I64))
    keeps = "GreaterOrEqual" if old.whole("upper", 1) else "LessOrEqual"
    kept = old.add(keeps, _indices(old, -1, 0), rows)
    if old.dtype is DType.BOOL:
        old.become("And", kept, old.operand(0))  # older runtimes choose no booleans
    else:
        old.become("Where", kept, old.operand(0), old.constant(0))


def _indices(old: OldNode, axis: int, first: int) -> str:
    """Return first, first + 1, ... for the indices of an axis: i64[n]."""
    count = old.size(axis)
    if isinstance(count, int):
        return old.constant(range(first, first + count), DType.I64)
    shape = old.add("Shape", old.operand(0))
    size = old.add("Gather", shape, old.constant(axis, DType.I64))
    start, step = old.constant(first, DType.I64), old.constant(1, DType.I64)
    return old.add("Range", start, old.add("Add", size, start), step)


def _along(count: int, axis: int, rank: int) -> Ints:
    """Return 0..count-1 along one of `rank` axes."""
    shape = [1] * rank
    shape[axis] = count
    return np.arange(count).reshape(shape)


INDICES: Mapping[str, Way] = {"Hardmax": _hardmax, "OneHot": _one_hot, "Trilu": _trilu}
