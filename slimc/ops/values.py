"""Shape arithmetic: elements of results from elements of operands, as far as these are known.

An array whose elements are all known has a numeric type; else it is an object array of numbers,
size names (str, see `ir.dims`) and None. Results are bounded: beyond `LIMIT` elements nothing is
said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from slimc.ir import dims
from slimc.ir.types import DType
from slimc.ops.op import Call, ValueRule

LIMIT = 1024  # elements; shapes and what is computed from them are short
NOTHING: tuple[np.ndarray | None, ...] = (None,)

Elements = Callable[..., Any]


def tidy(array: np.ndarray) -> np.ndarray:
    """Return an object array whose elements are all numbers as an array of numbers."""
    if array.dtype != object:
        return array
    flat = array.ravel().tolist()
    if any(v is None or isinstance(v, str) for v in flat):
        return array
    kind: type = np.bool_ if flat and all(isinstance(v, bool) for v in flat) else np.int64
    return array.astype(np.float64 if any(isinstance(v, float) for v in flat) else kind)


def known(call: Call, *which: int) -> list[np.ndarray] | None:
    """Return what is known of operands, or None if one is unknown or too long."""
    found = [call.value(i) for i in which]
    arrays = [a for a in found if a is not None and a.size <= LIMIT]
    return arrays if len(arrays) == len(found) else None


def is_numeric(*arrays: np.ndarray) -> bool:
    """Tell whether every element is known as a number."""
    return all(a.dtype != object for a in arrays)


def elementwise(of_numbers: Elements, of_names: Elements | None = None) -> ValueRule:
    """Make a rule for an element-wise operator from numpy's and from one for single elements.

    `of_names` gets numbers, names or None and returns one of these; without it unknown elements
    give unknown ones.
    """

    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = known(call, *range(len(call.types)))
        if not arrays:
            return NOTHING
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        if int(np.prod(shape)) > LIMIT:
            return NOTHING
        if is_numeric(*arrays):
            with np.errstate(all="ignore"):
                return (np.asarray(of_numbers(*arrays)),)
        result = np.empty(shape, object)
        columns = [np.broadcast_to(a, shape).ravel().tolist() for a in arrays]
        for i, elements in enumerate(zip(*columns, strict=True)):
            result.flat[i] = _single(of_numbers, of_names, elements)
        return (tidy(result),)

    return rule


def _single(of_numbers: Elements, of_names: Elements | None, elements: tuple[Any, ...]) -> Any:
    if not any(v is None or isinstance(v, str) for v in elements):
        return np.asarray(of_numbers(*(np.asarray(v) for v in elements))).item()
    return None if of_names is None else of_names(*elements)


def moved(move: Callable[[Call, np.ndarray], np.ndarray | None]) -> ValueRule:
    """Make a rule for an operator that moves or copies the elements of its first operand.

    `move`: (call, what is known of the operand) -> the same of the result, or None.
    """

    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = known(call, 0)
        made = None if arrays is None else move(call, arrays[0])
        return NOTHING if made is None or made.size > LIMIT else (tidy(made),)

    return rule


def whole(size: Any) -> int | str | None:
    """Return an element as a size: whole numbers and names; None for others."""
    if isinstance(size, float):
        return int(size) if size.is_integer() else None
    return size if isinstance(size, (int, str)) else None


def add(*elements: Any) -> Any:
    """Add sizes."""
    return dims.add(*map(whole, elements))


def subtract(a: Any, b: Any) -> Any:
    """Subtract sizes."""
    return dims.subtract(whole(a), whole(b))


def multiply(*elements: Any) -> Any:
    """Multiply sizes."""
    return dims.multiply(*map(whole, elements))


def divide(a: Any, b: Any) -> Any:
    """Divide sizes, which are not negative, by a positive number or a name."""
    number, by = whole(a), whole(b)
    if isinstance(by, int) and by > 0 and not isinstance(b, float):
        return dims.floor_divide(number, by)
    return dims.divide(number, by)


def modulo(a: Any, b: Any) -> Any:
    """Return the rest of dividing a size by a positive number."""
    by = whole(b)
    if not isinstance(by, int) or by <= 0:
        return None
    quotient = dims.floor_divide(whole(a), by)
    return dims.subtract(whole(a), dims.multiply(by, quotient))


def equal(a: Any, b: Any) -> Any:
    """Compare sizes; a name is a size of at least one in a model that runs."""
    if dims.same(whole(a), whole(b)):
        return True
    numbers = [v for v in (a, b) if isinstance(v, (int, float))]
    return False if numbers and numbers[0] < 0 and None not in (a, b) else None


def divide_numbers(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Divide as ONNX does: integers toward zero."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    quotient = np.abs(a) // np.where(b == 0, 1, np.abs(b))
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient))


def cast(array: np.ndarray, dtype: DType | None) -> np.ndarray | None:
    """Return the elements as another type; names and None stay.

    None for texts, and for types too narrow to compute with (which also round and saturate in ways
    of their own).
    """
    if dtype is None or dtype.bits < (16 if dtype.is_float else 8):
        return None
    if array.dtype == object:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype.numpy)
