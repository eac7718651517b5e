"""Model files in which every node has a name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto
from onnx.external_data_helper import uses_external_data


def named_copy(file: Path, folder: Path) -> Path:
    """Return a file that reads, or a copy of it in `folder` that differs in names of nodes alone.

    A node without a name gets that of the first value it makes, as `io.read` calls it; one whose
    name is taken gets a number behind it. A file with data files beside it stays where it is.
    """
    model = onnx.load_model(str(file), load_external_data=False)
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        return file
    taken = {node.name for node in _nodes(model.graph)}
    seen: set[str] = set()
    changed = False
    for node in _nodes(model.graph):
        wanted = node.name or next((value for value in node.output if value), node.op_type)
        name, number = wanted, 0
        while name in seen or (name in taken and name != node.name):
            number += 1
            name = f"{wanted}_{number}"
        changed = changed or name != node.name
        node.name = name
        seen.add(name)
    if not changed:
        return file
    copy = folder / file.name
    onnx.save_model(model, str(copy))
    return copy


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _nodes(body)
