"""Losses of a changed graph, and the samples that they are measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any

import numpy as np

from slimc.analysis.cost import macs
from slimc.analysis.coupling import Coupling
from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, has_sample_axis, specs_of
from slimc.calib.held_out import select_held_out
from slimc.errors import SlimcError
from slimc.execute.ort import Feed, Session
from slimc.ir.arrays import Floats, Ints
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Quant

SAMPLES = 64  # per point, unless cost or size exceed the bounds below
LEAST_SAMPLES = 4  # samples of even the largest model: a single one may be unusual
MACS_PER_POINT = 8 << 30  # a point of a large model then takes about as long as loading it
KEPT_BYTES = 512 << 20  # of the inputs and outputs of all samples, which are kept
LIVE_BYTES = 1 << 30  # of the values of one run, if none were freed before its end
WORST = 1e3  # larger errors say no more: the outputs are unrelated to the original ones

Loss = Callable[[Graph], float]
Load = Callable[[Graph], Session]
Run = Callable[[Mapping[str, np.ndarray]], list[Any]]
Metric = Callable[[Run], float]


def evaluation_feeds(coupling: Coupling, data: Data, limit: int = 0) -> tuple[Feed, ...]:
    """Return the first samples of the data, in feeds that are small enough to run.

    limit: number of samples; 0: `SAMPLES`, or as many as cost `MACS_PER_POINT` (`LEAST_SAMPLES` at
    least). Where all inputs share a named leading axis, feeds are split so that a run fits
    `LIVE_BYTES`; other feeds stay whole. Raises SlimcError "calib-missing".
    """
    if next(iter(data), None) is None:
        raise SlimcError("calib-missing", f"{data.title} yields no samples")
    graph = coupling.opened.whole
    shapes = [coupling.facts.shape(value) for value in graph.inputs]
    facts_samples = next((max(1, shape[0]) for shape in shapes if shape), 1)  # samples of the facts
    cost = sum(macs(coupling.graph, coupling.ops, coupling.facts).values()) / facts_samples
    affordable = max(LEAST_SAMPLES, int(MACS_PER_POINT / cost)) if cost else SAMPLES
    kept_bytes = (
        sum(_size_bytes(coupling, v) for v in (*graph.inputs, *graph.outputs)) / facts_samples
    )
    count = limit or min(SAMPLES, affordable, max(1, int(KEPT_BYTES / max(kept_bytes, 1))))
    live_bytes = sum(_size_bytes(coupling, v) for v in graph.producers) / facts_samples
    batch = max(1, min(count, int(LIVE_BYTES / max(live_bytes, 1))))
    return tuple(_split_feeds(data.first_samples(count), graph, count, batch))


def _size_bytes(coupling: Coupling, value: str) -> int:
    """Return the bytes of a value, 0 where its size is not known."""
    dtype, shape = coupling.facts.dtype_of(value), coupling.facts.shape(value)
    if shape is None or dtype is None or dtype is DType.STRING:
        return 0
    return prod(shape) * dtype.numpy.itemsize


def _split_feeds(data: Data, graph: Graph, count: int, batch: int) -> Iterator[Feed]:
    """Yield feeds of at most `batch` samples, `count` in all, where feeds can be split."""
    remaining = count
    for feed in data:
        if not has_sample_axis(graph):
            yield feed
            continue
        stop = min(remaining, count_samples(specs_of(feed), graph))
        for start in range(0, stop, batch):
            yield {name: array[start : min(start + batch, stop)] for name, array in feed.items()}
        remaining -= stop


@dataclass(frozen=True, eq=False)
class OutputError:
    """Relative squared error of the floating outputs against those of the original graph.

        error = sum over outputs, mean over the parts p of an output, of
                ||y_p - y0_p||^2 / ||y0_p - mean(y0_p)||^2

    Norms are over all samples, mean(y0_p) is one number. An output that is a concatenation has the
    operands as parts (boxes in pixels next to scores in 0..1), any other is one part. 0: nothing
    changed; 1: as far off as the mean. A part that does not vary is measured against ||y0_p||^2
    instead, or against its size if it is zero. Errors above `WORST`, and outputs that are not
    finite or of another shape, are `WORST`.
    """

    feeds: tuple[Feed, ...]
    expected: tuple[Mapping[str, Any], ...]
    """Outputs of the original graph, per feed."""
    labels: tuple[Mapping[str, Ints], ...]  # of a feed: output -> part of each element
    scale: Mapping[str, float]  # part -> 1 / (its energy times the parts of its output)
    load: Load = Session
    """Prepares a graph to be run."""

    @classmethod
    def of(cls, coupling: Coupling, feeds: Sequence[Feed]) -> OutputError:
        """Run the original graph. Raises SlimcError "no-float-output"."""
        graph = coupling.opened.whole
        parts_of = {output: _concatenated_parts(coupling, output) for output in graph.outputs}
        parts_of = {output: parts for output, parts in parts_of.items() if parts}
        if not parts_of:
            raise SlimcError(
                "no-float-output",
                "no output is a tensor of floats, so there is no error to measure",
                f"outputs {', '.join(graph.outputs)}",
                "give a score of your own: sensitivity --score FILE; or prune{compare=score}",
            )
        names = tuple(dict.fromkeys(part for parts in parts_of.values() for part in parts))
        session = Session(graph, list(dict.fromkeys((*parts_of, *names))))
        results = [session.run(feed) for feed in feeds]
        scale = dict.fromkeys(names, 0.0)
        for parts in parts_of.values():
            for part in parts:
                scale[part] += 1 / (_energy([result[part] for result in results]) * len(parts))
        labels: list[dict[str, np.ndarray]] = [{} for _ in feeds]
        for output, parts in parts_of.items():
            for feed_labels, feed, result in zip(labels, feeds, results, strict=True):
                feed_labels[output] = _part_labels(graph, output, parts, names, {**feed, **result})
        expected = tuple({output: result[output] for output in parts_of} for result in results)
        return cls(tuple(feeds), expected, tuple(labels), scale)

    def __call__(self, graph: Graph) -> float:
        """Return the error of a graph."""
        session = self.load(graph)
        scales = np.array(list(self.scale.values()))
        error = 0.0
        for feed, expected, labels in zip(self.feeds, self.expected, self.labels, strict=True):
            outputs = session.run(feed)
            for output, array in expected.items():
                squares = _squared_errors(array, outputs[output])
                error += float((scales[labels[output]] * squares).sum())
        return min(error, WORST) if isfinite(error) else WORST


def _part_labels(
    graph: Graph, output: str, parts: Sequence[str], names: Sequence[str], values: Feed
) -> Ints:
    """Return the index in `names` of the part that each element of an output comes from.

    The nodes in between only move elements: they are run on indices instead. One part: one index.
    """
    if len(parts) == 1:
        return np.array(names.index(parts[0]))
    between: dict[str, Node] = {}
    pending = [output]
    for value in pending:
        node = graph.producers.get(value)
        if value not in parts and node is not None and node.name not in between:
            between[node.name] = node
            pending += node.reads
    nodes = tuple(node for node in graph.nodes if node.name in between)
    kinds = {v: TensorType(DType.of_numpy(values[v].dtype), values[v].shape) for v in parts}
    tail = replace(graph, inputs=(*graph.inputs, *parts), outputs=(output,), nodes=nodes)
    tail = replace(tail, types={**graph.types, **kinds})
    feed = {name: values[name] for name in graph.inputs}
    for part in parts:
        feed[part] = np.full_like(values[part], names.index(part))
    labels: np.ndarray = Session(Editor(tail).finish()).run(feed)[output]
    return labels.astype(np.int64)


def held_out_error(coupling: Coupling, data: Data, samples: int, limit: int = 0) -> OutputError:
    """Return the error on the held-out samples among the first ones.

    limit: as in `evaluation_feeds`. Whole feeds where the graph accepts no part of one.
    """
    try:
        return OutputError.of(
            coupling, evaluation_feeds(coupling, select_held_out(data, samples), limit)
        )
    except SlimcError as error:
        if error.name != "run-failed":
            raise
    return OutputError.of(coupling, tuple(data.first_samples(limit or SAMPLES)))


@dataclass(frozen=True)
class MetricLoss:
    """Loss of a metric (higher is better): that of the original graph minus that of a graph."""

    metric: Metric
    """Computes the metric from a function that runs feeds."""
    baseline: float
    """Metric of the original graph."""
    load: Load = Session
    """Prepares a graph to be run."""

    @classmethod
    def of(cls, graph: Graph, metric: Metric) -> MetricLoss:
        """Evaluate the metric on the original graph. Raises SlimcError "bad-metric".

        That is where the metric raises, or its result is no finite number.
        """
        return cls(metric, _evaluate_metric(Session(graph), metric))

    def __call__(self, graph: Graph) -> float:
        """Return the loss of a graph. Raises SlimcError "bad-metric"."""
        return self.baseline - _evaluate_metric(self.load(graph), self.metric)


def _evaluate_metric(session: Session, metric: Metric) -> float:
    def run(feed: Mapping[str, np.ndarray]) -> list[Any]:
        return list(session.run(feed).values())

    try:
        value = float(metric(run))
    except SlimcError:
        raise
    except Exception as broken:  # the user's own code may raise anything
        raise _bad_metric_error(f"it raised {type(broken).__name__}: {broken}") from broken
    if not isfinite(value):
        raise _bad_metric_error(f"it returned {value}, not a finite number")
    return value


def _bad_metric_error(message: str) -> SlimcError:
    return SlimcError(
        "bad-metric",
        message,
        "option --score",
        "def score(run) -> float: run(feed) gives the list of outputs; higher is better",
    )


def _concatenated_parts(coupling: Coupling, value: str) -> tuple[str, ...]:
    """Return the floating values that an output concatenates, itself if it is no concatenation."""
    graph = coupling.opened.whole
    node = graph.producers.get(value)
    bound = coupling.facts.bounds.get(node.name) if node is not None else None
    if node is not None and bound is not None:
        computed = [v for v in node.inputs if v in graph.producers]
        joins = any(len(terms) > 1 for axes in bound.outputs for terms in axes or ())
        moves = len(computed) == 1 and coupling.ops.quant(node) is Quant.PASS_THROUGH
        same_size = _count_elements(coupling, (value,)) == _count_elements(coupling, computed)
        if same_size and (joins or moves):
            parts = tuple(part for v in computed for part in _concatenated_parts(coupling, v))
            if joins or len(parts) > 1:
                return parts
    return (value,) if coupling.facts.is_float(value) else ()


def _count_elements(coupling: Coupling, values: Iterable[str]) -> int:
    return sum(prod(coupling.facts.shape(value) or (0,)) for value in values)


def _energy(arrays: Sequence[np.ndarray]) -> float:
    """Return ||y - mean(y)||^2 over the finite elements of all arrays."""
    count = sum(array.size for array in arrays)
    finite = [_zero_nonfinite(array) for array in arrays]
    mean = sum(float(array.sum()) for array in finite) / max(1, count)
    varying = sum(float(np.square(array - mean).sum()) for array in finite)
    return varying or sum(float(np.square(array).sum()) for array in finite) or float(max(1, count))


def _zero_nonfinite(array: np.ndarray) -> Floats:
    wide = array.astype(np.float64)
    return np.where(np.isfinite(wide), wide, 0.0)


def _squared_errors(expected: np.ndarray, result: np.ndarray) -> Floats:
    """Return (result - expected)^2; infinite where shapes or non-finite elements differ."""
    if expected.shape != result.shape:
        return np.array(np.inf)
    a, b = expected.astype(np.float64), result.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    difference = np.subtract(a, b, where=finite & ~same, out=np.zeros_like(a))
    return np.where(finite | same, np.square(difference), np.inf)
