"""Model files in which every node has a name of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from slimc.io.tensors import DataFiles


def named_copy(file: Path, folder: Path) -> Path:
    """Return a file that `io.read` reads, or a copy in `folder` that differs in names of nodes.

    A node without a name gets that of the first value it makes, as `io.read` calls it; one whose
    name is taken gets a number behind it. Data files in its folder are linked, and none else is:
    wherever a tensor says they lie, links stay in `folder`. Error: external-data.
    """
    model = onnx.load_model(str(file), load_external_data=False)
    taken = {node.name for node in _nodes(model.graph)}
    seen: set[str] = set()
    last: dict[str, int] = {}  # numbers behind names, as far as they are taken
    changed = False
    for node in _nodes(model.graph):
        wanted = node.name or next((value for value in node.output if value), node.op_type)
        name = wanted
        while name in seen or (name in taken and name != node.name):
            last[wanted] = last.get(wanted, 0) + 1
            name = f"{wanted}_{last[wanted]}"
        changed = changed or name != node.name
        node.name = name
        seen.add(name)
    if not changed:
        return file
    _take_along(model.graph, file.parent, folder)
    copy = folder / file.name
    copy.write_bytes(model.SerializeToString())
    return copy


def _take_along(graph: GraphProto, home: Path, folder: Path) -> None:
    """Link the data files of a graph's tensors into a folder, and say where they lie there."""
    files = DataFiles(home)
    for tensor in _tensors(graph):
        if not uses_external_data(tensor):
            continue
        path = files.inside(ExternalDataInfo(tensor).location, f"tensor '{tensor.name}'")
        location = path.relative_to(home.resolve()).as_posix()
        _link(path, folder / location)
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location


def _link(source: Path, place: Path) -> None:
    """Put a file in a place too, without its bytes where that can be."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # another file system
        shutil.copyfile(source, place)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _nodes(body)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield what a graph and its bodies store: initializers, and tensors among attributes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for body in (attribute.g, *attribute.graphs):
                yield from _tensors(body)
