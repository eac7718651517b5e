"""Run a graph over samples and collect the range of each value.

The values themselves never leave onnxruntime: probe nodes return their extremes, or some of their
elements at a fixed distance. So memory does not grow with the number of samples, and hardly with
the size of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import chain

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, has_sample_axis, specs_of
from slimc.calib.observers import ExtremesObserver, MovingAverage, Observer
from slimc.calib.probes import Probe, add_probes
from slimc.calib.table import CalibrationTable, ValueRange
from slimc.errors import SlimcError
from slimc.execute.ort import Feed, Session
from slimc.ir.graph import Graph
from slimc.ir.text import to_text

ELEMENTS = 1 << 18  # sampled per value, over all feeds: 26 lie above the 99.99th percentile
LEAST_ELEMENTS = 1 << 10  # sampled per value and feed, at least
LIVE_BYTES = 256 << 20  # of sampled elements outside onnxruntime at once
ALGORITHM_VERSION = 2  # raised when the same graph and samples give other ranges
Progress = Callable[[int, int], None]


def collect_ranges(
    graph: Graph,
    data: Data,
    observers: Mapping[str, Observer],
    elements: int = ELEMENTS,
    live_bytes: int = LIVE_BYTES,
    progress: Progress | None = None,
    lower_bounds: Mapping[str, float] | None = None,
) -> CalibrationTable:
    """Collect the range of every observed value (floating, of the top graph) over all feeds.

    elements: upper bound of the sampled elements per value, over all feeds (the number of feeds
    times 1024 at least). live_bytes: upper bound of the sampled elements in memory; beyond it the
    feeds are run again for the remaining values. progress: called with (feeds run, feeds to run).
    lower_bounds: lower bounds of clamped values. A bound is used as the low end, unmeasured, and
    these values are not searched for NaN. Small feeds of one shape run as one batch. Raises
    SlimcError `not-finite` for a value with NaN or infinity, `calib-missing` without feeds.
    """
    lower_bounds = {v: bound for v, bound in (lower_bounds or {}).items() if np.isfinite(bound)}
    order = {value: i for i, value in enumerate((*graph.inputs, *graph.producers))}
    ordered = {value: observers[value] for value in sorted(observers, key=order.__getitem__)}
    sampled = {
        value for value, observer in ordered.items() if not isinstance(observer, ExtremesObserver)
    }
    per_feed = max(elements // max(len(data), 1), LEAST_ELEMENTS) if sampled else 0
    averages = any(isinstance(observer, MovingAverage) for observer in ordered.values())
    groups = list(_group_values(ordered, sampled, 4 * per_feed, live_bytes))
    runs, count = 0, 0
    for group in groups:
        probed, probes = add_probes(graph, group, sampled, per_feed, lower_bounds)
        session = Session(probed)
        for batch in batch_singly(data) if averages else _runnable_batches(session, data):
            outputs = session.run(batch.feed)
            for probe in probes:
                _observe(graph, probe, outputs, ordered[probe.value], batch, lower_bounds, data)
            runs, count = runs + batch.count, max(count, batch.first + batch.count)
            if progress is not None:
                feeds = count if data.specs is None else len(data)
                progress(runs, feeds * len(groups))
    if groups and not count:
        raise SlimcError("calib-missing", f"{data.title} yields no samples")
    ranges = {value: observer.range() for value, observer in ordered.items()}
    observed = {value: range_ for value, range_ in ranges.items() if range_ is not None}
    return CalibrationTable(observed, table_key(graph, data, observers, elements))


def table_key(
    graph: Graph, data: Data, observers: Mapping[str, Observer], elements: int = ELEMENTS
) -> str:
    """Return a digest of everything that a table depends on: equal keys mean equal tables."""
    digest = sha256(f"{ALGORITHM_VERSION} {_runtime_version()} {data.digest} {elements}\n".encode())
    digest.update(to_text(graph, "short").encode())
    for constant in graph.constants.values():
        array = np.ascontiguousarray(constant.array).reshape(-1)
        objects = array.dtype.hasobject
        digest.update(repr(array.tolist()).encode() if objects else array.view(np.uint8).data)
    for value in sorted(observers):
        digest.update(f"{value} {observers[value]}\n".encode())
    return digest.hexdigest()


def _runtime_version() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError:  # a custom build, or one for a GPU
        return "onnxruntime"


def _group_values(
    observers: Mapping[str, Observer], sampled: Collection[str], size_bytes: int, live_bytes: int
) -> Iterator[Sequence[str]]:
    """Split the values into groups whose sampled elements stay under the bound."""
    group: list[str] = []
    group_bytes = 0
    for value in observers:
        value_bytes = size_bytes if value in sampled else 0
        if group and group_bytes + value_bytes > live_bytes:
            yield group
            group, group_bytes = [], 0
        group.append(value)
        group_bytes += value_bytes
    if group:
        yield group


def _runnable_batches(session: Session, data: Data) -> Iterator[Batch]:
    """Yield batched feeds, or single feeds where the graph accepts no other batch size."""
    batches = batch_feeds(data)
    first = next(batches, None)
    if first is None:
        return iter(())
    if first.count > 1:
        try:
            session.run(first.feed)
        except SlimcError:
            return batch_singly(data)
    return chain([first], batches)


def _observe(
    graph: Graph,
    probe: Probe,
    outputs: Mapping[str, np.ndarray],
    observer: Observer,
    batch: Batch,
    lower_bounds: Mapping[str, float],
    data: Data,
) -> None:
    if not all(np.isfinite(outputs[name].sum()) for name in probe.outputs):
        _require_finite(graph, probe.value, batch.feed, batch.where(data))
    if probe.elements:
        if outputs[probe.elements].size:
            observer.observe(outputs[probe.elements])
        return
    highs = outputs[probe.high]
    if highs.size and isinstance(observer, ExtremesObserver):
        low = outputs[probe.low].min() if probe.low else lower_bounds[probe.value]
        observer.observe_extremes(ValueRange(float(low), float(highs.max())))


def _require_finite(graph: Graph, value: str, feed: Feed, where: str) -> None:
    """Check the value itself: its sum may overflow though every element is finite."""
    array = Session(graph, [value]).run(feed)[value].astype(np.float64)
    if np.isfinite(array).all():
        return
    problem = "NaN" if np.isnan(array).any() else "infinity"
    producer = graph.producers.get(value)
    raise SlimcError(
        "not-finite",
        f"value '{value}' holds {problem}",
        where
        + (f", produced by '{producer.name}' ({producer.kind})" if producer else ", a graph input"),
        "check the samples: are they scaled as in training",
    )


BATCH_SAMPLES = 8  # half the time of single samples; 32 exceed the caches and are slower
BATCH_BYTES = 1 << 20  # of one batch: beyond this, values would leave the caches


@dataclass(frozen=True)
class Batch:
    """One or more consecutive feeds, concatenated along their sample axis."""

    feed: Feed
    """Arrays by input name."""
    first: int
    """Number of the first feed in the data."""
    count: int
    """Number of feeds."""

    def where(self, data: Data) -> str:
        """Return the feed numbers, for messages."""
        last = self.first + self.count - 1
        named = f"feed {self.first}" if self.count == 1 else f"feeds {self.first} to {last}"
        return f"{named} of {data.title}"


def batch_singly(data: Data) -> Iterator[Batch]:
    """Yield every feed as a batch of its own."""
    return (Batch(feed, i, 1) for i, feed in enumerate(data))


def batch_feeds(data: Data) -> Iterator[Batch]:
    """Yield batches of consecutive small feeds that differ in their samples only.

    Single feeds where the graph has no sample axis.
    """
    if not has_sample_axis(data.graph):
        yield from batch_singly(data)
        return
    pending: list[Feed] = []
    first = 0
    for i, feed in enumerate(data):
        if pending and not _fits_batch(pending, feed, data):
            yield _concatenate(pending, first)
            pending, first = [], i
        pending.append(feed)
    if pending:
        yield _concatenate(pending, first)


def _fits_batch(pending: list[Feed], feed: Feed, data: Data) -> bool:
    feeds = [*pending, feed]
    samples = sum(count_samples(specs_of(part), data.graph) for part in feeds)
    size_bytes = sum(array.nbytes for part in feeds for array in part.values())
    alike = all(array.shape[1:] == pending[0][name].shape[1:] for name, array in feed.items())
    return alike and samples <= BATCH_SAMPLES and size_bytes <= BATCH_BYTES


def _concatenate(feeds: list[Feed], first: int) -> Batch:
    if len(feeds) == 1:
        return Batch(feeds[0], first, 1)
    feed = {name: np.concatenate([part[name] for part in feeds]) for name in feeds[0]}
    return Batch(feed, first, len(feeds))
