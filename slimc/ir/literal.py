"""Lexical parts of the text form, written and read: names, strings, numbers, types, elements.

Each `read_x` reads what `write_x` writes.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.scan import Cursor
from slimc.ir.types import (
    Dim,
    DType,
    MapType,
    OptionalType,
    SequenceType,
    Shape,
    TensorType,
    ValueType,
)

Detail = Literal["full", "short"]
T = TypeVar("T")

MAX_LISTED = 8  # elements that are written one by one; shapes and pads are rarely longer
_DIGITS = 6  # of a float in short texts; results on two machines agree to as many

_BARE_NAME = re.compile(r"[\w./$-]+", re.ASCII)
_BARE_DIM = re.compile(r"[^,\[\]\s\"?#]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BYTES = re.compile(r'b"(?:[^"\\]|\\x[0-9a-f]{2}|\\["\\])*"')
_WORD = re.compile(r"[a-z]\w*")
_NUMBER = re.compile(
    r"[+-]?(?:nan|inf|\d+(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/=]*")


# --- names and strings -----------------------------------------------------------------------


def write_name(name: str) -> str:
    """Write a name, in quotes where it has unusual characters."""
    return name if _BARE_NAME.fullmatch(name) else write_string(name)


def read_name(cursor: Cursor, what: str = "a name") -> str:
    """Read a name."""
    if cursor.looking_at(_STRING):
        return read_string(cursor)
    return cursor.expect_match(_BARE_NAME, what)


def write_string(text: str) -> str:
    """Write a string in quotes, on one line."""
    return (
        json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\x85", "\\u0085")
    )


def read_string(cursor: Cursor) -> str:
    """Read a string in quotes."""
    token = cursor.expect_match(_STRING, "a quoted string")
    try:
        return str(json.loads(token))
    except json.JSONDecodeError as broken:
        raise cursor.error(f"the string {token} has an invalid escape") from broken


def write_bytes(data: bytes) -> str:
    """Write bytes: as text if they are UTF-8, else as b"..." with escapes."""
    try:
        return write_string(data.decode())
    except UnicodeDecodeError:
        return write_raw(data)


def write_raw(data: bytes) -> str:
    """Write bytes as b"..." with escapes."""
    plain = (chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in data)
    return f'b"{"".join(plain)}"'


def read_raw(cursor: Cursor) -> bytes | None:
    """Read b"...", or read nothing and return None."""
    token = cursor.match(_BYTES)
    return (
        None if token is None else token[2:-1].encode().decode("unicode_escape").encode("latin-1")
    )


# --- types -----------------------------------------------------------------------------------


def write_type(kind: ValueType) -> str:
    """Write a type: `f32[N,3,?]`, `seq<i64[]>`, `optional<...>`, `map<i64,f32[]>`."""
    if isinstance(kind, TensorType):
        if kind.shape is None:
            return f"{kind.dtype.text}[...]"
        return f"{kind.dtype.text}[{','.join(_write_dim(d) for d in kind.shape)}]"
    if isinstance(kind, MapType):
        return f"map<{kind.key.text},{write_type(kind.value)}>"
    return f"{'seq' if isinstance(kind, SequenceType) else 'optional'}<{write_type(kind.element)}>"


def _write_dim(dim: Dim) -> str:
    if dim is None:
        return "?"
    text = str(dim)
    if isinstance(dim, int) or (_BARE_DIM.fullmatch(text) and not text.isdigit() and text != "..."):
        return text
    return write_string(text)


def read_type(cursor: Cursor) -> ValueType:
    """Read a type."""
    if cursor.accept("seq<"):
        return SequenceType(_read_inner_type(cursor))
    if cursor.accept("optional<"):
        return OptionalType(_read_inner_type(cursor))
    if cursor.accept("map<"):
        key = read_dtype(cursor)
        cursor.expect(",")
        return MapType(key, _read_inner_type(cursor))
    return read_tensor_type(cursor)


def _read_inner_type(cursor: Cursor) -> ValueType:
    kind = read_type(cursor)
    cursor.expect(">")
    return kind


def read_dtype(cursor: Cursor) -> DType:
    """Read an element type."""
    start = cursor.at
    word = cursor.expect_match(_WORD, "an element type")
    try:
        return DType.of_text(word)
    except KeyError:
        cursor.at = start
        known = ", ".join(d.text for d in DType)
        raise cursor.error(f"'{word}' is not an element type", f"one of {known}") from None


def read_tensor_type(cursor: Cursor) -> TensorType:
    """Read the type of a tensor."""
    dtype = read_dtype(cursor)
    cursor.expect("[")
    if cursor.accept("..."):
        cursor.expect("]")
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(read_list(cursor, "]", _read_dim)))


def _read_dim(cursor: Cursor) -> Dim:
    if cursor.accept("?"):
        return None
    if cursor.looking_at(_STRING):
        return read_string(cursor)
    text = cursor.expect_match(_BARE_DIM, "a size")
    return int(text) if text.isdigit() else text


def read_list(cursor: Cursor, end: str, read: Callable[[Cursor], T]) -> list[T]:
    """Read items separated by commas up to `end`, which is read too."""
    values: list[T] = []
    while not cursor.accept(end):
        if values:
            cursor.expect(",")
        values.append(read(cursor))
    return values


# --- numbers ---------------------------------------------------------------------------------


def write_float(value: float) -> str:
    """Write a float of f32 precision so that it reads back the same, always with `.` or `e`."""
    single = np.float32(value)
    text = str(single) if float(single) == value or value != value else repr(float(value))
    return text if set(text) & set(".einf") else f"{text}.0"


def read_number(cursor: Cursor) -> int | float:
    """Read an int, or a float rounded to f32 (as files hold them)."""
    text = read_digits(cursor)
    return int(text) if text.lstrip("+-").isdigit() else float(np.float32(text))


def read_digits(cursor: Cursor) -> str:
    """Read a number and return its text."""
    return cursor.expect_match(_NUMBER, "a number")


def write_number(value: Any, detail: Detail) -> str:
    """Write one element of a tensor."""
    if isinstance(value, bytes):
        return write_raw(value)
    if isinstance(value, str):
        return write_string(value)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, np.integer) or "int" in type(value).__name__:
        return str(int(value))  # int4 of ml_dtypes is not an np.integer
    if detail == "short":
        return f"{float(value):.{_DIGITS}g}"
    return str(value)


# --- elements --------------------------------------------------------------------------------


def write_elements(constant: Constant, detail: Detail) -> str:
    """Write the elements of a constant; short texts leave out long ones."""
    array = constant.array
    if np.iscomplexobj(array):
        return _write_base64(array) if detail == "full" else ""
    if array.size <= MAX_LISTED or (constant.dtype is DType.STRING and detail == "full"):
        numbers = [write_number(v, detail) for v in array.ravel()]
        text = numbers[0] if array.ndim == 0 else f"[{', '.join(numbers)}]"
    elif constant.dtype is not DType.STRING and _is_uniform(array):
        text = f"fill({write_number(array.ravel()[0], detail)})"
    else:
        return _write_base64(array) if detail == "full" else ""
    if detail == "full" and constant.dtype is not DType.STRING:
        again = Constant(read_elements(Cursor(text), constant.type))
        return text if again.same_as(constant) else _write_base64(array)  # the payload of a NaN
    return text


def _is_uniform(array: np.ndarray) -> bool:
    flat = array.ravel()
    return flat[:MAX_LISTED].tobytes() == flat[:1].tobytes() * MAX_LISTED and (
        flat.tobytes() == flat[:1].tobytes() * flat.size
    )


def _write_base64(array: np.ndarray) -> str:
    return f"base64({base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()})"


def read_elements(cursor: Cursor, kind: TensorType) -> np.ndarray:
    """Read the elements of a tensor of this (static) type.

    `[1, 2]` in row-major order, a number for a scalar, `fill(0)`, `base64(...)`,
    `random(seed)` (standard normal; integers -8..7 or 0..15) or `random(seed, low..high)`.
    """
    shape = _static_shape(cursor, kind)
    read = _read_string_or_bytes if kind.dtype is DType.STRING else _read_digits_or_bool
    if cursor.accept("random("):
        return _read_random(cursor, kind.dtype, shape)
    if cursor.accept("fill("):
        value = read(cursor)
        cursor.expect(")")
        return np.full(shape, _to_array(cursor, [value], kind.dtype)[0])
    if cursor.accept("base64("):
        return _read_base64(cursor, kind.dtype, shape)
    if cursor.at_end():
        raise cursor.error(
            "the constant has no elements", "short texts leave them out; use random(0) or fill(0)"
        )
    values = read_list(cursor, "]", read) if cursor.accept("[") else [read(cursor)]
    size = int(np.prod(shape, dtype=np.int64))
    if len(values) != size:
        raise cursor.error(f"{len(values)} elements, but {write_type(kind)} has {size}")
    return _to_array(cursor, values, kind.dtype).reshape(shape)


def _static_shape(cursor: Cursor, kind: TensorType) -> tuple[int, ...]:
    shape: Shape = kind.shape if kind.shape is not None else (None,)
    sizes = tuple(d for d in shape if isinstance(d, int))
    if len(sizes) != len(shape):
        raise cursor.error(f"a constant needs a static shape, not {write_type(kind)}")
    return sizes


def _read_string_or_bytes(cursor: Cursor) -> str | bytes:
    raw = read_raw(cursor)
    return read_string(cursor) if raw is None else raw


def _read_digits_or_bool(cursor: Cursor) -> str:
    if cursor.accept("true"):
        return "1"
    return "0" if cursor.accept("false") else read_digits(cursor)


def _to_array(cursor: Cursor, values: Sequence[str | bytes], dtype: DType) -> np.ndarray:
    if dtype is DType.STRING:
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings
    try:
        if not dtype.is_integer:
            return np.array([float(v) for v in values], np.float64).astype(dtype.numpy)
        wide = np.array([int(v) for v in values], object)
        array: np.ndarray = wide.astype(np.int64 if dtype.bits < 64 else dtype.numpy)
        narrow: np.ndarray = array.astype(dtype.numpy)
        if (narrow.astype(array.dtype) != array).any():
            raise OverflowError
        return narrow
    except (ValueError, OverflowError):
        raise cursor.error(f"an element is not of type {dtype.text}") from None


def _read_base64(cursor: Cursor, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    text = cursor.expect_match(_BASE64, "base64 text")
    cursor.expect(")")
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), dtype.numpy)
        return flat.reshape(shape)
    except (binascii.Error, ValueError):
        raise cursor.error(f"the base64 text does not hold {list(shape)} {dtype.text}") from None


def _read_random(cursor: Cursor, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    seed = int(cursor.expect_match(re.compile(r"\d+"), "a seed"))
    low: float | None = None
    high = 0.0
    if cursor.accept(","):
        low = float(read_digits(cursor))
        cursor.expect("..")
        high = float(read_digits(cursor))
    cursor.expect(")")
    rng = np.random.default_rng(seed)
    if dtype is DType.BOOL:
        return rng.integers(0, 1, shape, endpoint=True).astype(np.bool_)
    if dtype.is_integer:
        if low is None:
            half = 1 << min(dtype.bits - 1, 3)
            low, high = (-half, half - 1) if dtype.text[0] == "i" else (0, 2 * half - 1)
        return rng.integers(int(low), int(high), shape, endpoint=True).astype(dtype.numpy)
    if not dtype.is_float:
        raise cursor.error(f"random() makes numbers, not {dtype.text}")
    samples = rng.standard_normal(shape) if low is None else rng.uniform(low, high, shape)
    return np.asarray(samples).astype(dtype.numpy)
