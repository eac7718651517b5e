"""Operators that make elements from nothing but sizes and settings."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from slimc.ir import dims
from slimc.ir.constant import Constant
from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.axes import Bound, Unmatched
from slimc.ops.op import Call, DTypesRule, Laid, Op, Refit, table
from slimc.ops.spelling import labels, words


def _constant(call: Call) -> np.ndarray:
    """Return the elements of a Constant node, whichever attribute holds them."""
    value = call.attrs.get("value")
    if isinstance(value, Constant):
        return value.array
    for name, kind in (("value_int", np.int64), ("value_float", np.float32)):
        for key in (name, f"{name}s"):
            if key in call.attrs:
                return np.asarray(call.attrs[key], kind)
    raise Unmatched("it holds neither a dense tensor nor numbers")


def constant_axes(call: Call) -> Laid:
    """A constant that is still a node keeps its indices."""
    shape = _constant(call).shape
    return f" -> {words([f'y{i}!' for i in range(len(shape))])}", {
        f"y{i}": d for i, d in enumerate(shape)
    }


def _constant_value(call: Call) -> tuple[np.ndarray | None, ...]:
    array = _constant(call)
    return (array if array.size <= values.LIMIT and array.dtype != object else None,)


def filled_axes(call: Call) -> Laid:
    """ConstantOfShape: the operand is the shape of the result, whose axes may lose indices."""
    found, length = call.value(0), call.shape(0)[0]
    if not isinstance(length, int):
        raise Unmatched("the rank of its result is computed at run time")
    sizes = [None] * length if found is None else [values.whole(v) for v in found.tolist()]
    axes = labels(length)
    return f"r! -> {words(axes)}", dict(zip(axes, sizes, strict=True))


def refit_filled(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Elements of the shape."""
    axes = labels(len(bound.outputs[0] or ()))
    return Refit(
        elements={0: {i: after[a] for i, a in enumerate(axes) if after[a] != bound.sizes[a]}}
    )


def _fill(call: Call) -> np.ndarray:
    value = call.attrs.get("value")
    return value.array if isinstance(value, Constant) else np.zeros(1, np.float32)


def _filled_value(call: Call) -> tuple[np.ndarray | None, ...]:
    shape = call.ints(0)
    if shape is None or int(np.prod(shape)) > values.LIMIT:
        return values.NOTHING
    return (np.full(shape, _fill(call).ravel()[0]),)


def range_axes(call: Call) -> Laid:
    """As many elements as there are steps of delta from start to limit."""
    text = ", , -> r!"
    operands = [call.value(i) for i in range(3)]
    start, limit, step = (None if v is None else v.ravel().tolist()[0] for v in operands)
    if start is None or limit is None or not isinstance(step, (int, float)):
        return text, {}
    if not isinstance(start, str) and not isinstance(limit, str):
        return text, {"r": max(0, ceil((limit - start) / step))}
    whole = step >= 1 and step == int(step)
    return text, {"r": dims.ceil_divide(values.subtract(limit, start), int(step))} if whole else {}


def _range_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known(call, 0, 1, 2)
    if arrays is None or not values.is_numeric(*arrays):
        return values.NOTHING
    start, limit, step = (v.ravel()[0] for v in arrays)
    count = max(0, ceil((float(limit) - float(start)) / float(step)))
    if count > values.LIMIT:
        return values.NOTHING
    return ((start + np.arange(count) * step).astype(arrays[0].dtype),)


def random_axes(call: Call) -> Laid:
    """The attribute `shape` is the shape of the result."""
    sizes = {f"y{i}": int(d) for i, d in enumerate(call.needed("shape"))}
    return f" -> {words([f'{name}!' for name in sizes])}", dict(sizes)


def type_of_attribute(default: int | None = None) -> DTypesRule:
    """Make the rule: the type that attribute `dtype` names, else `default`, else operand 0's."""

    def rule(call: Call) -> tuple[DType | None, ...]:
        code = call.attr("dtype", default)
        return (call.dtype(0) if code is None else DType.of_code(code),)

    return rule


FLOAT = DType.F32.code

SOURCE = table(
    Op("Constant", constant_axes, value=_constant_value,
       dtypes=lambda c: (DType.of_numpy(_constant(c).dtype),)),
    Op("ConstantOfShape", filled_axes, refit=refit_filled, value=_filled_value,
       dtypes=lambda c: (DType.of_numpy(_fill(c).dtype),)),
    Op("EyeLike", "a! b! -> a! b!", dtypes=type_of_attribute()),
    Op("Range", range_axes, value=_range_value),
    Op("RandomNormal", random_axes, dtypes=type_of_attribute(FLOAT), random=True),
    Op("RandomUniform", random_axes, dtypes=type_of_attribute(FLOAT), random=True),
    Op("RandomNormalLike", "*a -> *a", dtypes=type_of_attribute(), random=True),
    Op("RandomUniformLike", "*a -> *a", dtypes=type_of_attribute(), random=True),
    Op("Bernoulli", "*a -> *a", dtypes=type_of_attribute(), random=True),
    Op("Multinomial", lambda c: ("n c! -> n s!", {"s": int(c.attr("sample_size", 1))}),
       dtypes=type_of_attribute(DType.I32.code), random=True),
)  # fmt: skip
