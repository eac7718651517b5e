"""Element-wise operators, with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.op import Call, Op, Quant, make_table
from slimc.ops.spelling import blank_rest, broadcast, join_operands, spell
from slimc.ops.values import elementwise_rule

POINTWISE, PASS_THROUGH = Quant.POINTWISE, Quant.PASS_THROUGH
NOT_NEGATIVE = (0.0, math.inf)


def same_axes(call: Call) -> str:
    """The result has the axes of operand 0; other operands are scalars or settings."""
    return f"*a{blank_rest(call)} -> *a"


def broadcast_axes(call: Call) -> str:
    """All operands broadcast to the result."""
    shapes = [call.shape(i) if call.has_operand(i) else None for i in range(len(call.types))]
    texts, result = broadcast(shapes)
    return f"{join_operands(*texts)} -> {spell(result)}"


def unary_ops(kinds: str, **facts: Any) -> Iterator[Op]:
    """Make rows of operators whose result has the axes of operand 0."""
    return (Op(kind, axes=same_axes, **facts) for kind in kinds.split())


def broadcasting_ops(kinds: str, **facts: Any) -> Iterator[Op]:
    """Make rows of operators whose operands broadcast."""
    return (Op(kind, axes=broadcast_axes, **facts) for kind in kinds.split())


def variadic(kind: str, **facts: Any) -> Iterator[Op]:
    """Make the row of an operator that combines any number of operands, in any order."""
    return broadcasting_ops(kind, commutes=True, alone="operand", **facts)


def comparison_op(kind: str, compare: np.ufunc, of_names: values.Elements | None = None) -> Op:
    """Make the row of an operator with boolean results."""
    return Op(
        kind, axes=broadcast_axes, dtypes=DType.BOOL, value=elementwise_rule(compare, of_names)
    )  # fmt: skip


def dropout_axes(call: Call) -> str:
    """In inference the result is the operand, and the mask is all true."""
    return f"*a{blank_rest(call)} -> *a, *a"


def _copy(call: Call, array: np.ndarray) -> np.ndarray:
    return array


def _cast_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    code = call.attrs.get("to")
    return values.cast(array, DType.of_code(code) if isinstance(code, int) else None)


def _cast_like_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    return values.cast(array, call.dtype(1))


def _clip_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known_arrays(call, *(i for i in range(len(call.types)) if call.has_operand(i)))
    if arrays is None or not values.is_numeric(*arrays):
        return values.UNKNOWN
    low, high = (call.value(i) if call.has_operand(i) else None for i in (1, 2))
    if low is None and high is None:
        return (arrays[0],)
    return (np.clip(arrays[0], low, high),)


def _clip_bounds(call: Call) -> tuple[float, float] | None:
    """Return min and max; an absent one is infinite."""
    bounds = []
    for i, absent in ((1, -math.inf), (2, math.inf)):
        array = call.value(i) if call.has_operand(i) else np.array(absent)
        if array is None or array.size != 1 or array.dtype.kind == "O":
            return None
        bounds.append(float(array.reshape(())))
    return bounds[0], bounds[1]


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    power: np.ndarray = np.power(a.astype(np.float64), b)
    return power.astype(a.dtype)


def _where_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known_arrays(call, 0, 1, 2)
    if arrays is None or not values.is_numeric(arrays[0]):
        return values.UNKNOWN
    return (values.to_numeric(np.where(*arrays)),)


def _mod_value(call: Call) -> tuple[np.ndarray | None, ...]:
    return elementwise_rule(np.fmod if call.attr("fmod", 0) else np.mod, values.modulo)(call)


def _shift_value(call: Call) -> tuple[np.ndarray | None, ...]:
    return elementwise_rule(np.left_shift if call.attr("direction") == "LEFT" else np.right_shift)(
        call
    )


def _over(ufunc: np.ufunc) -> values.Elements:
    def combine(*arrays: np.ndarray) -> np.ndarray:
        result = arrays[0]
        for array in arrays[1:]:
            result = ufunc(result, array)
        return np.asarray(result)

    return combine


ELEMENTWISE = make_table(
    # activations
    unary_ops("Relu", quant=PASS_THROUGH, result=NOT_NEGATIVE, clamp=lambda call: (0.0, math.inf)),
    unary_ops("LeakyRelu", quant=POINTWISE, homogeneous=True),
    unary_ops("Elu Celu Selu ThresholdedRelu Shrink", quant=POINTWISE),
    unary_ops("Softplus", quant=POINTWISE, result=NOT_NEGATIVE),
    unary_ops("Sigmoid HardSigmoid", quant=POINTWISE, result=(0.0, 1.0)),
    unary_ops("Tanh Softsign", quant=POINTWISE, result=(-1.0, 1.0)),
    unary_ops(
        "HardSwish Gelu Mish Swish com.microsoft.Gelu com.microsoft.FastGelu",
        quant=POINTWISE,
        gate=True,
    ),
    unary_ops("com.microsoft.QuickGelu", gate=True),
    broadcasting_ops("PRelu", quant=POINTWISE, homogeneous=True),
    broadcasting_ops("SwiGLU"),
    Op("Clip", same_axes, quant=PASS_THROUGH, value=_clip_value, clamp=_clip_bounds),
    # unary functions
    unary_ops("Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan Erf Log Reciprocal Round"),
    unary_ops("Exp", quant=POINTWISE, result=NOT_NEGATIVE, growth="exponential"),
    unary_ops("Sqrt", quant=POINTWISE, result=NOT_NEGATIVE, value=elementwise_rule(np.sqrt)),
    unary_ops("Abs", quant=POINTWISE, result=NOT_NEGATIVE, value=elementwise_rule(np.abs)),
    unary_ops(
        "Neg",
        quant=POINTWISE,
        value=elementwise_rule(np.negative, lambda a: values.subtract(0, a)),
    ),
    unary_ops("Sign", value=elementwise_rule(np.sign)),
    unary_ops("Floor", value=elementwise_rule(np.floor, values.as_size)),
    unary_ops("Ceil", value=elementwise_rule(np.ceil, values.as_size)),
    unary_ops("BitwiseNot", value=elementwise_rule(np.invert)),
    unary_ops("Not", value=elementwise_rule(np.logical_not)),
    unary_ops("IsInf IsNaN", dtypes=DType.BOOL),
    # copies and casts
    unary_ops("Identity", quant=PASS_THROUGH, order="kept", value=values.move_rule(_copy)),
    unary_ops("Cast", dtypes="to", value=values.move_rule(_cast_value)),
    Op("CastLike", "*a, *like -> *a", dtypes=1, value=values.move_rule(_cast_like_value)),
    unary_ops("BitCast", dtypes="to"),
    Op(
        "Dropout",
        dropout_axes,
        quant=PASS_THROUGH,
        dtypes=lambda c: (c.dtype(0), DType.BOOL),
        random=True,
    ),
    # arithmetic
    broadcasting_ops(
        "Add",
        quant=POINTWISE,
        sums=True,
        commutes=True,
        value=elementwise_rule(np.add, values.add),
    ),
    broadcasting_ops("Sub", quant=POINTWISE, value=elementwise_rule(np.subtract, values.subtract)),
    broadcasting_ops(
        "Mul",
        quant=POINTWISE,
        commutes=True,
        value=elementwise_rule(np.multiply, values.multiply),
    ),
    broadcasting_ops(
        "Div", quant=POINTWISE, value=elementwise_rule(values.divide_numbers, values.divide)
    ),
    broadcasting_ops("Mod", value=_mod_value),
    broadcasting_ops("Pow", quant=POINTWISE, value=elementwise_rule(_power), growth="exponential"),
    variadic("Sum", quant=POINTWISE, value=elementwise_rule(_over(np.add), values.add)),
    variadic("Mean"),
    variadic("Max", quant=POINTWISE, value=elementwise_rule(_over(np.maximum))),
    variadic("Min", quant=POINTWISE, value=elementwise_rule(_over(np.minimum))),
    broadcasting_ops("BitShift", value=_shift_value),
    broadcasting_ops("BitwiseAnd", value=elementwise_rule(np.bitwise_and)),
    broadcasting_ops("BitwiseOr", value=elementwise_rule(np.bitwise_or)),
    broadcasting_ops("BitwiseXor", value=elementwise_rule(np.bitwise_xor)),
    # comparisons and logic
    comparison_op("Equal", np.equal, values.equal),
    comparison_op("Less", np.less),
    comparison_op("LessOrEqual", np.less_equal),
    comparison_op("Greater", np.greater),
    comparison_op("GreaterOrEqual", np.greater_equal),
    comparison_op("And", np.logical_and),
    comparison_op("Or", np.logical_or),
    comparison_op("Xor", np.logical_xor),
    # strings
    broadcasting_ops("StringConcat"),
    unary_ops("RegexFullMatch", dtypes=DType.BOOL),
    # selection
    broadcasting_ops("Where", dtypes=1, quant=Quant.SHARED_SCALE, value=_where_value),
)
