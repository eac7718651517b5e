"""Expansion of operators that ONNX defines as functions of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnx import ModelProto, helper, inliner

from slimc.io.decode import decode
from slimc.io.encode import encode
from slimc.io.infer import infer_types
from slimc.io.schemas import default_of, schema_of
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import ValueType


def expand_function(node: Node, types: Mapping[str, ValueType]) -> Graph | None:
    """Return the body of the ONNX function of a node, a graph from its operands to its results.

    Exact up to rounding. None if the operator is not a function, if types that it depends on are
    unknown, or if operands that the function needs are absent.
    """
    schema = schema_of(node)
    if schema is None or not (schema.has_function or schema.has_context_dependent_function):
        return None
    inputs = tuple(dict.fromkeys(i for i in node.inputs if i))
    outputs = tuple(o for o in node.outputs if o)
    known = {v: types[v] for v in (*inputs, *outputs) if v in types}
    if any(i not in known for i in inputs) or node.bodies:
        return None
    attrs = {key: default_of(node.op, key) for key in schema.attributes} | dict(node.attrs)
    spelled = replace(node, attrs={k: v for k, v in attrs.items() if v is not None})
    call = Graph("call", inputs, outputs, (spelled,), types=known)
    model = ModelProto(ir_version=helper.VERSION_TABLE[-1][1], graph=encode(call, OPSET, {}))
    model.opset_import.append(helper.make_opsetid("", OPSET))
    try:
        inlined = inliner.inline_selected_functions(model, [("", node.op)], False, True)
    except RuntimeError:
        return None
    body = infer_types(decode(inlined.graph, None), OPSET)
    if any(inner.kind == node.kind or inner.bodies for inner in body.nodes):
        return None
    return body
