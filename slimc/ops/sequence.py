"""Sequences and optional values. Their elements' axes lose no index."""

from __future__ import annotations

from typing import cast

from slimc.ir.types import DType, OptionalType, SequenceType, Shape, TensorType, ValueType
from slimc.ops.control import joined
from slimc.ops.op import Call, Op, Types, TypesRule, Unknown, table


def _operand(call: Call, i: int) -> ValueType | None:
    kind = call.types[i] if i < len(call.types) else None
    return None if isinstance(kind, Unknown) else kind


def _element(kind: ValueType | None) -> ValueType | None:
    return kind.element if isinstance(kind, (SequenceType, OptionalType)) else None


def _sequence(element: ValueType | None) -> Types:
    return (None if element is None else SequenceType(element),)


def _construct(call: Call, _: tuple[Types, ...]) -> Types:
    element = _operand(call, 0)
    for i in range(1, len(call.types)):
        element = joined(element, _operand(call, i))
    return _sequence(element)


def _empty(call: Call, _: tuple[Types, ...]) -> Types:
    return _sequence(TensorType(DType.of_code(call.attr("dtype", DType.F32.code)), None))


def _insert(call: Call, _: tuple[Types, ...]) -> Types:
    return _sequence(joined(_element(_operand(call, 0)), _operand(call, 1)))


def _concatenated(call: Call, _: tuple[Types, ...]) -> Types:
    element = _element(_operand(call, 0))
    if not isinstance(element, TensorType) or element.shape is None:
        return (element,)
    rank, axis = len(element.shape), int(call.needed("axis"))
    if call.attr("new_axis", 0):
        at = axis % (rank + 1)
        return (TensorType(element.dtype, (*element.shape[:at], None, *element.shape[at:])),)
    return (TensorType(element.dtype, _open(element.shape, axis % rank)),)


def _split(call: Call, _: tuple[Types, ...]) -> Types:
    kind = _operand(call, 0)
    if not isinstance(kind, TensorType) or kind.shape is None:
        return _sequence(kind)
    axis = call.axis(0)
    if call.present(1) or call.attr("keepdims", 1):
        return _sequence(TensorType(kind.dtype, _open(kind.shape, axis)))
    return _sequence(TensorType(kind.dtype, (*kind.shape[:axis], *kind.shape[axis + 1 :])))


def _open(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], None, *shape[axis + 1 :])


def _optional(call: Call, _: tuple[Types, ...]) -> Types:
    given = call.attrs.get("type")
    element = _operand(call, 0) if call.present(0) else cast("ValueType | None", given)
    return (None if element is None else OptionalType(element),)


def _present(call: Call, _: tuple[Types, ...]) -> Types:
    kind = _operand(call, 0)
    return (kind.element if isinstance(kind, OptionalType) else kind,)


def _mapped(call: Call, made: tuple[Types, ...]) -> Types:
    return tuple(None if t is None else SequenceType(t) for t in made[0])


def _always(kind: ValueType) -> TypesRule:
    return lambda call, _: (kind,)


SEQUENCE = table(
    Op("SequenceConstruct", types=_construct),
    Op("SequenceEmpty", types=_empty),
    Op("SequenceInsert", types=_insert),
    Op("SequenceErase", types=lambda call, _: (_operand(call, 0),)),
    Op("SequenceAt", types=lambda call, _: (_element(_operand(call, 0)),)),
    Op("SequenceLength", types=_always(TensorType(DType.I64, ()))),
    Op("SequenceMap", types=_mapped),
    Op("ConcatFromSequence", types=_concatenated),
    Op("SplitToSequence", types=_split),
    Op("Optional", types=_optional),
    Op("OptionalHasElement", types=_always(TensorType(DType.BOOL, ()))),
    Op("OptionalGetElement", types=_present),
)
