"""The sizes of inputs that no one gave: for counting, and for made-up samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from slimc.analysis.cost import measure
from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.passes.canonical.bind_inputs import with_sizes
from slimc.remarks import GraphSize


def made_up_samples(graph: Graph, seed: int = 0) -> Data:
    """Make up samples of usual sizes."""
    return Data.synthesize(graph, default_sizes(graph), seed)


def at_sizes_of(graph: Graph, other: Graph) -> Graph:
    """Return a graph with the sizes of inputs that it leaves open and another fixes.

    What is counted or run of both is then the same. A size that `other` fixes at several numbers
    stays open.
    """
    numbers: dict[str, set[int]] = {}
    for value in graph.inputs:
        shapes = graph.shape_of(value) or (), other.shape_of(value) or ()
        for size, number in zip(*shapes, strict=False):
            if isinstance(size, str) and isinstance(number, int):
                numbers.setdefault(size, set()).add(number)
    return with_sizes(graph, {name: min(n) for name, n in numbers.items() if len(n) == 1})


def sizes_of_a_sample(graph: Graph, known: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return a number for every named size of the inputs: 1 for a leading one, which is the batch.

    known: numbers that samples gave for other names.
    """
    sizes = {**default_sizes(graph), **(known or {})}
    for value in graph.inputs:
        shape = graph.shape_of(value)
        if shape and isinstance(shape[0], str):
            sizes[shape[0]] = 1
    return sizes


def measure_sample(graph: Graph, ops: OpTable, known: Mapping[str, int] | None = None) -> GraphSize:
    """Measure a graph, its MACs for one sample.

    Where samples told how many come at once, other sizes may have that number too (a state per
    sample): MACs are then those of all of them, divided by their number.
    """
    leading = {
        shape[0]
        for value in graph.inputs
        if (shape := graph.shape_of(value)) and isinstance(shape[0], str)
    }
    batch = (known or {}).get(leading.pop(), 0) if len(leading) == 1 else 0
    if not batch:
        return measure(graph, ops, sizes_of_a_sample(graph, known))
    found = measure(graph, ops, {**default_sizes(graph), **(known or {})})
    return replace(found, macs=round(found.macs / batch))
