"""Probe nodes, which compute what calibration needs of a value: extremes, or some elements.

onnxruntime keeps images in a blocked layout from convolution to convolution, and a pooling reads
this layout directly: so the largest element of an image is that of its GlobalMaxPool. Other
reductions reorder the image first, which costs as much as a cheap layer.
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

LARGEST_STEP = 1 << 14  # between sampled elements: 1024 out of 2**24
_FLOATS = TensorType(DType.F32, None)
_COUNT = TensorType(DType.I64, ())
_IMAGE = 4  # axes


@dataclass(frozen=True)
class Probe:
    """Names of the graph outputs that probe a value; empty: not probed."""

    value: str
    """The probed value."""
    total: str = ""
    """The sum: finite where all elements are (unless it overflows)."""
    high: str = ""
    """The largest element."""
    low: str = ""
    """The smallest element."""
    elements: str = ""
    """A sample of the elements."""

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.total, self.high, self.low, self.elements) if name)


def add_probes(
    graph: Graph,
    values: Sequence[str],
    sampled: Collection[str],
    per_feed: int,
    lower_bounds: Mapping[str, float],
) -> tuple[Graph, list[Probe]]:
    """Add probes of the values, and make them the outputs of the graph.

    sampled: values of which some `per_feed` elements of each feed are read instead of the extremes;
    lower_bounds: of clamped values, whose sum and low end are not read.
    """
    editor = Editor(graph)
    probes = []
    primes = editor.add_constant(_primes(LARGEST_STEP), "primes") if sampled else ""
    for value in values:
        source = _add_cast(editor, graph, value)
        axes = _inner_axes(editor, graph, value)
        total = "" if value in lower_bounds else _add_reduction(editor, "ReduceSum", source, axes)
        if value in sampled:
            elements = _add_sampling(editor, source, per_feed, primes)
            probes.append(Probe(value, total, elements=elements))
            continue
        high = _add_maximum(editor, graph, value, source, axes)
        low = "" if value in lower_bounds else _add_reduction(editor, "ReduceMin", source, axes)
        probes.append(Probe(value, total, high, low))
    outputs = tuple(name for probe in probes for name in probe.outputs)
    probed = editor.finish(keep_dead=True)
    return Editor(replace(probed, outputs=outputs)).finish(), probes


def _add_cast(editor: Editor, graph: Graph, value: str) -> str:
    if graph.dtype_of(value) in (None, DType.F32):
        return value
    return editor.add("Cast", [value], attrs={"to": DType.F32.code}, types=[_FLOATS])[0]


def _inner_axes(editor: Editor, graph: Graph, value: str) -> list[str]:
    """Return the inner axes: onnxruntime has parallel kernels to reduce these, and not all axes."""
    rank = graph.rank_of(value)
    if not rank:
        return []
    return [editor.add_constant(np.arange(rank - max(1, rank - 2), rank), "axes")]


def _add_reduction(editor: Editor, kind: str, source: str, axes: list[str]) -> str:
    return editor.add(kind, [source, *axes], attrs={"keepdims": 0}, types=[_FLOATS])[0]


def _add_maximum(editor: Editor, graph: Graph, value: str, source: str, axes: list[str]) -> str:
    if graph.rank_of(value) == _IMAGE and source == value and value in graph.producers:
        return editor.add("GlobalMaxPool", [value], types=[_FLOATS])[0]
    return _add_reduction(editor, "ReduceMax", source, axes)


def _add_sampling(editor: Editor, source: str, per_feed: int, primes: str) -> str:
    """Sample every n-th element of the flattened value: n = 1, or a prime >= size / per_feed.

    A prime divides few axis sizes. The graph itself computes n: sizes may differ by feed.
    """
    size = editor.add("Size", [source], types=[_COUNT])[0]
    index = editor.add("Div", [size, _add_number(editor, per_feed)], types=[_COUNT])[0]
    index = editor.add("Min", [index, _add_number(editor, LARGEST_STEP - 1)], types=[_COUNT])[0]
    step = editor.add("Gather", [primes, index], types=[_COUNT])[0]
    line = TensorType(DType.I64, (1,))
    flat_shape = editor.add_constant(np.array([-1]), "flat")
    step = editor.add("Reshape", [step, flat_shape], types=[line])[0]
    flat = editor.add("Reshape", [source, flat_shape], types=[_FLOATS])[0]
    bounds = [editor.add_constant(np.array([n]), "slice") for n in (0, np.iinfo(np.int64).max, 0)]
    return editor.add("Slice", [flat, *bounds, step], types=[_FLOATS])[0]


def _add_number(editor: Editor, number: int) -> str:
    return editor.add_constant(np.array(number, np.int64), "number")


def _primes(count: int) -> Ints:
    """Return, at index n, the least number above n that is 1 or a prime."""
    sieve = np.ones(2 * count, bool)  # there is a prime between n and 2 n
    sieve[0] = False
    for number in range(2, int((2 * count) ** 0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    known = np.flatnonzero(sieve)
    return known[np.searchsorted(known, np.arange(count), "right")]


def lower_bounds(graph: Graph, ops: OpTable, facts: Facts) -> dict[str, float]:
    """Return the lower bound of every value that a clamp of the top graph produces (a Relu: 0)."""
    bounds_of = {}
    for node in graph.nodes:
        if (bounds := clamp_bounds(graph, ops, facts, node)) is not None:
            bounds_of[node.outputs[0]] = bounds[0]
    return bounds_of
