"""Types of values from and to TypeProto."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorShapeProto, TypeProto

from slimc.errors import SlimcError
from slimc.ir.types import Dim, DType, MapType, OptionalType, SequenceType, TensorType, ValueType

DENOTATION = "onnx.denotation"  # key of the note with the denotation of a type

_NO_NAMES = ("", "?")  # some exporters write "?" for every unknown size


def read_type(proto: TypeProto, where: str) -> ValueType | None:
    """Return the type, None if the file does not state it. Error: type-unknown."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return _read_tensor(proto.tensor_type, where)
    if kind == "sequence_type":
        element = read_type(proto.sequence_type.elem_type, where)
        return None if element is None else SequenceType(element)
    if kind == "optional_type":
        element = read_type(proto.optional_type.elem_type, where)
        return None if element is None else OptionalType(element)
    if kind == "map_type":
        value = read_type(proto.map_type.value_type, where)
        return None if value is None else MapType(_dtype(proto.map_type.key_type, where), value)
    if kind is not None:
        raise SlimcError(
            "type-unknown", f"values of {kind.replace('_', ' ')} are not supported", where
        )
    return None


def _read_tensor(proto: TypeProto.Tensor, where: str) -> TensorType | None:
    if not proto.elem_type:
        return None
    dtype = _dtype(proto.elem_type, where)
    if not proto.HasField("shape"):
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(_read_dim(d) for d in proto.shape.dim))


def _read_dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None
    name = dim.dim_param
    return None if name in _NO_NAMES or isinstance(name, bytes) else name


def _dtype(code: int, where: str) -> DType:
    try:
        return DType.of_code(code)
    except KeyError:
        raise SlimcError("type-unknown", f"the element type {code} is unknown", where) from None


def write_type(kind: ValueType | None) -> TypeProto:
    """Make the TypeProto of a type (an empty one if it is not known)."""
    proto = TypeProto()
    if isinstance(kind, TensorType):
        proto.tensor_type.elem_type = kind.dtype.code
        if kind.shape is not None:
            proto.tensor_type.shape.SetInParent()
            for size in kind.shape:
                dim = proto.tensor_type.shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
                elif size is not None:
                    dim.dim_param = size
    elif isinstance(kind, SequenceType):
        proto.sequence_type.elem_type.CopyFrom(write_type(kind.element))
    elif isinstance(kind, OptionalType):
        proto.optional_type.elem_type.CopyFrom(write_type(kind.element))
    elif isinstance(kind, MapType):
        proto.map_type.key_type = kind.key.code
        proto.map_type.value_type.CopyFrom(write_type(kind.value))
    return proto


def read_denotations(proto: TypeProto) -> Iterator[tuple[str, str]]:
    """Yield the denotations of a tensor type and of its axes, as notes: key, text."""
    if proto.denotation:
        yield DENOTATION, proto.denotation
    for axis, dim in enumerate(proto.tensor_type.shape.dim):
        if dim.denotation:
            yield f"{DENOTATION}.{axis}", dim.denotation


def write_denotation(proto: TypeProto, key: str, text: str) -> bool:
    """Write a note of `read_denotations` back; return False if it is another note."""
    stem, _, axis = key.rpartition(".")
    if key == DENOTATION:
        proto.denotation = text
    elif stem == DENOTATION and axis.isdecimal() and int(axis) < len(proto.tensor_type.shape.dim):
        proto.tensor_type.shape.dim[int(axis)].denotation = text
    else:
        return False
    return True
