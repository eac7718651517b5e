"""Operators that work on every element by itself, with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.op import Call, Op, Quant, table
from slimc.ops.spelling import broadcast, operands, unsaid, words
from slimc.ops.values import elementwise

POINTWISE, PASS_THROUGH = Quant.POINTWISE, Quant.PASS_THROUGH
NOT_NEGATIVE = (0.0, math.inf)


def same_axes(call: Call) -> str:
    """Operand 0 keeps its axes; the others are scalars or settings."""
    return f"*a{unsaid(call)} -> *a"


def broadcast_axes(call: Call) -> str:
    """All operands broadcast to the result."""
    shapes = [call.shape(i) if call.present(i) else None for i in range(len(call.types))]
    texts, result = broadcast(shapes)
    return f"{operands(*texts)} -> {words(result)}"


def unary(kinds: str, **facts: Any) -> Iterator[Op]:
    """Make rows of operators whose result has the axes of operand 0."""
    return (Op(kind, axes=same_axes, **facts) for kind in kinds.split())


def broadcasting(kinds: str, **facts: Any) -> Iterator[Op]:
    """Make rows of operators whose operands broadcast."""
    return (Op(kind, axes=broadcast_axes, **facts) for kind in kinds.split())


def variadic(kind: str, **facts: Any) -> Iterator[Op]:
    """Make the row of an operator that combines any number of operands, in any order."""
    return broadcasting(kind, commutes=True, alone="operand", **facts)


def comparison(kind: str, compare: np.ufunc, of_names: values.Elements | None = None) -> Op:
    """Make the row of an operator with boolean results."""
    return Op(
        kind, axes=broadcast_axes, dtypes=DType.BOOL, value=elementwise(compare, of_names)
    )  # fmt: skip


def dropout_axes(call: Call) -> str:
    """In inference the result is the operand, and the mask all true."""
    return f"*a{unsaid(call)} -> *a, *a"


def _copy(call: Call, array: np.ndarray) -> np.ndarray:
    return array


def _cast_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    code = call.attrs.get("to")
    return values.cast(array, DType.of_code(code) if isinstance(code, int) else None)


def _cast_like_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    return values.cast(array, call.dtype(1))


def _clip_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known(call, *(i for i in range(len(call.types)) if call.present(i)))
    if arrays is None or not values.is_numeric(*arrays):
        return values.NOTHING
    low, high = (call.value(i) if call.present(i) else None for i in (1, 2))
    if low is None and high is None:
        return (arrays[0],)
    return (np.clip(arrays[0], low, high),)


def _clip_bounds(call: Call) -> tuple[float, float] | None:
    """Return min and max; an absent one does not bound."""
    bounds = []
    for i, absent in ((1, -math.inf), (2, math.inf)):
        array = call.value(i) if call.present(i) else np.array(absent)
        if array is None or array.size != 1 or array.dtype.kind == "O":
            return None
        bounds.append(float(array.reshape(())))
    return bounds[0], bounds[1]


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    power: np.ndarray = np.power(a.astype(np.float64), b)
    return power.astype(a.dtype)


def _where_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known(call, 0, 1, 2)
    if arrays is None or not values.is_numeric(arrays[0]):
        return values.NOTHING
    return (values.tidy(np.where(*arrays)),)


def _mod_value(call: Call) -> tuple[np.ndarray | None, ...]:
    return elementwise(np.fmod if call.attr("fmod", 0) else np.mod, values.modulo)(call)


def _shift_value(call: Call) -> tuple[np.ndarray | None, ...]:
    return elementwise(np.left_shift if call.attr("direction") == "LEFT" else np.right_shift)(call)


def _over(ufunc: np.ufunc) -> values.Elements:
    def combine(*arrays: np.ndarray) -> np.ndarray:
        result = arrays[0]
        for array in arrays[1:]:
            result = ufunc(result, array)
        return np.asarray(result)

    return combine


ELEMENTWISE = table(
    # activations
    unary("Relu", quant=PASS_THROUGH, result=NOT_NEGATIVE, clamp=lambda call: (0.0, math.inf)),
    unary("LeakyRelu", quant=POINTWISE, homogeneous=True),
    unary("Elu Celu Selu ThresholdedRelu Shrink", quant=POINTWISE),
    unary("Softplus", quant=POINTWISE, result=NOT_NEGATIVE),
    unary("Sigmoid HardSigmoid", quant=POINTWISE, result=(0.0, 1.0)),
    unary("Tanh Softsign", quant=POINTWISE, result=(-1.0, 1.0)),
    unary(
        "HardSwish Gelu Mish Swish com.microsoft.Gelu com.microsoft.FastGelu",
        quant=POINTWISE,
        gate=True,
    ),
    unary("com.microsoft.QuickGelu", gate=True),
    broadcasting("PRelu", quant=POINTWISE, homogeneous=True),
    broadcasting("SwiGLU"),
    Op("Clip", same_axes, quant=PASS_THROUGH, value=_clip_value, clamp=_clip_bounds),
    # functions of one number
    unary("Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan Erf Log Reciprocal Round"),
    unary("Exp", quant=POINTWISE, result=NOT_NEGATIVE, growth="exponential"),
    unary("Sqrt", quant=POINTWISE, result=NOT_NEGATIVE, value=elementwise(np.sqrt)),
    unary("Abs", quant=POINTWISE, result=NOT_NEGATIVE, value=elementwise(np.abs)),
    unary(
        "Neg",
        quant=POINTWISE,
        value=elementwise(np.negative, lambda a: values.subtract(0, a)),
    ),
    unary("Sign", value=elementwise(np.sign)),
    unary("Floor", value=elementwise(np.floor, values.whole)),
    unary("Ceil", value=elementwise(np.ceil, values.whole)),
    unary("BitwiseNot", value=elementwise(np.invert)),
    unary("Not", value=elementwise(np.logical_not)),
    unary("IsInf IsNaN", dtypes=DType.BOOL),
    # the same elements, in another type perhaps
    unary("Identity", quant=PASS_THROUGH, order="kept", value=values.moved(_copy)),
    unary("Cast", dtypes="to", value=values.moved(_cast_value)),
    Op("CastLike", "*a, *like -> *a", dtypes=1, value=values.moved(_cast_like_value)),
    unary("BitCast", dtypes="to"),
    Op(
        "Dropout",
        dropout_axes,
        quant=PASS_THROUGH,
        dtypes=lambda c: (c.dtype(0), DType.BOOL),
        random=True,
    ),
    # arithmetic
    broadcasting(
        "Add",
        quant=POINTWISE,
        sums=True,
        commutes=True,
        value=elementwise(np.add, values.add),
    ),
    broadcasting("Sub", quant=POINTWISE, value=elementwise(np.subtract, values.subtract)),
    broadcasting(
        "Mul",
        quant=POINTWISE,
        commutes=True,
        value=elementwise(np.multiply, values.multiply),
    ),
    broadcasting("Div", quant=POINTWISE, value=elementwise(values.divide_numbers, values.divide)),
    broadcasting("Mod", value=_mod_value),
    broadcasting("Pow", quant=POINTWISE, value=elementwise(_power), growth="exponential"),
    variadic("Sum", quant=POINTWISE, value=elementwise(_over(np.add), values.add)),
    variadic("Mean"),
    variadic("Max", quant=POINTWISE, value=elementwise(_over(np.maximum))),
    variadic("Min", quant=POINTWISE, value=elementwise(_over(np.minimum))),
    broadcasting("BitShift", value=_shift_value),
    broadcasting("BitwiseAnd", value=elementwise(np.bitwise_and)),
    broadcasting("BitwiseOr", value=elementwise(np.bitwise_or)),
    broadcasting("BitwiseXor", value=elementwise(np.bitwise_xor)),
    # truth
    comparison("Equal", np.equal, values.equal),
    comparison("Less", np.less),
    comparison("LessOrEqual", np.less_equal),
    comparison("Greater", np.greater),
    comparison("GreaterOrEqual", np.greater_equal),
    comparison("And", np.logical_and),
    comparison("Or", np.logical_or),
    comparison("Xor", np.logical_xor),
    # texts
    broadcasting("StringConcat"),
    unary("RegexFullMatch", dtypes=DType.BOOL),
    # choice
    broadcasting("Where", dtypes=1, quant=Quant.SHARED_SCALE, value=_where_value),
)
