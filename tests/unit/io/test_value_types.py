from __future__ import annotations

import pytest
from onnx import TypeProto, helper

from slimc.errors import SlimcError
from slimc.io.value_types import read_denotations, read_type, write_denotation, write_type
from slimc.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, ValueType

F32 = TensorType(DType.F32, ("N", 3, None))


@pytest.mark.parametrize(
    "kind",
    [
        F32,
        TensorType(DType.I4, ()),
        TensorType(DType.STRING, None),
        SequenceType(F32),
        SequenceType(MapType(DType.I64, TensorType(DType.F32, ()))),
        OptionalType(SequenceType(F32)),
        MapType(DType.STRING, TensorType(DType.F32, ())),
    ],
    ids=str,
)
def test_types_round_trip(kind: ValueType) -> None:
    assert read_type(write_type(kind), "here") == kind


def test_types_that_are_left_open() -> None:
    assert read_type(TypeProto(), "here") is None
    assert read_type(helper.make_sequence_type_proto(TypeProto()), "here") is None
    assert write_type(None) == TypeProto()


def test_sizes_without_a_meaning_are_unknown() -> None:
    proto = helper.make_tensor_type_proto(1, [-1, "?", None, 0])
    assert read_type(proto, "here") == TensorType(DType.F32, (None, None, None, 0))


def test_types_that_are_not_read() -> None:
    sparse = TypeProto()
    sparse.sparse_tensor_type.elem_type = 1
    for proto in (sparse, helper.make_tensor_type_proto(99, [1])):
        with pytest.raises(SlimcError, match="type-unknown"):
            read_type(proto, "here")


def test_denotations_go_and_come_back() -> None:
    proto = write_type(F32)
    proto.denotation = "IMAGE"
    proto.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    notes = dict(read_denotations(proto))
    again = write_type(F32)
    assert all(write_denotation(again, key, text) for key, text in notes.items())
    assert again == proto
    assert not write_denotation(again, "author", "me")
