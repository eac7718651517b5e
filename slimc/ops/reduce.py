"""Operators that reduce axes to one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.op import Call, Op, Quant, table
from slimc.ops.spelling import labels, marked, unsaid, words


def _reduced(call: Call) -> list[int]:
    """Return the axes that are reduced, from attribute or operand `axes`."""
    rank = call.rank(0)
    axes = call.list_of("axes", 1)
    if axes:
        return [a % rank for a in axes]
    return [] if call.attr("noop_with_empty_axes", 0) else list(range(rank))


def _kept(axes: list[str], gone: list[int], *, keep: bool) -> list[str]:
    return [w if i not in gone else "1" for i, w in enumerate(axes) if keep or i not in gone]


def reduce_axes(mark: str) -> Callable[[Call], str]:
    """Make the rule of a reduction; `mark` (`~` or nothing) says what zeros do to it."""

    def rule(call: Call) -> str:
        axes, gone = labels(call.rank(0)), _reduced(call)
        left = words(marked(axes, gone, mark))
        kept = _kept(axes, gone, keep=bool(call.attr("keepdims", 1)))
        return f"{left}{unsaid(call)} -> {words(kept)}"

    return rule


def arg_axes(call: Call) -> str:
    """ArgMax, ArgMin: the result counts indices of the axis."""
    axes, gone = labels(call.rank(0)), [call.axis(0)]
    kept = _kept(axes, gone, keep=bool(call.attr("keepdims", 1)))
    return f"{words(marked(axes, gone, '!'))} -> {words(kept)}"


def _value(ufunc: Any, of_names: values.Elements | None = None) -> Callable[..., Any]:
    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = values.known(call, 0)
        if arrays is None:
            return values.NOTHING
        axes, keep = tuple(_reduced(call)), bool(call.attr("keepdims", 1))
        array = arrays[0]
        if values.is_numeric(array):
            made = ufunc.reduce(array, axis=axes, keepdims=keep)
            return (np.asarray(made, array.dtype),)
        if of_names is None or len(axes) != array.ndim:
            return values.NOTHING
        total = np.empty((1,) * array.ndim if keep else (), object)
        total[...] = of_names(*array.ravel().tolist())
        return (values.tidy(total),)

    return rule


POINTWISE = Quant.POINTWISE
EXACT, CHANGED = reduce_axes(""), reduce_axes("~")  # where elements are zero instead of gone

REDUCE = table(
    Op(
        "ReduceSum",
        EXACT,
        alone="element",
        quant=POINTWISE,
        value=_value(np.add, values.add),
        growth="sum",
    ),
    Op("ReduceSumSquare", EXACT, result=(0.0, math.inf), growth="sum"),
    Op("ReduceL1", EXACT, result=(0.0, math.inf), growth="sum"),
    Op("ReduceL2", EXACT, result=(0.0, math.inf), quant=POINTWISE, growth="sum"),
    Op("ReduceLogSum", EXACT),
    Op("ReduceLogSumExp", CHANGED, growth="exponential"),
    Op("ReduceMean", CHANGED, alone="element", quant=POINTWISE, growth="sum"),
    Op("ReduceMax", CHANGED, alone="element", quant=POINTWISE, value=_value(np.maximum)),
    Op("ReduceMin", CHANGED, alone="element", quant=POINTWISE, value=_value(np.minimum)),
    Op("ReduceProd", CHANGED, alone="element", value=_value(np.multiply, values.multiply)),
    Op("ArgMax", arg_axes, dtypes=DType.I64),
    Op("ArgMin", arg_axes, dtypes=DType.I64),
)
