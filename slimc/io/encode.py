"""Graph -> GraphProto, without conversion: the graph must be in the forms of the opset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

from slimc.io.decode import DOC
from slimc.io.schemas import EmptyList, schema_of
from slimc.io.tensors import write_tensor
from slimc.io.value_types import write_denotation, write_type
from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Graph, Node

_KINDS: tuple[tuple[type | tuple[type, ...], Any, Any, str], ...] = (
    ((bool, int, np.integer), AttributeProto.INT, AttributeProto.INTS, "i"),
    ((float, np.floating), AttributeProto.FLOAT, AttributeProto.FLOATS, "f"),
    ((bytes, str), AttributeProto.STRING, AttributeProto.STRINGS, "s"),
    (Constant, AttributeProto.TENSOR, AttributeProto.TENSORS, "t"),
    (Graph, AttributeProto.GRAPH, AttributeProto.GRAPHS, "g"),
    (object, AttributeProto.TYPE_PROTO, AttributeProto.TYPE_PROTOS, "tp"),
)
_PLURAL = {"i": "ints", "f": "floats", "s": "strings", "t": "tensors", "g": "graphs",
           "tp": "type_protos"}  # fmt: skip


def encode(graph: Graph, opset: int, stubs: Mapping[str, TensorProto]) -> GraphProto:
    """Make the proto of a graph with all its bodies, types and notes.

    stubs: tensors to write instead of constants. The metadata of the graph belongs to the model.
    """
    proto = GraphProto(name=graph.name or "graph")
    _write_notes(proto, {DOC: graph.doc} if graph.doc else {})
    for name, constant in graph.constants.items():
        tensor = stubs[name] if name in stubs else write_tensor(name, constant)
        _write_notes(tensor, graph.notes.get(name, {}))
        proto.initializer.append(tensor)
    proto.node.extend(_node(node, opset, stubs) for node in graph.nodes)
    proto.input.extend(_value_info(graph, v) for v in graph.inputs)
    proto.output.extend(_value_info(graph, v) for v in graph.outputs)
    ends = {*graph.inputs, *graph.outputs}
    results = (o for node in graph.nodes for o in node.outputs if o and o not in ends)
    proto.value_info.extend(
        _value_info(graph, v) for v in results if v in graph.types or v in graph.notes
    )
    return proto


def _value_info(graph: Graph, value: str) -> ValueInfoProto:
    info = ValueInfoProto(name=value)
    kind = graph.type_of(value)
    if kind is not None:
        info.type.CopyFrom(write_type(kind))
    if value not in graph.constants:
        notes = graph.notes.get(value, {})
        _write_notes(
            info, {k: text for k, text in notes.items() if not write_denotation(info.type, k, text)}
        )
    return info


def _write_notes(proto: Any, notes: Mapping[str, str]) -> None:
    for key, text in notes.items():
        if key == DOC:
            proto.doc_string = text
        else:
            proto.metadata_props.add(key=key, value=text)


def _node(node: Node, opset: int, stubs: Mapping[str, TensorProto]) -> NodeProto:
    proto = NodeProto(
        op_type=node.op,
        domain=node.domain,
        name=node.name,
        input=node.inputs,
        output=node.outputs,
    )
    _write_notes(proto, node.notes)

    def body(graph: Graph) -> GraphProto:
        encoded = encode(graph, opset, stubs)
        _write_notes(encoded, graph.metadata)
        return encoded

    schema = schema_of(node, opset)
    known = schema.attributes if schema is not None else {}
    for key, value in node.attrs.items():
        stated = int(known[key].type) if key in known else None
        proto.attribute.append(_attribute(key, value, stated, body))
    return proto


def _attribute(
    key: str, value: Attr, stated: int | None, body: Callable[[Graph], GraphProto]
) -> AttributeProto:
    """Make an attribute. stated: its type in the schema, which decides 1 or 1.0, and []."""
    proto = AttributeProto(name=key)
    items = value if isinstance(value, tuple) else (value,)
    letter = _field_letter(items, stated)
    plain = [_field_value(item, letter, body) for item in items]
    singular, plural = next((singular, plural) for _, singular, plural, s in _KINDS if s == letter)
    if isinstance(value, tuple):
        proto.type = plural
        getattr(proto, _PLURAL[letter]).extend(plain)
        return proto
    proto.type = singular
    if letter in ("i", "f", "s"):
        setattr(proto, letter, plain[0])
    else:
        getattr(proto, letter).CopyFrom(plain[0])
    return proto


def _field_letter(values: tuple[Attr, ...], stated: int | None) -> str:
    for _, singular, plural, letter in _KINDS:
        if stated in (singular, plural):
            return letter
    if not values:
        kind = values.kind if isinstance(values, EmptyList) else AttributeProto.INTS
        return next(letter for _, _, plural, letter in _KINDS if plural == kind)
    letters = [next(s for types, _, _, s in _KINDS if isinstance(v, types)) for v in values]
    return "f" if set(letters) == {"i", "f"} else letters[0]


def _field_value(value: Any, letter: str, body: Callable[[Graph], GraphProto]) -> Any:
    if letter == "i":
        return int(value)
    if letter == "f":
        return float(value)
    if letter == "s":
        return value.encode() if isinstance(value, str) else value
    if letter == "t":
        return write_tensor("", value)
    return body(value) if letter == "g" else write_type(value)


def iterate_value_infos(proto: GraphProto) -> Iterable[ValueInfoProto]:
    """Yield the typed values of a graph and its bodies."""
    yield from proto.value_info
    yield from proto.output
    yield from proto.input
    for node in proto.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from iterate_value_infos(attribute.g)
            for body in attribute.graphs:
                yield from iterate_value_infos(body)
