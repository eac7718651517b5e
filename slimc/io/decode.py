"""GraphProto -> Graph: names become unique over all bodies, Constant nodes constants."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import AttributeProto, GraphProto, NodeProto, StringStringEntryProto, ValueInfoProto

from slimc.errors import SlimcError
from slimc.io.schemas import EmptyList
from slimc.io.tensors import DataFiles, read_sparse, read_tensor
from slimc.io.value_types import read_denotations, read_type
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import ValueType

DOC = ""  # key of the note that holds a doc string

_LISTS: dict[int, str] = {
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSORS: "tensors",
    AttributeProto.GRAPHS: "graphs",
    AttributeProto.TYPE_PROTOS: "type_protos",
}
_FIELDS: dict[int, str] = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
}


def decode(graph: GraphProto, folder: Path | None) -> Graph:
    """Make a graph from a proto. folder: of the model, where its data files are.

    Errors: value-undefined, value-twice, tensor-broken, external-data, type-unknown,
    attribute-unknown, unknown-fields, quantization-annotation, device-configuration.
    """
    return _Decoder(DataFiles(folder)).graph(graph, ChainMap())


def refuse_unknown_fields(message: Message, where: str) -> None:
    """Raise SlimcError "unknown-fields" if a newer ONNX wrote fields that would be lost."""
    if len(UnknownFieldSet(message)):
        raise SlimcError(
            "unknown-fields",
            "it has fields of a newer ONNX, which would be lost",
            where,
            "update the package onnx, or export for an older ONNX",
        )


def check_text(*texts: str | bytes) -> None:
    """Raise SlimcError "model-unreadable" if a name is not valid UTF-8: the file is damaged."""
    for text in texts:
        if isinstance(text, bytes):
            raise SlimcError("model-unreadable", f"the name {text!r} is not valid UTF-8")


Scope = MutableMapping[str, str]  # name in the file -> name in the graph


class _Decoder:
    def __init__(self, files: DataFiles) -> None:
        self._files = files
        self._values: set[str] = set()
        self._nodes: set[str] = set()
        self._suffixes: dict[str, int] = {}

    def graph(self, proto: GraphProto, outer: ChainMap[str, str]) -> Graph:
        where = f"graph '{proto.name}'"
        refuse_unknown_fields(proto, where)
        check_text(proto.name, proto.doc_string)
        if proto.quantization_annotation:
            raise SlimcError(
                "quantization-annotation",
                "its quantization annotations are not supported; Q/DQ nodes are",
                where,
                "delete graph.quantization_annotation if nothing needs it",
            )
        scope = outer.new_child(self._name_values(proto))
        constants = self._constants(proto, scope)
        nodes: list[Node] = []
        for node in proto.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                constants[scope[node.output[0]]] = self._constant(node, scope)
            else:
                nodes.append(self._node(node, scope))
        inputs = tuple(scope[i.name] for i in proto.input if scope[i.name] not in constants)
        infos = (*proto.value_info, *proto.output, *proto.input)
        graph = Graph(
            proto.name,
            inputs,
            tuple(_lookup(scope, o.name, f"the outputs of {where}") for o in proto.output),
            tuple(nodes),
            constants,
            dict(_value_types(infos, scope, constants)),
            metadata=read_entries(proto.metadata_props),
            doc=proto.doc_string,
            notes=_value_notes(proto, infos, scope),
        )
        return graph if _is_sorted(graph) else _sort(graph)

    def _name_values(self, proto: GraphProto) -> dict[str, str]:
        """Give every value of this graph a name that no other graph or body uses."""
        names: dict[str, str] = {}
        initial = [t.name for t in proto.initializer]
        initial += [t.values.name for t in proto.sparse_initializer]
        inputs = [i.name for i in proto.input if i.name not in set(initial)]
        for name in (*initial, *inputs, *(o for n in proto.node for o in n.output if o)):
            if name in names:
                raise SlimcError("value-twice", f"the value '{name}' is defined twice", proto.name)
            check_text(name)
            names[name] = self._make_unique(name, self._values)
        return names

    def _make_unique(self, name: str, used: set[str]) -> str:
        unique = name
        while unique in used:
            self._suffixes[name] = self._suffixes.get(name, 0) + 1
            unique = f"{name}_{self._suffixes[name]}"
        used.add(unique)
        return unique

    def _constants(self, proto: GraphProto, scope: Scope) -> dict[str, Constant]:
        constants = {}
        for tensor in proto.initializer:
            refuse_unknown_fields(tensor, f"tensor '{tensor.name}'")
            constants[scope[tensor.name]] = read_tensor(tensor, self._files)
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            constants[scope[name]] = read_sparse(sparse, self._files, f"tensor '{name}'")
        return constants

    def _constant(self, node: NodeProto, scope: ChainMap[str, str]) -> Constant:
        where = f"Constant '{node.name or node.output[0]}'"
        if len(node.attribute) != 1:
            raise SlimcError("attribute-unknown", "it needs exactly one attribute", where)
        value = self._attr(node.attribute[0], scope, where)
        if isinstance(value, Constant):
            return value
        kind = node.attribute[0].name.removeprefix("value_").removesuffix("s")
        if kind == "string":
            values = value if isinstance(value, tuple) else (value,)
            array = np.empty(len(values), object)
            array[:] = [v.decode() for v in values]
            return Constant(array if isinstance(value, tuple) else array.reshape(()))
        return Constant(np.array(value, np.int64 if kind == "int" else np.float32))

    def _node(self, proto: NodeProto, scope: ChainMap[str, str]) -> Node:
        first = next((o for o in proto.output if o), proto.op_type)
        where = f"node '{proto.name or first}' ({proto.op_type})"
        refuse_unknown_fields(proto, where)
        if proto.device_configurations:
            message = "its device configuration (multi-device) is not supported"
            raise SlimcError("device-configuration", message, where)
        name = self._make_unique(proto.name or scope.get(first, first), self._nodes)
        check_text(proto.op_type, proto.domain, proto.name, *(a.name for a in proto.attribute))
        return Node(
            proto.op_type,
            tuple(_lookup(scope, i, where) if i else "" for i in proto.input),
            tuple(scope[o] if o else "" for o in proto.output),
            name,
            {a.name: self._attr(a, scope, where) for a in proto.attribute},
            "" if proto.domain == "ai.onnx" else proto.domain,
            notes=_notes(proto),
        )

    def _attr(self, proto: AttributeProto, scope: ChainMap[str, str], where: str) -> Attr:
        refuse_unknown_fields(proto, where)
        kind = proto.type or _kind_of_old_file(proto)
        if proto.ref_attr_name or (kind not in _LISTS and kind not in _FIELDS):
            message = f"its attribute '{proto.name}' has a type that is not supported"
            raise SlimcError("attribute-unknown", message, where)
        if kind in _FIELDS:
            return self._item(getattr(proto, _FIELDS[kind]), scope, where)
        items = getattr(proto, _LISTS[kind])
        return tuple(self._item(v, scope, where) for v in items) or EmptyList.of(kind)

    def _item(self, value: Any, scope: ChainMap[str, str], where: str) -> Attr:
        name = value.DESCRIPTOR.name if isinstance(value, Message) else ""
        if name == "GraphProto":
            return self.graph(value, scope)
        if name == "TensorProto":
            return read_tensor(value, self._files, where)
        if name == "SparseTensorProto":
            return read_sparse(value, self._files, where)
        if name == "TypeProto":
            kind = read_type(value, where)
            if kind is None:
                raise SlimcError("type-unknown", "a type among its attributes is incomplete", where)
            return kind
        plain: Attr = value
        return plain


def _kind_of_old_file(proto: AttributeProto) -> int:
    """Return the type of an attribute that does not state it (IR version 1)."""
    for kind, name in _FIELDS.items():
        if proto.HasField(name):
            return kind
    return next((kind for kind, name in _LISTS.items() if len(getattr(proto, name))), 0)


def _lookup(scope: Scope, name: str, where: str) -> str:
    try:
        return scope[name]
    except KeyError:
        raise SlimcError("value-undefined", f"the value '{name}' is not defined", where) from None


def _value_types(
    infos: Iterable[ValueInfoProto], scope: Scope, constants: Mapping[str, Constant]
) -> Iterable[tuple[str, ValueType]]:
    for info in infos:
        name = scope.get(info.name)
        kind = read_type(info.type, f"value '{info.name}'")
        if name is not None and name not in constants and kind is not None:
            yield name, kind


def read_entries(entries: Iterable[StringStringEntryProto]) -> dict[str, str]:
    """Return metadata as a dictionary. Error: model-unreadable."""
    metadata = {entry.key: entry.value for entry in entries}
    check_text(*metadata, *metadata.values())
    return metadata


def _notes(proto: Any) -> dict[str, str]:
    """Return the metadata of a node, a value or a tensor, and its doc string."""
    notes = read_entries(proto.metadata_props)
    check_text(proto.doc_string)
    return notes | ({DOC: proto.doc_string} if proto.doc_string else {})


def _value_notes(
    proto: GraphProto, infos: Iterable[ValueInfoProto], scope: Scope
) -> dict[str, dict[str, str]]:
    notes_by_value: dict[str, dict[str, str]] = {}
    for info in infos:
        notes = dict(read_denotations(info.type)) | _notes(info)
        if notes and info.name in scope:
            notes_by_value[scope[info.name]] = notes
    for tensor in proto.initializer:
        if notes := _notes(tensor):
            notes_by_value[scope[tensor.name]] = notes
    return notes_by_value


def _is_sorted(graph: Graph) -> bool:
    undefined = set(graph.producers)
    for node in graph.nodes:
        if not undefined.isdisjoint(node.reads):
            return False
        undefined.difference_update(node.outputs)
    return True


def _sort(graph: Graph) -> Graph:
    editor = Editor(graph)
    editor.changed = True
    try:
        return editor.finish(keep_dead=True)
    except ValueError as cycle:
        raise SlimcError("graph-cycle", str(cycle), f"graph '{graph.name}'") from cycle
