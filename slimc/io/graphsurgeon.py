"""Graph <-> onnx_graphsurgeon.Graph: existing GraphSurgeon scripts run on our graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from slimc.errors import SlimcError
from slimc.io.read import from_model, read
from slimc.io.write import to_model
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Form, Graph, Node
from slimc.ir.types import MapType, OptionalType, SequenceType, TensorType, ValueType

Script = Callable[[Any], Any]  # changes a gs.Graph in place, or returns another


def to_surgeon(graph: Graph) -> Any:
    """Make a gs.Graph in the lowest opset from 17 that expresses the graph.

    Error: surgeon-drops, naming the node or value that it would lose.
    """
    _refuse_drops(graph)
    return gs.import_onnx(to_model(graph))


def from_surgeon(surgeon: Any, before: Graph | None = None) -> Graph:
    """Make a graph from a gs.Graph.

    before: the graph that the gs.Graph was made from; what GraphSurgeon does not carry (metadata,
    notes, origins, integer marks, the form) is copied from it, by name.
    """
    graph = from_model(gs.export_onnx(surgeon, do_type_check=False))
    if before is None:
        return graph
    values = {*graph.inputs, *graph.constants, *graph.producers}
    graph = replace(
        _carry_over(graph, before),
        metadata=before.metadata,
        doc=before.doc,
        form=before.form,
        target=before.target,
        records={value: r for value, r in before.records.items() if value in values},
    )
    if before.form is Form.IMPORTED:
        return graph
    editor = Editor(graph)
    editor.changed = True
    return editor.finish()


def wrap_script(script: Script) -> Callable[[Graph], Graph]:
    """Make a function Graph -> Graph from a script that changes, or returns, a gs.Graph."""

    def run(graph: Graph) -> Graph:
        surgeon = to_surgeon(graph)
        returned = script(surgeon)
        return from_surgeon(returned if isinstance(returned, gs.Graph) else surgeon, graph)

    return run


def edit_file(script: Script, source: Path, destination: Path) -> None:
    """Run a script on a model file, in the opset of the file, and write its result.

    Errors: surgeon-drops, and those of `read`.
    """
    _refuse_drops(read(source))
    model = onnx.load(source)
    surgeon = gs.import_onnx(model)
    returned = script(surgeon)
    changed = returned if isinstance(returned, gs.Graph) else surgeon
    exported = gs.export_onnx(changed, do_type_check=False)
    exported.metadata_props.extend(model.metadata_props)
    destination.write_bytes(exported.SerializeToString(deterministic=True))


def _carry_over(graph: Graph, before: Graph) -> Graph:
    """Copy by name what GraphSurgeon does not carry, in bodies too.

    That is notes, origins, the order of constants, and constants that nothing reads. Types of outer
    values, which GraphSurgeon states in bodies, are dropped.
    """
    own = {*graph.inputs, *graph.producers}
    read_before = {*before.outputs, *(v for node in before.nodes for v in node.reads)}
    order = {
        k: graph.constants.get(k, c)
        for k, c in before.constants.items()
        if k in graph.constants or k not in read_before | own
    }
    return replace(
        graph,
        nodes=tuple(_restore_node(node, before.by_name.get(node.name)) for node in graph.nodes),
        constants={**order, **graph.constants},
        types={value: kind for value, kind in graph.types.items() if value in own},
        notes=before.notes,
    )


def _restore_node(node: Node, before: Node | None) -> Node:
    if before is None or before.kind != node.kind:
        return node
    attrs = {key: _restore_body(value, before.attrs.get(key)) for key, value in node.attrs.items()}
    return replace(
        node, attrs=attrs, notes=before.notes, origin=before.origin, integer=before.integer
    )


def _restore_body(value: Attr, before: Attr) -> Attr:
    if isinstance(value, Graph) and isinstance(before, Graph):
        return _carry_over(value, before)
    return value


def _refuse_drops(graph: Graph) -> None:
    for lost in _find_drops(graph):
        raise SlimcError(
            "surgeon-drops",
            f"GraphSurgeon would drop {lost}",
            f"graph '{graph.name}'",
            "write it as a slimc pass instead: docs/custom_pass.md",
        )


def _find_drops(graph: Graph) -> Iterator[str]:
    for name, kind in graph.types.items():
        if not _carries_type(kind):
            yield f"the type {kind} of value '{name}'"
    for node in graph.nodes:
        for key, value in node.attrs.items():
            if not _carries_attribute(value):
                yield f"the attribute '{key}' of node '{node.name}' ({node.op})"
        for body in node.bodies:
            yield from _find_drops(body)


def _carries_type(kind: ValueType) -> bool:
    if isinstance(kind, SequenceType):
        return not isinstance(kind.element, (SequenceType, OptionalType, MapType))
    return not isinstance(kind, (OptionalType, MapType))


def _carries_attribute(value: Attr) -> bool:
    if isinstance(value, tuple):
        compound = any(isinstance(v, (Constant, Graph)) for v in value)
        return bool(value) and not compound and all(map(_carries_attribute, value))
    if isinstance(value, bytes):
        return _is_text(value)
    return not isinstance(value, (TensorType, SequenceType, OptionalType, MapType))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
