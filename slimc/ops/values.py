"""Shape arithmetic: elements of results from elements of operands, as far as these are known.

An array whose elements are all known has a numeric type; else it is an object array of numbers,
size names (str, see `ir.dims`) and None. Results of more than `LIMIT` elements count as unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from slimc.ir import dims
from slimc.ir.types import DType
from slimc.ops.op import Call, ValueRule

LIMIT = 1024  # elements; shapes, and values that are computed from shapes, are short
UNKNOWN: tuple[np.ndarray | None, ...] = (None,)

Elements = Callable[..., Any]


def to_numeric(array: np.ndarray) -> np.ndarray:
    """Return an object array whose elements are all numbers as an array of numbers."""
    if array.dtype != object:
        return array
    flat = array.ravel().tolist()
    if any(v is None or isinstance(v, str) for v in flat):
        return array
    kind: type = np.bool_ if flat and all(isinstance(v, bool) for v in flat) else np.int64
    return array.astype(np.float64 if any(isinstance(v, float) for v in flat) else kind)


def known_arrays(call: Call, *which: int) -> list[np.ndarray] | None:
    """Return the known elements of operands, or None if one is unknown or too long."""
    elements = [call.value(i) for i in which]
    arrays = [a for a in elements if a is not None and a.size <= LIMIT]
    return arrays if len(arrays) == len(elements) else None


def is_numeric(*arrays: np.ndarray) -> bool:
    """Return whether every element is known as a number."""
    return all(a.dtype != object for a in arrays)


def elementwise_rule(of_numbers: Elements, of_names: Elements | None = None) -> ValueRule:
    """Make the value rule of an element-wise operator.

    of_numbers: its numpy function. of_names: the function for single elements that are numbers,
    names or None; without it, unknown elements give unknown results.
    """

    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = known_arrays(call, *range(len(call.types)))
        if not arrays:
            return UNKNOWN
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        if int(np.prod(shape)) > LIMIT:
            return UNKNOWN
        if is_numeric(*arrays):
            with np.errstate(all="ignore"):
                return (np.asarray(of_numbers(*arrays)),)
        result = np.empty(shape, object)
        columns = [np.broadcast_to(a, shape).ravel().tolist() for a in arrays]
        for i, elements in enumerate(zip(*columns, strict=True)):
            result.flat[i] = _single(of_numbers, of_names, elements)
        return (to_numeric(result),)

    return rule


def _single(of_numbers: Elements, of_names: Elements | None, elements: tuple[Any, ...]) -> Any:
    if not any(v is None or isinstance(v, str) for v in elements):
        return np.asarray(of_numbers(*(np.asarray(v) for v in elements))).item()
    return None if of_names is None else of_names(*elements)


def move_rule(move: Callable[[Call, np.ndarray], np.ndarray | None]) -> ValueRule:
    """Make a rule for an operator that moves or copies the elements of its first operand.

    `move`: (call, what is known of the operand) -> the same of the result, or None.
    """

    def rule(call: Call) -> tuple[np.ndarray | None, ...]:
        arrays = known_arrays(call, 0)
        result = None if arrays is None else move(call, arrays[0])
        return UNKNOWN if result is None or result.size > LIMIT else (to_numeric(result),)

    return rule


def as_size(size: Any) -> int | str | None:
    """Return an element as a size: whole numbers and names; None for others."""
    if isinstance(size, float):
        return int(size) if size.is_integer() else None
    return size if isinstance(size, (int, str)) else None


def add(*elements: Any) -> Any:
    """Add sizes."""
    return dims.add(*map(as_size, elements))


def subtract(a: Any, b: Any) -> Any:
    """Subtract sizes."""
    return dims.subtract(as_size(a), as_size(b))


def multiply(*elements: Any) -> Any:
    """Multiply sizes."""
    return dims.multiply(*map(as_size, elements))


def divide(a: Any, b: Any) -> Any:
    """Divide sizes, which are not negative, by a positive number or a name."""
    number, by = as_size(a), as_size(b)
    if isinstance(by, int) and by > 0 and not isinstance(b, float):
        return dims.floor_divide(number, by)
    return dims.divide(number, by)


def modulo(a: Any, b: Any) -> Any:
    """Return the remainder of dividing a size by a positive number."""
    by = as_size(b)
    if not isinstance(by, int) or by <= 0:
        return None
    quotient = dims.floor_divide(as_size(a), by)
    return dims.subtract(as_size(a), dims.multiply(by, quotient))


def equal(a: Any, b: Any) -> Any:
    """Compare sizes; a name is a size of at least one in a model that runs."""
    if dims.are_equal(as_size(a), as_size(b)):
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

    None for strings, and for types too narrow to compute with, which round and saturate in their
    own ways.
    """
    if dtype is None or dtype.bits < (16 if dtype.is_float else 8):
        return None
    if array.dtype == object:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype.numpy)
