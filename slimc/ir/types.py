"""Element types, dimensions and the types of values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import ml_dtypes
import numpy as np

Dim = int | str | None  # a size, a named (or computed) size, or unknown
Shape = tuple[Dim, ...]


class DType(Enum):
    """Element types of ONNX tensors: text name, code in TensorProto, numpy type."""

    F32 = ("f32", 1, np.float32)
    U8 = ("u8", 2, np.uint8)
    I8 = ("i8", 3, np.int8)
    U16 = ("u16", 4, np.uint16)
    I16 = ("i16", 5, np.int16)
    I32 = ("i32", 6, np.int32)
    I64 = ("i64", 7, np.int64)
    STRING = ("string", 8, np.object_)
    BOOL = ("bool", 9, np.bool_)
    F16 = ("f16", 10, np.float16)
    F64 = ("f64", 11, np.float64)
    U32 = ("u32", 12, np.uint32)
    U64 = ("u64", 13, np.uint64)
    C64 = ("c64", 14, np.complex64)
    C128 = ("c128", 15, np.complex128)
    BF16 = ("bf16", 16, ml_dtypes.bfloat16)
    F8E4M3FN = ("f8e4m3fn", 17, ml_dtypes.float8_e4m3fn)
    F8E4M3FNUZ = ("f8e4m3fnuz", 18, ml_dtypes.float8_e4m3fnuz)
    F8E5M2 = ("f8e5m2", 19, ml_dtypes.float8_e5m2)
    F8E5M2FNUZ = ("f8e5m2fnuz", 20, ml_dtypes.float8_e5m2fnuz)
    U4 = ("u4", 21, ml_dtypes.uint4)
    I4 = ("i4", 22, ml_dtypes.int4)
    F4E2M1 = ("f4e2m1", 23, ml_dtypes.float4_e2m1fn)
    F8E8M0 = ("f8e8m0", 24, ml_dtypes.float8_e8m0fnu)
    U2 = ("u2", 25, ml_dtypes.uint2)
    I2 = ("i2", 26, ml_dtypes.int2)
    F6E2M3 = ("f6e2m3", 27, ml_dtypes.float6_e2m3fn)
    F6E3M2 = ("f6e3m2", 28, ml_dtypes.float6_e3m2fn)

    def __init__(self, text: str, code: int, numpy: type) -> None:
        self.text = text
        self.code = code
        self.numpy = np.dtype(numpy)

    @property
    def is_float(self) -> bool:
        return self.text.startswith(("f", "bf"))

    @property
    def is_integer(self) -> bool:
        return self.text[0] in "ui"

    @property
    def in_numpy(self) -> bool:
        """Return whether numpy itself has the type (else ml_dtypes adds it)."""
        return self.numpy.isbuiltin == 1

    @property
    def bits(self) -> int:
        """Bits of an element in a file (types smaller than a byte are packed)."""
        digits = "".join(c for c in self.text.split("e")[0] if c.isdigit())
        return 8 if self is DType.BOOL else int(digits or 0)

    @property
    def span(self) -> tuple[int, int]:
        """Lowest and highest value of an integer type, or of 8-bit floats without infinities."""
        if self is DType.F8E4M3FN:
            return -448, 448
        if self.text[0] == "u":
            return 0, (1 << self.bits) - 1
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @classmethod
    def of_code(cls, code: int) -> DType:
        """Return the type with this TensorProto code; KeyError if there is none."""
        return _BY_CODE[code]

    @classmethod
    def of_text(cls, text: str) -> DType:
        """Return the type with this text name; KeyError if there is none."""
        return _BY_TEXT[text]

    @classmethod
    def of_numpy(cls, dtype: np.dtype) -> DType:
        """Return the type of a numpy array; KeyError if ONNX has none."""
        return DType.STRING if dtype.kind in "OUS" else _BY_NUMPY[dtype]


_BY_CODE = {d.code: d for d in DType}
_BY_TEXT = {d.text: d for d in DType}
_BY_NUMPY = {d.numpy: d for d in DType}


@dataclass(frozen=True)
class TensorType:
    """Type of a tensor."""

    dtype: DType
    """Element type."""
    shape: Shape | None
    """Shape; None if even the rank is unknown."""

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype.text}[...]"
        return f"{self.dtype.text}[{','.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class SequenceType:
    """A sequence of values of one type."""

    element: ValueType

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True)
class OptionalType:
    """A value that may be absent at run time."""

    element: ValueType

    def __str__(self) -> str:
        return f"optional<{self.element}>"


@dataclass(frozen=True)
class MapType:
    """A dictionary, as classic machine-learning operators return."""

    key: DType
    value: ValueType

    def __str__(self) -> str:
        return f"map<{self.key.text},{self.value}>"


ValueType = TensorType | SequenceType | OptionalType | MapType


def static_shape(value_type: ValueType | None) -> tuple[int, ...] | None:
    """Return the shape if every size is a number of at least 0, else None."""
    if not isinstance(value_type, TensorType) or value_type.shape is None:
        return None
    sizes = tuple(d for d in value_type.shape if isinstance(d, int) and d >= 0)
    return sizes if len(sizes) == len(value_type.shape) else None


class TypedValues:
    """What states the types of values by name; most readers ask for those of tensors only."""

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, or None where it is not known."""
        raise NotImplementedError

    def tensor(self, value: str) -> TensorType | None:
        """Return the type of a tensor, or None where it is not known or the value is none."""
        kind = self.type_of(value)
        return kind if isinstance(kind, TensorType) else None

    def dtype_of(self, value: str) -> DType | None:
        """Return the element type of a tensor, or None where it is not known."""
        kind = self.tensor(value)
        return None if kind is None else kind.dtype

    def is_float(self, value: str) -> bool:
        """Return whether a value is known to be a tensor of floating-point numbers."""
        kind = self.tensor(value)
        return kind is not None and kind.dtype.is_float

    def shape_of(self, value: str) -> Shape | None:
        """Return the shape of a tensor, or None where not even the rank is known."""
        kind = self.tensor(value)
        return None if kind is None else kind.shape

    def rank_of(self, value: str) -> int | None:
        """Return the number of axes of a tensor, or None where it is not known."""
        shape = self.shape_of(value)
        return None if shape is None else len(shape)
