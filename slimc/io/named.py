"""Model files in which every node has a unique name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from slimc.io.tensors import DataFiles


def copy_with_names(file: Path, folder: Path) -> Path:
    """Return a file whose nodes have unique names: `file` itself, or a copy in `folder`.

    A node without a name gets that of its first result, as in `io.read`; a name that is in use gets
    a numbered suffix. Data files in the folder of the model are linked into `folder`, and nowhere
    else. Error: external-data.
    """
    model = onnx.load_model(str(file), load_external_data=False)
    used = {node.name for node in _nodes(model.graph)}
    seen: set[str] = set()
    last: dict[str, int] = {}  # last suffix per name
    changed = False
    for node in _nodes(model.graph):
        base = node.name or next((value for value in node.output if value), node.op_type)
        name = base
        while name in seen or (name in used and name != node.name):
            last[base] = last.get(base, 0) + 1
            name = f"{base}_{last[base]}"
        changed = changed or name != node.name
        node.name = name
        seen.add(name)
    if not changed:
        return file
    _link_data_files(model.graph, file.parent, folder)
    copy = folder / file.name
    copy.write_bytes(model.SerializeToString())
    return copy


def _link_data_files(graph: GraphProto, home: Path, folder: Path) -> None:
    """Link the data files of a graph's tensors into a folder, and update their locations."""
    files = DataFiles(home)
    for tensor in _tensors(graph):
        if not uses_external_data(tensor):
            continue
        path = files.resolve(ExternalDataInfo(tensor).location, f"tensor '{tensor.name}'")
        location = path.relative_to(home.resolve()).as_posix()
        _link_file(path, folder / location)
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location


def _link_file(source: Path, place: Path) -> None:
    """Hard-link a file; copy it where that is impossible."""
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
    """Yield the tensors of a graph and its bodies: initializers and attributes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for body in (attribute.g, *attribute.graphs):
                yield from _tensors(body)
