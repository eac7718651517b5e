"""Hash of the content of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import to_text


def digest(graph: Graph) -> str:
    """Return the SHA-256 of a graph: its text and the elements of all constants.

    Origins of nodes do not count. Float attributes count with six digits.
    """
    hasher = sha256(to_text(graph, "short").encode())
    for constant in _constants(graph):
        array = np.ascontiguousarray(constant.array).reshape(-1)
        objects = array.dtype.hasobject
        hasher.update(repr(array.tolist()).encode() if objects else array.view(np.uint8).data)
    return hasher.hexdigest()


def _constants(graph: Graph) -> Iterator[Constant]:
    yield from graph.constants.values()
    for node in graph.nodes:
        for body in node.bodies:
            yield from _constants(body)
