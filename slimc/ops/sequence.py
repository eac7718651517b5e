"""Sequences and optional values. Their elements' axes lose no index."""

from __future__ import annotations

from typing import cast

from slimc.ir.types import DType, OptionalType, SequenceType, Shape, TensorType, ValueType
from slimc.ops.control import join_types
from slimc.ops.op import Call, Op, Types, TypesRule, UnknownType, make_table


def _operand_type(call: Call, i: int) -> ValueType | None:
    kind = call.types[i] if i < len(call.types) else None
    return None if isinstance(kind, UnknownType) else kind


def _element_type(kind: ValueType | None) -> ValueType | None:
    return kind.element if isinstance(kind, (SequenceType, OptionalType)) else None


def _sequence_of(element: ValueType | None) -> Types:
    return (None if element is None else SequenceType(element),)


def _construct_types(call: Call, _: tuple[Types, ...]) -> Types:
    element = _operand_type(call, 0)
    for i in range(1, len(call.types)):
        element = join_types(element, _operand_type(call, i))
    return _sequence_of(element)


def _empty_types(call: Call, _: tuple[Types, ...]) -> Types:
    return _sequence_of(TensorType(DType.of_code(call.attr("dtype", DType.F32.code)), None))


def _insert_types(call: Call, _: tuple[Types, ...]) -> Types:
    return _sequence_of(join_types(_element_type(_operand_type(call, 0)), _operand_type(call, 1)))


def _concat_types(call: Call, _: tuple[Types, ...]) -> Types:
    element = _element_type(_operand_type(call, 0))
    if not isinstance(element, TensorType) or element.shape is None:
        return (element,)
    rank, axis = len(element.shape), int(call.required_attr("axis"))
    if call.attr("new_axis", 0):
        position = axis % (rank + 1)
        return (
            TensorType(element.dtype, (*element.shape[:position], None, *element.shape[position:])),
        )
    return (TensorType(element.dtype, _open_axis(element.shape, axis % rank)),)


def _split_types(call: Call, _: tuple[Types, ...]) -> Types:
    kind = _operand_type(call, 0)
    if not isinstance(kind, TensorType) or kind.shape is None:
        return _sequence_of(kind)
    axis = call.axis(0)
    if call.has_operand(1) or call.attr("keepdims", 1):
        return _sequence_of(TensorType(kind.dtype, _open_axis(kind.shape, axis)))
    return _sequence_of(TensorType(kind.dtype, (*kind.shape[:axis], *kind.shape[axis + 1 :])))


def _open_axis(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], None, *shape[axis + 1 :])


def _optional_types(call: Call, _: tuple[Types, ...]) -> Types:
    stated = call.attrs.get("type")
    element = _operand_type(call, 0) if call.has_operand(0) else cast("ValueType | None", stated)
    return (None if element is None else OptionalType(element),)


def _get_element_types(call: Call, _: tuple[Types, ...]) -> Types:
    kind = _operand_type(call, 0)
    return (kind.element if isinstance(kind, OptionalType) else kind,)


def _map_types(call: Call, body_types: tuple[Types, ...]) -> Types:
    return tuple(None if t is None else SequenceType(t) for t in body_types[0])


def _constant_type(kind: ValueType) -> TypesRule:
    return lambda call, _: (kind,)


SEQUENCE = make_table(
    Op("SequenceConstruct", types=_construct_types),
    Op("SequenceEmpty", types=_empty_types),
    Op("SequenceInsert", types=_insert_types),
    Op("SequenceErase", types=lambda call, _: (_operand_type(call, 0),)),
    Op("SequenceAt", types=lambda call, _: (_element_type(_operand_type(call, 0)),)),
    Op("SequenceLength", types=_constant_type(TensorType(DType.I64, ()))),
    Op("SequenceMap", types=_map_types),
    Op("ConcatFromSequence", types=_concat_types),
    Op("SplitToSequence", types=_split_types),
    Op("Optional", types=_optional_types),
    Op("OptionalHasElement", types=_constant_type(TensorType(DType.BOOL, ()))),
    Op("OptionalGetElement", types=_get_element_types),
)
