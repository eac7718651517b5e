"""Schemas of ONNX operators per opset: attributes, operands, element types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from onnx import AttributeProto, defs, helper

from slimc.ir.constant import Constant
from slimc.ir.graph import OPSET, Attr, Graph, Node
from slimc.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, ValueType


class EmptyList(tuple[Attr, ...]):
    """An empty list attribute that keeps its type, as a file does."""

    kind: int = AttributeProto.INTS
    """Attribute type of AttributeProto."""

    @classmethod
    def of(cls, kind: int) -> EmptyList:
        """Make the empty list of an attribute type."""
        empty = cls()
        empty.kind = kind
        return empty


@cache
def find_schema(op: str, opset: int) -> Any:
    """Return the schema of an operator of the default domain at an opset, or None."""
    try:
        schema = defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def schema_of(node: Node, opset: int = OPSET) -> Any:
    """Return the schema of a node at an opset; None if it has none or another domain."""
    return None if node.domain else find_schema(node.op, opset)


@cache
def default_of(op: str, attribute: str) -> Attr:
    """Return the default of an attribute in the IR's opset, None where it has none."""
    schema = find_schema(op, OPSET)
    if schema is None or attribute not in schema.attributes:
        return None
    default = schema.attributes[attribute].default_value
    if not default.name:
        return None
    value: Attr = helper.get_attribute_value(default)
    return tuple(value) if isinstance(value, list) else value


def misfit(node: Node, opset: int, types: Mapping[str, ValueType]) -> str:
    """Return why a node is invalid in a file of this opset; empty if it is valid."""
    newest, schema = schema_of(node), schema_of(node, opset)
    if newest is None or (schema and schema.since_version == newest.since_version):
        return ""
    if schema is None:
        came = defs.get_schema(node.op, OPSET, "").since_version
        first = next(v for v in range(opset, came + 1) if find_schema(node.op, v))
        return f"the operator came with opset {first}"
    for key in node.attrs:
        if key not in schema.attributes:
            return f"its attribute '{key}' came with a later opset"
    return _operand_misfit("operand", node.inputs, schema.inputs, types) or _operand_misfit(
        "result", node.outputs, schema.outputs, types
    )


def find_violation(node: Node, types: Mapping[str, ValueType]) -> str:
    """Return how a node violates its ONNX schema; empty if it does not, or has no schema."""
    schema = schema_of(node)
    if schema is None:
        return ""
    for key, attr in schema.attributes.items():
        if attr.required and key not in node.attrs:
            return f"it lacks attribute '{key}'"
        if key in node.attrs and not _is_of_kind(node.attrs[key], attr.type):
            return f"its attribute '{key}' has the wrong type"
    return _operand_violation(
        "operand", node.inputs, schema.inputs, (schema.min_input, schema.max_input), types
    ) or _operand_violation(
        "result", node.outputs, schema.outputs, (schema.min_output, schema.max_output), types
    )


_KINDS: Mapping[Any, tuple[type, ...]] = {
    defs.OpSchema.AttrType.INT: (int,),
    defs.OpSchema.AttrType.FLOAT: (int, float),
    defs.OpSchema.AttrType.STRING: (bytes,),
    defs.OpSchema.AttrType.TENSOR: (Constant,),
    defs.OpSchema.AttrType.GRAPH: (Graph,),
}
_LISTS: Mapping[Any, tuple[type, ...]] = {
    defs.OpSchema.AttrType.INTS: (int,),
    defs.OpSchema.AttrType.FLOATS: (int, float),
    defs.OpSchema.AttrType.STRINGS: (bytes,),
}


def _is_of_kind(value: Attr, kind: Any) -> bool:
    """Return whether an attribute has a type; True for types that are not checked."""
    if kind in _LISTS:
        return isinstance(value, tuple) and all(
            isinstance(element, _LISTS[kind]) for element in value
        )
    return kind not in _KINDS or isinstance(value, _KINDS[kind])


def _operand_violation(
    word: str,
    values: tuple[str, ...],
    formal: Any,
    allowed: tuple[int, int],
    types: Mapping[str, ValueType],
) -> str:
    least, most = allowed
    if not least <= len(values) <= most:
        takes = f"at least {least}" if len(values) < least else f"at most {most}"
        return f"it has {len(values)} {word}s, but ONNX allows {takes}"
    for i, value in enumerate(values):
        parameter = formal[min(i, len(formal) - 1)]
        if not value and parameter.option == defs.OpSchema.FormalParameterOption.Single:
            return f"it lacks {word} {i}, '{parameter.name}'"
        text = type_text(types.get(value))
        if value and text is not None and parameter.types and text not in parameter.types:
            return f"its {word} '{value}' is {types[value]}, which ONNX does not allow there"
    return ""


def _operand_misfit(
    word: str, values: tuple[str, ...], formal: Any, types: Mapping[str, ValueType]
) -> str:
    for i, value in enumerate(values):
        if not value:
            continue
        if i >= len(formal) and not (formal and _is_variadic(formal[-1])):
            return f"its {word} {i} came with a later opset"
        allowed = formal[min(i, len(formal) - 1)].types
        text = type_text(types.get(value))
        if text is not None and allowed and text not in allowed:
            return f"its {word} '{value}' of type {types[value]} came with a later opset"
    for i, parameter in enumerate(formal):
        needed = parameter.option == defs.OpSchema.FormalParameterOption.Single
        if needed and (i >= len(values) or not values[i]):
            return f"it lacks {word} {i}, '{parameter.name}'"
    return ""


def _is_variadic(formal: Any) -> bool:
    return bool(formal.option == defs.OpSchema.FormalParameterOption.Variadic)


def type_text(kind: ValueType | None) -> str | None:
    """Return a type as schemas write it, such as `seq(tensor(float))`; None if not known."""
    if isinstance(kind, TensorType):
        return f"tensor({_NAMES[kind.dtype]})"
    if isinstance(kind, SequenceType):
        return f"seq({type_text(kind.element)})"
    if isinstance(kind, OptionalType):
        return f"optional({type_text(kind.element)})"
    if isinstance(kind, MapType):
        return f"map({_NAMES[kind.key]}, {type_text(kind.value)})"
    return None


_NAMES = {
    dtype: helper.tensor_dtype_to_string(dtype.code).removeprefix("TensorProto.").lower()
    for dtype in DType
}  # fmt: skip
