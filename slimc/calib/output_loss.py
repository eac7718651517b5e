"""What is measured of a cut graph, and on which samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import Any

import numpy as np

from slimc.analysis.cost import macs
from slimc.analysis.coupling import Coupling
from slimc.calib.data import Data
from slimc.calib.feeds import has_sample_axis, samples_of, specs_of
from slimc.calib.held_out import held_out
from slimc.errors import SlimcError
from slimc.execute.ort import Feed, Session
from slimc.ir.arrays import Floats, Ints
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Quant

SAMPLES = 64  # that are run for a point, unless their cost or size is beyond the bounds below
LEAST = 4  # samples of a model however large: one alone may be unusual
MACS_PER_POINT = 8 << 30  # a point of a large model then takes about as long as its loading
HELD_BYTES = 512 << 20  # inputs and outputs of all samples, which are kept
LIVE_BYTES = 1 << 30  # values of one run, if none were let go before its end
WORST = 1e3  # a larger error says no more: the outputs are nothing like they were

Loss = Callable[[Graph], float]
Load = Callable[[Graph], Session]
Run = Callable[[Mapping[str, np.ndarray]], list[Any]]
Metric = Callable[[Run], float]


def evaluation_feeds(coupling: Coupling, data: Data, limit: int = 0) -> tuple[Feed, ...]:
    """Return the first samples of the data, in feeds that are small enough to run.

    limit: samples to take; 0: `SAMPLES`, or as many as cost `MACS_PER_POINT` (`LEAST` at least).
    Feeds are cut, and runs are short enough for `LIVE_BYTES`, where all inputs share a named
    leading axis; other feeds are taken whole. Raises SlimcError "calib-missing".
    """
    if next(iter(data), None) is None:
        raise SlimcError("calib-missing", f"{data.title} gives no samples")
    graph = coupling.opened.whole
    shapes = [coupling.facts.shape(value) for value in graph.inputs]
    several = next((max(1, shape[0]) for shape in shapes if shape), 1)  # samples of the facts
    cost = sum(macs(coupling.graph, coupling.ops, coupling.facts).values()) / several
    affordable = max(LEAST, int(MACS_PER_POINT / cost)) if cost else SAMPLES
    held = sum(_size_bytes(coupling, v) for v in (*graph.inputs, *graph.outputs)) / several
    wanted = limit or min(SAMPLES, affordable, max(1, int(HELD_BYTES / max(held, 1))))
    live = sum(_size_bytes(coupling, v) for v in graph.producers) / several
    batch = max(1, min(wanted, int(LIVE_BYTES / max(live, 1))))
    return tuple(_cut(data.first_samples(wanted), graph, wanted, batch))


def _size_bytes(coupling: Coupling, value: str) -> int:
    """Return the bytes of a value, 0 where its size is not known."""
    dtype, shape = coupling.facts.dtype_of(value), coupling.facts.shape(value)
    if shape is None or dtype is None or dtype is DType.STRING:
        return 0
    return prod(shape) * dtype.numpy.itemsize


def _cut(data: Data, graph: Graph, wanted: int, batch: int) -> Iterator[Feed]:
    """Yield feeds of at most `batch` samples, `wanted` in all, where feeds can be cut."""
    left = wanted
    for feed in data:
        if not has_sample_axis(graph):
            yield feed
            continue
        there = min(left, samples_of(specs_of(feed), graph))
        for start in range(0, there, batch):
            yield {name: array[start : min(start + batch, there)] for name, array in feed.items()}
        left -= there


@dataclass(frozen=True, eq=False)
class OutputError:
    """The relative squared error of the floating outputs against those of the original graph.

    error = sum over outputs, mean over the parts p of an output, of
            ||y_p - y0_p||^2 / ||y0_p - mean(y0_p)||^2

    Norms are over all samples, mean(y0_p) is one number. An output that is a concatenation has the
    operands as parts (boxes in pixels beside scores in 0..1), any other is one part. 0: nothing
    changed; 1: as far off as the mean would be. A part that does not vary counts by ||y0_p||^2
    instead, or by its size if it is zero. Errors above `WORST`, and outputs that are not finite or
    of another shape, are `WORST`. load: how a graph is run.
    """

    feeds: tuple[Feed, ...]
    wanted: tuple[Mapping[str, Any], ...]
    labels: tuple[Mapping[str, Ints], ...]  # of a feed: output -> part of each element
    scale: Mapping[str, float]  # part -> 1 / (its energy times the parts of its output)
    load: Load = Session

    @classmethod
    def of(cls, coupling: Coupling, feeds: Sequence[Feed]) -> OutputError:
        """Run the original graph. Raises SlimcError "no-float-output"."""
        graph = coupling.opened.whole
        found = {output: _parts(coupling, output) for output in graph.outputs}
        found = {output: parts for output, parts in found.items() if parts}
        if not found:
            raise SlimcError(
                "no-float-output",
                "no output is a tensor of floats, so there is no error to measure",
                f"outputs {', '.join(graph.outputs)}",
                "give a score of your own: sensitivity --score FILE; or prune{compare=score}",
            )
        names = tuple(dict.fromkeys(part for parts in found.values() for part in parts))
        session = Session(graph, list(dict.fromkeys((*found, *names))))
        results = [session.run(feed) for feed in feeds]
        scale = dict.fromkeys(names, 0.0)
        for parts in found.values():
            for part in parts:
                scale[part] += 1 / (_energy([one[part] for one in results]) * len(parts))
        labels: list[dict[str, np.ndarray]] = [{} for _ in feeds]
        for output, parts in found.items():
            for one, feed, result in zip(labels, feeds, results, strict=True):
                one[output] = _labels(graph, output, parts, names, {**feed, **result})
        wanted = tuple({output: one[output] for output in found} for one in results)
        return cls(tuple(feeds), wanted, tuple(labels), scale)

    def __call__(self, graph: Graph) -> float:
        """Return the error of a graph."""
        session = self.load(graph)
        scales = np.array(list(self.scale.values()))
        error = 0.0
        for feed, wanted, labels in zip(self.feeds, self.wanted, self.labels, strict=True):
            got = session.run(feed)
            for output, array in wanted.items():
                squares = _squares(array, got[output])
                error += float((scales[labels[output]] * squares).sum())
        return min(error, WORST) if isfinite(error) else WORST


def _labels(
    graph: Graph, output: str, parts: Sequence[str], names: Sequence[str], values: Feed
) -> Ints:
    """Return the number among `names` of the part that each element of an output comes from.

    The nodes between only move elements: they are run on numbers instead. One part: one number.
    """
    if len(parts) == 1:
        return np.array(names.index(parts[0]))
    between: dict[str, Node] = {}
    wanted = [output]
    for value in wanted:
        node = graph.producers.get(value)
        if value not in parts and node is not None and node.name not in between:
            between[node.name] = node
            wanted += node.reads
    nodes = tuple(node for node in graph.nodes if node.name in between)
    kinds = {v: TensorType(DType.of_numpy(values[v].dtype), values[v].shape) for v in parts}
    tail = replace(graph, inputs=(*graph.inputs, *parts), outputs=(output,), nodes=nodes)
    tail = replace(tail, types={**graph.types, **kinds})
    feed = {name: values[name] for name in graph.inputs}
    for part in parts:
        feed[part] = np.full_like(values[part], names.index(part))
    found: np.ndarray = Session(Editor(tail).done()).run(feed)[output]
    return found.astype(np.int64)


def unseen_error(coupling: Coupling, data: Data, samples: int, limit: int = 0) -> OutputError:
    """Return the error on those of the first samples that no moments are summed of.

    limit: as of `evaluation_feeds`. Whole feeds where the graph takes no part of one.
    """
    try:
        return OutputError.of(coupling, evaluation_feeds(coupling, held_out(data, samples), limit))
    except SlimcError as error:
        if error.name != "run-failed":
            raise
    return OutputError.of(coupling, tuple(data.first_samples(limit or SAMPLES)))


@dataclass(frozen=True)
class MetricLoss:
    """The loss of a metric, where higher is better: that of the original graph less a graph's own.

    load: how a graph is run.
    """

    metric: Metric
    baseline: float
    load: Load = Session

    @classmethod
    def of(cls, graph: Graph, metric: Metric) -> MetricLoss:
        """Score the original. Raises SlimcError "bad-metric".

        That is where the metric raises, or its result is no finite number.
        """
        return cls(metric, _score(Session(graph), metric))

    def __call__(self, graph: Graph) -> float:
        """Return what a graph loses. Raises SlimcError "bad-metric"."""
        return self.baseline - _score(self.load(graph), self.metric)


def _score(session: Session, metric: Metric) -> float:
    def run(feed: Mapping[str, np.ndarray]) -> list[Any]:
        return list(session.run(feed).values())

    try:
        found = float(metric(run))
    except SlimcError:
        raise
    except Exception as broken:  # the user's own code may raise anything
        raise _bad_metric(f"it raised {type(broken).__name__}: {broken}") from broken
    if not isfinite(found):
        raise _bad_metric(f"it returned {found}, not a finite number")
    return found


def _bad_metric(message: str) -> SlimcError:
    return SlimcError(
        "bad-metric",
        message,
        "option --score",
        "def score(run) -> float: run(feed) gives the list of outputs; higher is better",
    )


def _parts(coupling: Coupling, value: str) -> tuple[str, ...]:
    """Return the floating values whose elements an output joins, itself if it joins none."""
    graph = coupling.opened.whole
    node = graph.producers.get(value)
    bound = coupling.facts.bounds.get(node.name) if node is not None else None
    if node is not None and bound is not None:
        computed = [v for v in node.inputs if v in graph.producers]
        joins = any(len(terms) > 1 for axes in bound.outputs for terms in axes or ())
        moves = len(computed) == 1 and coupling.ops.quant(node) is Quant.PASS_THROUGH
        whole = _elements(coupling, (value,)) == _elements(coupling, computed)
        if whole and (joins or moves):
            parts = tuple(part for v in computed for part in _parts(coupling, v))
            if joins or len(parts) > 1:
                return parts
    return (value,) if coupling.facts.is_float(value) else ()


def _elements(coupling: Coupling, values: Iterable[str]) -> int:
    return sum(prod(coupling.facts.shape(value) or (0,)) for value in values)


def _energy(arrays: Sequence[np.ndarray]) -> float:
    """Return ||y - mean(y)||^2 over all arrays, of their finite elements."""
    count = sum(array.size for array in arrays)
    finite = [_finite(array) for array in arrays]
    mean = sum(float(one.sum()) for one in finite) / max(1, count)
    varying = sum(float(np.square(one - mean).sum()) for one in finite)
    return varying or sum(float(np.square(one).sum()) for one in finite) or float(max(1, count))


def _finite(array: np.ndarray) -> Floats:
    wide = array.astype(np.float64)
    return np.where(np.isfinite(wide), wide, 0.0)


def _squares(wanted: np.ndarray, got: np.ndarray) -> Floats:
    """Return (got - wanted)^2; infinite where shapes, or what is not finite, differ."""
    if wanted.shape != got.shape:
        return np.array(np.inf)
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    apart = np.subtract(a, b, where=finite & ~same, out=np.zeros_like(a))
    return np.where(finite | same, np.square(apart), np.inf)
