"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.op import Call, Op, Quant, make_table
from slimc.ops.spelling import blank_rest, labels, mark_axes, spell


def _reduced_axes(call: Call) -> list[int]:
    """Return the axes that are reduced, from attribute or operand `axes`."""
    rank = call.rank(0)
    axes = call.int_list("axes", 1)
    if axes:
        return [a % rank for a in axes]
    return [] if call.attr("noop_with_empty_axes", 0) else list(range(rank))


def _result_axes(axes: list[str], reduced: list[int], *, keep: bool) -> list[str]:
    return [w if i not in reduced else "1" for i, w in enumerate(axes) if keep or i not in reduced]


def reduce_axes(mark: str) -> Callable[[Call], str]:
    """Make the axes rule of a reduction. mark: `~` if zeros change its result, else empty."""

    def rule(call: Call) -> str:
        axes, reduced = labels(call.rank(0)), _reduced_axes(call)
        data = spell(mark_axes(axes, reduced, mark))
        result = _result_axes(axes, reduced, keep=bool(call.attr("keepdims", 1)))
        return f"{data}{blank_rest(call)} -> {spell(result)}"

    return rule


def arg_axes(call: Call) -> str:
    """ArgMax, ArgMin: the elements of the result are indices of the axis."""
    axes, reduced = labels(call.rank(0)), [call.axis(0)]
    result = _result_axes(axes, reduced, keep=bool(call.attr("keepdims", 1)))
    return f"{spell(mark_axes(axes, reduced, '!'))} -> {spell(result)}"


def _reduce_rule(ufunc: Any, of_names: values.Elements | None = None) -> Callable[..., Any]:
    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = values.known_arrays(call, 0)
        if arrays is None:
            return values.UNKNOWN
        axes, keep = tuple(_reduced_axes(call)), bool(call.attr("keepdims", 1))
        array = arrays[0]
        if values.is_numeric(array):
            result = ufunc.reduce(array, axis=axes, keepdims=keep)
            return (np.asarray(result, array.dtype),)
        if of_names is None or len(axes) != array.ndim:
            return values.UNKNOWN
        total = np.empty((1,) * array.ndim if keep else (), object)
        total[...] = of_names(*array.ravel().tolist())
        return (values.to_numeric(total),)

    return rule


POINTWISE = Quant.POINTWISE
EXACT, CHANGED = reduce_axes(""), reduce_axes("~")  # effect of zeros in place of removed elements

REDUCE = make_table(
    Op(
        "ReduceSum",
        EXACT,
        alone="element",
        quant=POINTWISE,
        value=_reduce_rule(np.add, values.add),
        growth="sum",
    ),
    Op("ReduceSumSquare", EXACT, result=(0.0, math.inf), growth="sum"),
    Op("ReduceL1", EXACT, result=(0.0, math.inf), growth="sum"),
    Op("ReduceL2", EXACT, result=(0.0, math.inf), quant=POINTWISE, growth="sum"),
    Op("ReduceLogSum", EXACT),
    Op("ReduceLogSumExp", CHANGED, growth="exponential"),
    Op("ReduceMean", CHANGED, alone="element", quant=POINTWISE, growth="sum"),
    Op("ReduceMax", CHANGED, alone="element", quant=POINTWISE, value=_reduce_rule(np.maximum)),
    Op("ReduceMin", CHANGED, alone="element", quant=POINTWISE, value=_reduce_rule(np.minimum)),
    Op("ReduceProd", CHANGED, alone="element", value=_reduce_rule(np.multiply, values.multiply)),
    Op("ArgMax", arg_axes, dtypes=DType.I64),
    Op("ArgMin", arg_axes, dtypes=DType.I64),
)
