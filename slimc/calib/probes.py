"""Nodes behind values that compute what calibration reads of them: extremes, or some elements.

onnxruntime keeps images in a blocked layout from convolution to convolution, and a pooling reads
it as it lies: so the largest element of an image is that of its GlobalMaxPool. Other reductions
first put it in order, which costs as much as a cheap layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimc.analysis.shapes import Facts, clamp_bounds
from slimc.ir.arrays import Ints
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable

LARGEST_STEP = 1 << 14  # between elements that are taken: 2**24 of 1024
_FLOATS = TensorType(DType.F32, None)
_COUNT = TensorType(DType.I64, ())
_IMAGE = 4  # axes


@dataclass(frozen=True)
class Probe:
    """Names of what is read of a value; empty: not read.

    total: the sum, which is finite where all elements are (or an overflow); high, low: the
    extremes; elements: of some.
    """

    value: str
    total: str = ""
    high: str = ""
    low: str = ""
    elements: str = ""

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.total, self.high, self.low, self.elements) if name)


def with_probes(
    graph: Graph,
    values: Sequence[str],
    sampled: Collection[str],
    per_feed: int,
    floors: Mapping[str, float],
) -> tuple[Graph, list[Probe]]:
    """Make what is read of the values the outputs of the graph.

    sampled: values of which elements are read, some `per_feed` of each feed, and not the extremes;
    floors: values that are clamped, and the least number that they can be: the sum and the low end
    of these are not read.
    """
    editor = Editor(graph)
    probes = []
    primes = editor.add_constant(_primes(LARGEST_STEP), "primes") if sampled else ""
    for value in values:
        source = _as_float(editor, graph, value)
        axes = _inner_axes(editor, graph, value)
        total = "" if value in floors else _reduced(editor, "ReduceSum", source, axes)
        if value in sampled:
            elements = _every(editor, source, per_feed, primes)
            probes.append(Probe(value, total, elements=elements))
            continue
        high = _highest(editor, graph, value, source, axes)
        low = "" if value in floors else _reduced(editor, "ReduceMin", source, axes)
        probes.append(Probe(value, total, high, low))
    outputs = tuple(name for probe in probes for name in probe.outputs)
    made = editor.done(keep_dead=True)
    return Editor(replace(made, outputs=outputs)).done(), probes


def _as_float(editor: Editor, graph: Graph, value: str) -> str:
    if graph.dtype_of(value) in (None, DType.F32):
        return value
    return editor.add("Cast", [value], attrs={"to": DType.F32.code}, types=[_FLOATS])[0]


def _inner_axes(editor: Editor, graph: Graph, value: str) -> list[str]:
    """Reduce inner axes only: onnxruntime has parallel kernels for that, and not for all axes."""
    rank = graph.rank_of(value)
    if not rank:
        return []
    return [editor.add_constant(np.arange(rank - max(1, rank - 2), rank), "axes")]


def _reduced(editor: Editor, kind: str, source: str, axes: list[str]) -> str:
    return editor.add(kind, [source, *axes], attrs={"keepdims": 0}, types=[_FLOATS])[0]


def _highest(editor: Editor, graph: Graph, value: str, source: str, axes: list[str]) -> str:
    if graph.rank_of(value) == _IMAGE and source == value and value in graph.producers:
        return editor.add("GlobalMaxPool", [value], types=[_FLOATS])[0]
    return _reduced(editor, "ReduceMax", source, axes)


def _every(editor: Editor, source: str, per_feed: int, primes: str) -> str:
    """Take every n-th element of the flattened value: n = 1, or a prime of size / per_feed or more.

    A prime falls in with few axis sizes. The graph itself computes it: sizes may differ by feed.
    """
    size = editor.add("Size", [source], types=[_COUNT])[0]
    at = editor.add("Div", [size, _number(editor, per_feed)], types=[_COUNT])[0]
    at = editor.add("Min", [at, _number(editor, LARGEST_STEP - 1)], types=[_COUNT])[0]
    step = editor.add("Gather", [primes, at], types=[_COUNT])[0]
    line = TensorType(DType.I64, (1,))
    whole = editor.add_constant(np.array([-1]), "flat")
    step = editor.add("Reshape", [step, whole], types=[line])[0]
    flat = editor.add("Reshape", [source, whole], types=[_FLOATS])[0]
    bounds = [editor.add_constant(np.array([n]), "slice") for n in (0, np.iinfo(np.int64).max, 0)]
    return editor.add("Slice", [flat, *bounds, step], types=[_FLOATS])[0]


def _number(editor: Editor, number: int) -> str:
    return editor.add_constant(np.array(number, np.int64), "number")


def _primes(count: int) -> Ints:
    """Return at n: the least number above n that is 1 or a prime."""
    sieve = np.ones(2 * count, bool)  # there is a prime between n and 2 n
    sieve[0] = False
    for number in range(2, int((2 * count) ** 0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    known = np.flatnonzero(sieve)
    return known[np.searchsorted(known, np.arange(count), "right")]


def floors(graph: Graph, ops: OpTable, facts: Facts) -> dict[str, float]:
    """Return the lower bound of every value that a clamp of the top graph makes (a Relu: 0)."""
    found = {}
    for node in graph.nodes:
        if (bounds := clamp_bounds(graph, ops, facts, node)) is not None:
            found[node.outputs[0]] = bounds[0]
    return found
