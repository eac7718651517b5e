"""Element types that ONNX allows for operands and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimc.io.schemas import schema_of, type_text
from slimc.ir.graph import OPSET, Node
from slimc.ir.types import DType, TensorType, ValueType


def accepts_dtype(
    node: Node, dtype: DType, opset: int = OPSET
) -> tuple[tuple[bool, ...], tuple[bool, ...]] | None:
    """Return for each operand and each result of a node whether it may be a tensor of `dtype`.

    None if the operator has no schema.
    """
    schema = schema_of(node, opset)
    if schema is None:
        return None
    text = type_text(TensorType(dtype, None))
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}

    def accepted(formals: Any, count: int) -> tuple[bool, ...]:
        last = len(formals) - 1
        kinds = [formals[min(i, last)].type_str if formals else "" for i in range(count)]
        return tuple(text in allowed.get(kind, [kind]) for kind in kinds)

    return accepted(schema.inputs, len(node.inputs)), accepted(schema.outputs, len(node.outputs))


def find_unequal_types(node: Node, types: Mapping[str, ValueType]) -> str:
    """Name two operands that must have one type but do not; empty if there are none."""
    schema = schema_of(node, OPSET)
    if schema is None or not schema.inputs:
        return ""
    bound = {c.type_param_str for c in schema.type_constraints}
    first: dict[str, tuple[str, TensorType]] = {}
    for i, value in enumerate(node.inputs):
        formal, kind = schema.inputs[min(i, len(schema.inputs) - 1)], types.get(value)
        if formal.type_str not in bound or not formal.is_homogeneous:
            continue
        if not value or not isinstance(kind, TensorType):
            continue
        other, other_type = first.setdefault(formal.type_str, (value, kind))
        if other_type.dtype is not kind.dtype:
            return f"'{other}' {other_type.dtype.text}, '{value}' {kind.dtype.text}"
    return ""
