"""What ONNX says about an operator at an opset: attributes, operands, element types."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnx import AttributeProto, defs, helper

from slimc.ir.graph import OPSET, Attr, Node
from slimc.ir.types import DType, MapType, OptionalType, SequenceType, TensorType, ValueType


class EmptyList(tuple[Attr, ...]):
    """An empty list among attributes that remembers, as a file does, of what it is a list.

    kind: of AttributeProto.
    """

    kind: int = AttributeProto.INTS

    @classmethod
    def of(cls, kind: int) -> EmptyList:
        """Make the empty list of a kind."""
        made = cls()
        made.kind = kind
        return made


@cache
def find_schema(op: str, domain: str = "", opset: int = OPSET) -> Any:
    """Return the schema of an operator at an opset, or None."""
    try:
        found = defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        return None
    return None if found.deprecated else found


def schema_of(node: Node, opset: int) -> Any:
    """Return the schema of a node of the default domain at an opset, or None."""
    return find_schema(node.op, node.domain, opset) if not node.domain else None


@cache
def default_of(op: str, domain: str, attribute: str, opset: int = OPSET) -> Attr:
    """Return the default of an attribute, None where it has none."""
    schema = find_schema(op, domain, opset)
    if schema is None or attribute not in schema.attributes:
        return None
    default = schema.attributes[attribute].default_value
    if not default.name:
        return None
    value: Attr = helper.get_attribute_value(default)
    return tuple(value) if isinstance(value, list) else value


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
    d: {DType.F32: "float", DType.F64: "double", DType.C64: "complex64", DType.C128: "complex128"}
    .get(d, helper.tensor_dtype_to_string(d.code).removeprefix("TensorProto.").lower())
    for d in DType
}  # fmt: skip
