"""Graph -> GraphProto, as the graph stands: its forms must be those of the opset given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

from slimc.io.decode import DOC
from slimc.io.schemas import EmptyList, schema_of
from slimc.io.tensors import write_tensor
from slimc.io.value_types import denote, write_type
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

    stubs: tensors to write in place of constants. The metadata of the graph itself are the model's.
    """
    proto = GraphProto(name=graph.name or "graph")
    _note(proto, {DOC: graph.doc} if graph.doc else {})
    for name, constant in graph.constants.items():
        tensor = stubs[name] if name in stubs else write_tensor(name, constant)
        _note(tensor, graph.notes.get(name, {}))
        proto.initializer.append(tensor)
    proto.node.extend(_node(node, opset, stubs) for node in graph.nodes)
    proto.input.extend(_info(graph, v) for v in graph.inputs)
    proto.output.extend(_info(graph, v) for v in graph.outputs)
    ends = {*graph.inputs, *graph.outputs}
    made = (o for node in graph.nodes for o in node.outputs if o and o not in ends)
    proto.value_info.extend(_info(graph, v) for v in made if v in graph.types or v in graph.notes)
    return proto


def _info(graph: Graph, value: str) -> ValueInfoProto:
    info = ValueInfoProto(name=value)
    kind = graph.type_of(value)
    if kind is not None:
        info.type.CopyFrom(write_type(kind))
    if value not in graph.constants:
        notes = graph.notes.get(value, {})
        _note(info, {k: text for k, text in notes.items() if not denote(info.type, k, text)})
    return info


def _note(proto: Any, notes: Mapping[str, str]) -> None:
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
    _note(proto, node.notes)

    def body(graph: Graph) -> GraphProto:
        made = encode(graph, opset, stubs)
        _note(made, graph.metadata)
        return made

    schema = schema_of(node, opset)
    known = schema.attributes if schema is not None else {}
    for key, value in node.attrs.items():
        stated = int(known[key].type) if key in known else None
        proto.attribute.append(_attribute(key, value, stated, body))
    return proto


def _attribute(
    key: str, value: Attr, stated: int | None, body: Callable[[Graph], GraphProto]
) -> AttributeProto:
    """Make an attribute. `stated`: its kind in the schema, which decides 1 or 1.0, and []."""
    proto = AttributeProto(name=key)
    items = value if isinstance(value, tuple) else (value,)
    letter = _letter(items, stated)
    plain = [_plain(item, letter, body) for item in items]
    one, many = next((one, many) for _, one, many, s in _KINDS if s == letter)
    if isinstance(value, tuple):
        proto.type = many
        getattr(proto, _PLURAL[letter]).extend(plain)
        return proto
    proto.type = one
    if letter in ("i", "f", "s"):
        setattr(proto, letter, plain[0])
    else:
        getattr(proto, letter).CopyFrom(plain[0])
    return proto


def _letter(values: tuple[Attr, ...], stated: int | None) -> str:
    for _, one, many, letter in _KINDS:
        if stated in (one, many):
            return letter
    if not values:
        kind = values.kind if isinstance(values, EmptyList) else AttributeProto.INTS
        return next(letter for _, _, many, letter in _KINDS if many == kind)
    found = [next(s for types, _, _, s in _KINDS if isinstance(v, types)) for v in values]
    return "f" if set(found) == {"i", "f"} else found[0]


def _plain(value: Any, letter: str, body: Callable[[Graph], GraphProto]) -> Any:
    if letter == "i":
        return int(value)
    if letter == "f":
        return float(value)
    if letter == "s":
        return value.encode() if isinstance(value, str) else value
    if letter == "t":
        return write_tensor("", value)
    return body(value) if letter == "g" else write_type(value)


def all_types(proto: GraphProto) -> Iterable[ValueInfoProto]:
    """Yield the stated types of a graph and its bodies."""
    yield from proto.value_info
    yield from proto.output
    yield from proto.input
    for node in proto.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from all_types(attribute.g)
            for body in attribute.graphs:
                yield from all_types(body)
