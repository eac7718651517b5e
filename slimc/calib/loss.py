"""What is measured of a cut graph, and on which samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from slimc.analysis.channels import Coupling, is_float
from slimc.analysis.cost import macs
from slimc.calib.data import Data
from slimc.calib.feeds import Feed, has_sample_axis, samples_of, specs_of
from slimc.calib.sampling import held_out
from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Quant

SAMPLES = 64  # that are run for a point, unless their cost or size is beyond the bounds below
LEAST = 4  # samples of a model however large: one alone may be unusual
MACS_PER_POINT = 8 << 30  # a point of a large model then takes about as long as its loading
HELD_BYTES = 512 << 20  # inputs and outputs of all samples, which are kept
LIVE_BYTES = 1 << 30  # values of one run, if none were let go before its end
WORST = 1e3  # a larger error says no more: the outputs are nothing like they were

Loss = Callable[[Graph], float]
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
    kind, shape = coupling.facts.types.get(value), coupling.facts.shape(value)
    if shape is None or not isinstance(kind, TensorType) or kind.dtype is DType.STRING:
        return 0
    return prod(shape) * kind.dtype.numpy.itemsize


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
    """The relative squared error of the floating outputs against those of the uncut graph.

    error = sum over outputs, mean over the parts p of an output, of
            ||y_p - y0_p||^2 / ||y0_p - mean(y0_p)||^2

    Norms are over all samples, mean(y0_p) is one number. An output that is a concatenation has the
    operands as parts (boxes in pixels beside scores in 0..1), any other is one part. 0: nothing
    changed; 1: as far off as the mean would be. A part that does not vary counts by ||y0_p||^2
    instead, or by its size if it is zero. Errors above `WORST`, and parts that are not finite or
    of another shape, are `WORST`.
    """

    feeds: tuple[Feed, ...]
    wanted: tuple[Mapping[str, Any], ...]
    scale: Mapping[str, float]  # part -> 1 / (its energy times the parts of its output)

    @classmethod
    def of(cls, coupling: Coupling, feeds: Sequence[Feed]) -> OutputError:
        """Run the uncut graph. Raises SlimcError "no-float-output"."""
        graph = coupling.opened.whole
        parts = {output: _parts(coupling, output) for output in graph.outputs}
        if not any(parts.values()):
            raise SlimcError(
                "no-float-output",
                "no output is a tensor of floats, so there is no error to measure",
                f"outputs {', '.join(graph.outputs)}",
                "give a score of your own: sensitivity --score FILE; or prune{compare=score}",
            )
        session = Session(graph, list(dict.fromkeys(p for found in parts.values() for p in found)))
        wanted = tuple(session.run(feed) for feed in feeds)
        scale = dict.fromkeys(session.outputs, 0.0)
        for found in parts.values():
            for part in found:
                scale[part] += 1 / (_energy([one[part] for one in wanted]) * len(found))
        return cls(tuple(feeds), wanted, scale)

    def __call__(self, graph: Graph) -> float:
        """Return the error of a graph."""
        session = Session(graph, list(self.scale))
        error = 0.0
        for feed, wanted in zip(self.feeds, self.wanted, strict=True):
            got = session.run(feed)
            for part, scale in self.scale.items():
                error += scale * _squares(wanted[part], got[part])
        return min(error, WORST) if isfinite(error) else WORST


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


def metric_loss(graph: Graph, metric: Metric) -> Loss:
    """Return the loss of a metric, where higher is better: that of the uncut graph less its own.

    Raises SlimcError "bad-metric" where it raises, or its result is no finite number.
    """
    baseline = _score(graph, metric)
    return lambda cut: baseline - _score(cut, metric)


def _score(graph: Graph, metric: Metric) -> float:
    session = Session(graph)

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
        moves = len(computed) == 1 and coupling.ops.rows[node.kind].quant is Quant.PASS_THROUGH
        whole = _elements(coupling, (value,)) == _elements(coupling, computed)
        if whole and (joins or moves):
            parts = tuple(part for v in computed for part in _parts(coupling, v))
            if joins or len(parts) > 1:
                return parts
    return (value,) if is_float(coupling.facts, value) else ()


def _elements(coupling: Coupling, values: Iterable[str]) -> int:
    return sum(prod(coupling.facts.shape(value) or (0,)) for value in values)


def _energy(arrays: Sequence[np.ndarray]) -> float:
    """Return ||y - mean(y)||^2 over all arrays, of their finite elements."""
    count = sum(array.size for array in arrays)
    finite = [_finite(array) for array in arrays]
    mean = sum(float(one.sum()) for one in finite) / max(1, count)
    varying = sum(float(np.square(one - mean).sum()) for one in finite)
    return varying or sum(float(np.square(one).sum()) for one in finite) or float(max(1, count))


def _finite(array: np.ndarray) -> np.ndarray:
    wide = array.astype(np.float64)
    return np.where(np.isfinite(wide), wide, 0.0)


def _squares(wanted: np.ndarray, got: np.ndarray) -> float:
    """Return ||got - wanted||^2; infinite where shapes, or what is not finite, differ."""
    if wanted.shape != got.shape:
        return float("inf")
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = a[~same] - b[~same]
    return float(np.square(apart).sum()) if np.isfinite(apart).all() else float("inf")
