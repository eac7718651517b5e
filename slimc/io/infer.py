"""Types of all values by ONNX shape inference, without moving weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import onnx
from onnx import shape_inference

from slimc.io.encode import encode, iterate_value_infos
from slimc.io.schemas import EmptyList
from slimc.io.value_types import read_type
from slimc.ir.constant import Constant
from slimc.ir.editor import map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import Dim, OptionalType, SequenceType, TensorType, ValueType

_SMALL = 256  # elements; constants that shapes depend on are rarely longer
_MADE_UP = "unk__"  # prefix of the names that the inference gives to unknown sizes


def infer_types(graph: Graph, opset: int) -> Graph:
    """Return the graph with the types that follow from its inputs and constants.

    Where the inference fails, the types stay unchanged.
    """
    skeleton, hoisted = _without_weights(graph)
    types = dict(skeleton.types) | {name: constant.type for name, constant in hoisted.items()}
    skeleton = replace(skeleton, inputs=(*graph.inputs, *hoisted), types=types)
    imports = [onnx.helper.make_opsetid("", opset)]
    imports += [onnx.helper.make_opsetid(d, v) for d, v in graph.opsets.items()]
    model = onnx.ModelProto(
        ir_version=onnx.IR_VERSION, graph=encode(skeleton, opset, {}), opset_import=imports
    )
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError, TypeError):
        return graph
    inferred_types: dict[str, ValueType] = {}
    for info in iterate_value_infos(inferred.graph):
        kind = read_type(info.type, info.name)
        if kind is not None:
            inferred_types.setdefault(info.name, kind)
    return _with_types(graph, inferred_types, set(_size_names(graph)))


def _without_weights(graph: Graph) -> tuple[Graph, dict[str, Constant]]:
    """Move long constants out of a graph and its bodies; names are unique, so none clash."""
    hoisted = {k: c for k, c in graph.constants.items() if c.array.size > _SMALL}
    short = {k: c for k, c in graph.constants.items() if k not in hoisted}

    def strip(body: Graph) -> Graph:
        stripped, inner = _without_weights(body)
        hoisted.update(inner)
        return stripped

    nodes = tuple(
        _strip_attrs(replace(n, attrs=map_bodies(n, strip), notes={})) for n in graph.nodes
    )
    return replace(graph, nodes=nodes, constants=short, notes={}), hoisted


def _strip_attrs(node: Node) -> Node:
    long = [k for k, v in node.attrs.items() if isinstance(v, Constant) and v.array.size > _SMALL]
    if not long or not node.domain:
        return node
    return replace(node, attrs={k: EmptyList() if k in long else v for k, v in node.attrs.items()})


def _with_types(graph: Graph, inferred: Mapping[str, ValueType], stated_names: set[str]) -> Graph:
    types = dict(graph.types)
    for value in (*graph.inputs, *graph.producers):
        if value in inferred:
            types[value] = _drop_invented(inferred[value], stated_names)
    nodes = tuple(
        replace(n, attrs=map_bodies(n, lambda body: _with_types(body, inferred, stated_names)))
        if n.bodies
        else n
        for n in graph.nodes
    )
    return replace(graph, types=types, nodes=nodes)


def _drop_invented(kind: ValueType, stated_names: set[str]) -> ValueType:
    """Replace names that the inference invented by None."""
    if isinstance(kind, TensorType) and kind.shape is not None:
        shape: tuple[Dim, ...] = tuple(
            None if isinstance(d, str) and d.startswith(_MADE_UP) and d not in stated_names else d
            for d in kind.shape
        )
        return TensorType(kind.dtype, shape)
    if isinstance(kind, (SequenceType, OptionalType)):
        return replace(kind, element=_drop_invented(kind.element, stated_names))
    return kind


def _size_names(graph: Graph) -> Iterator[str]:
    """Yield the named sizes that the graph states."""
    for kind in graph.types.values():
        if isinstance(kind, TensorType):
            yield from (d for d in kind.shape or () if isinstance(d, str))
    for node in graph.nodes:
        for body in node.bodies:
            yield from _size_names(body)
