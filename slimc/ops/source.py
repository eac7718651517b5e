"""Operators that make values from sizes and attributes alone."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from slimc.ir import dims
from slimc.ir.constant import Constant
from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, DTypesRule, Op, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import labels, spell


def _constant_elements(call: Call) -> np.ndarray:
    """Return the elements of a Constant node, whichever attribute holds them."""
    value = call.attrs.get("value")
    if isinstance(value, Constant):
        return value.array
    for name, kind in (("value_int", np.int64), ("value_float", np.float32)):
        for key in (name, f"{name}s"):
            if key in call.attrs:
                return np.asarray(call.attrs[key], kind)
    raise Unmatched("it holds neither a dense tensor nor numbers")


def constant_axes(call: Call) -> SizedSignature:
    """A constant that is still a node keeps its indices."""
    shape = _constant_elements(call).shape
    return f" -> {spell([f'y{i}!' for i in range(len(shape))])}", {
        f"y{i}": d for i, d in enumerate(shape)
    }


def _constant_value(call: Call) -> tuple[np.ndarray | None, ...]:
    array = _constant_elements(call)
    return (array if array.size <= values.LIMIT and array.dtype != object else None,)


def constant_of_shape_axes(call: Call) -> SizedSignature:
    """ConstantOfShape: the operand is the shape of the result, whose axes may lose indices."""
    shape, length = call.value(0), call.shape(0)[0]
    if not isinstance(length, int):
        raise Unmatched("the rank of its result is computed at run time")
    sizes = [None] * length if shape is None else [values.as_size(v) for v in shape.tolist()]
    axes = labels(length)
    return f"r! -> {spell(axes)}", dict(zip(axes, sizes, strict=True))


def refit_constant_of_shape(
    call: Call, bound: BoundSignature, after: Mapping[str, int]
) -> ShapeRefit:
    """Update the elements of the shape."""
    axes = labels(len(bound.outputs[0] or ()))
    return ShapeRefit(
        elements={0: {i: after[a] for i, a in enumerate(axes) if after[a] != bound.sizes[a]}}
    )


def _fill_value(call: Call) -> np.ndarray:
    value = call.attrs.get("value")
    return value.array if isinstance(value, Constant) else np.zeros(1, np.float32)


def _constant_of_shape_value(call: Call) -> tuple[np.ndarray | None, ...]:
    shape = call.ints(0)
    if shape is None or int(np.prod(shape)) > values.LIMIT:
        return values.UNKNOWN
    return (np.full(shape, _fill_value(call).ravel()[0]),)


def range_axes(call: Call) -> SizedSignature:
    """One element per step of delta from start to limit."""
    text = ", , -> r!"
    operands = [call.value(i) for i in range(3)]
    start, limit, step = (None if v is None else v.ravel().tolist()[0] for v in operands)
    if start is None or limit is None or not isinstance(step, (int, float)):
        return text, {}
    if not isinstance(start, str) and not isinstance(limit, str):
        return text, {"r": max(0, ceil((limit - start) / step))}
    is_whole = step >= 1 and step == int(step)
    return text, {
        "r": dims.ceil_divide(values.subtract(limit, start), int(step))
    } if is_whole else {}


def _range_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known_arrays(call, 0, 1, 2)
    if arrays is None or not values.is_numeric(*arrays):
        return values.UNKNOWN
    start, limit, step = (v.ravel()[0] for v in arrays)
    count = max(0, ceil((float(limit) - float(start)) / float(step)))
    if count > values.LIMIT:
        return values.UNKNOWN
    return ((start + np.arange(count) * step).astype(arrays[0].dtype),)


def random_axes(call: Call) -> SizedSignature:
    """The attribute `shape` is the shape of the result."""
    sizes = {f"y{i}": int(d) for i, d in enumerate(call.required_attr("shape"))}
    return f" -> {spell([f'{name}!' for name in sizes])}", dict(sizes)


def dtype_of_attribute(default: int | None = None) -> DTypesRule:
    """Make the dtypes rule: that of attribute `dtype`, else `default`, else that of operand 0."""

    def rule(call: Call) -> tuple[DType | None, ...]:
        code = call.attr("dtype", default)
        return (call.dtype(0) if code is None else DType.of_code(code),)

    return rule


FLOAT = DType.F32.code

SOURCE = make_table(
    Op("Constant", constant_axes, value=_constant_value,
       dtypes=lambda c: (DType.of_numpy(_constant_elements(c).dtype),)),
    Op("ConstantOfShape", constant_of_shape_axes, refit=refit_constant_of_shape,
       value=_constant_of_shape_value,
       dtypes=lambda c: (DType.of_numpy(_fill_value(c).dtype),)),
    Op("EyeLike", "a! b! -> a! b!", dtypes=dtype_of_attribute()),
    Op("Range", range_axes, value=_range_value),
    Op("RandomNormal", random_axes, dtypes=dtype_of_attribute(FLOAT), random=True),
    Op("RandomUniform", random_axes, dtypes=dtype_of_attribute(FLOAT), random=True),
    Op("RandomNormalLike", "*a -> *a", dtypes=dtype_of_attribute(), random=True),
    Op("RandomUniformLike", "*a -> *a", dtypes=dtype_of_attribute(), random=True),
    Op("Bernoulli", "*a -> *a", dtypes=dtype_of_attribute(), random=True),
    Op("Multinomial", lambda c: ("n c! -> n s!", {"s": int(c.attr("sample_size", 1))}),
       dtypes=dtype_of_attribute(DType.I32.code), random=True),
)  # fmt: skip
