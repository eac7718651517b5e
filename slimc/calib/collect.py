"""Run a graph over samples and find the range of its values.

The values themselves never leave onnxruntime: nodes behind them give extremes, or a sample of the
elements at a fixed distance. So memory does not grow with the samples, and hardly with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import chain

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import has_sample_axis, samples_of, specs_of
from slimc.calib.observers import FromExtremes, MovingAverage, Observer
from slimc.calib.probes import Probe, with_probes
from slimc.calib.table import CalibrationTable, Range
from slimc.errors import SlimcError
from slimc.execute.ort import Feed, Session
from slimc.ir.graph import Graph
from slimc.ir.text import to_text

ELEMENTS = 1 << 18  # of a value, all feeds together: 26 lie above the 99.99th percentile
LEAST_ELEMENTS = 1 << 10  # of a value, of one feed
LIVE_BYTES = 256 << 20  # of samples of elements that are out of onnxruntime at once
FORM = 2  # of how ranges are found: raised when the same graph and samples give other ones
Progress = Callable[[int, int], None]


def collect(
    graph: Graph,
    data: Data,
    observers: Mapping[str, Observer],
    elements: int = ELEMENTS,
    live_bytes: int = LIVE_BYTES,
    progress: Progress | None = None,
    floors: Mapping[str, float] | None = None,
) -> CalibrationTable:
    """Let every observer see its value (a floating one of the top graph) in all feeds.

    elements: at most so many of each value go to observers of elements, spread over the feeds (the
    number of feeds times 1024 at least). live_bytes: bound of what they hold at once; beyond it the
    feeds are run again for further values. progress: told (feeds run, feeds to run). floors: values
    that are clamped, and the least number that they can be: it is their low end, unread, and they
    are not searched for NaN. Small feeds of one shape run together. Raises SlimcError `not-finite`
    for a value with NaN or infinity, `calib-missing` without feeds.
    """
    floors = {v: floor for v, floor in (floors or {}).items() if np.isfinite(floor)}
    order = {value: i for i, value in enumerate((*graph.inputs, *graph.producers))}
    wanted = {value: observers[value] for value in sorted(observers, key=order.__getitem__)}
    sampled = {value for value, one in wanted.items() if not isinstance(one, FromExtremes)}
    per_feed = max(elements // max(len(data), 1), LEAST_ELEMENTS) if sampled else 0
    averages = any(isinstance(one, MovingAverage) for one in wanted.values())
    groups = list(_groups(wanted, sampled, 4 * per_feed, live_bytes))
    done, count = 0, 0
    for group in groups:
        probed, probes = with_probes(graph, group, sampled, per_feed, floors)
        session = Session(probed)
        for batch in single(data) if averages else _batches(session, data):
            found = session.run(batch.feed)
            for probe in probes:
                _observe(graph, probe, found, wanted[probe.value], batch, floors, data)
            done, count = done + batch.count, max(count, batch.first + batch.count)
            if progress is not None:
                feeds = count if data.specs is None else len(data)
                progress(done, feeds * len(groups))
    if groups and not count:
        raise SlimcError("calib-missing", f"{data.title} gives no samples")
    ranges = {value: one.range() for value, one in wanted.items()}
    found = {value: r for value, r in ranges.items() if r is not None}
    return CalibrationTable(found, key(graph, data, observers, elements))


def key(
    graph: Graph, data: Data, observers: Mapping[str, Observer], elements: int = ELEMENTS
) -> str:
    """Name all that a table follows from, by a digest: a table with this key need not be made."""
    digest = sha256(f"{FORM} {_runtime()} {data.digest} {elements}\n".encode())
    digest.update(to_text(graph, "short").encode())
    for constant in graph.constants.values():
        array = np.ascontiguousarray(constant.array).reshape(-1)
        objects = array.dtype.hasobject
        digest.update(repr(array.tolist()).encode() if objects else array.view(np.uint8).data)
    for value in sorted(observers):
        digest.update(f"{value} {observers[value]}\n".encode())
    return digest.hexdigest()


def _runtime() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError:  # a build of one's own, or for a GPU
        return "onnxruntime"


def _groups(
    wanted: Mapping[str, Observer], sampled: Collection[str], size_bytes: int, live_bytes: int
) -> Iterator[Sequence[str]]:
    """Split the values into runs whose samples of elements stay under the bound."""
    group: list[str] = []
    held = 0
    for value in wanted:
        more = size_bytes if value in sampled else 0
        if group and held + more > live_bytes:
            yield group
            group, held = [], 0
        group.append(value)
        held += more
    if group:
        yield group


def _batches(session: Session, data: Data) -> Iterator[Batch]:
    """Yield feeds together, or alone where the graph takes no other number than one feed has."""
    batches = joined(data)
    first = next(batches, None)
    if first is None:
        return iter(())
    if first.count > 1:
        try:
            session.run(first.feed)
        except SlimcError:
            return single(data)
    return chain([first], batches)


def _observe(
    graph: Graph,
    probe: Probe,
    found: Mapping[str, np.ndarray],
    observer: Observer,
    batch: Batch,
    floors: Mapping[str, float],
    data: Data,
) -> None:
    if not all(np.isfinite(found[name].sum()) for name in probe.outputs):
        _require_finite(graph, probe.value, batch.feed, batch.where(data))
    if probe.elements:
        if found[probe.elements].size:
            observer.observe(found[probe.elements])
        return
    highs = found[probe.high]
    if highs.size and isinstance(observer, FromExtremes):
        low = found[probe.low].min() if probe.low else floors[probe.value]
        observer.see(Range(float(low), float(highs.max())))


def _require_finite(graph: Graph, value: str, feed: Feed, where: str) -> None:
    """Look at the value itself: a sum may overflow though every element is finite."""
    array = Session(graph, [value]).run(feed)[value].astype(np.float64)
    if np.isfinite(array).all():
        return
    what = "NaN" if np.isnan(array).any() else "infinity"
    maker = graph.producers.get(value)
    raise SlimcError(
        "not-finite",
        f"value '{value}' holds {what}",
        where + (f", made by '{maker.name}' ({maker.kind})" if maker else ", a graph input"),
        "check the samples: are they scaled as in training",
    )


TOGETHER = 8  # samples: half the time of one by one; 32 leave the caches and take longer
SMALL_BYTES = 1 << 20  # of feeds that are put together: beyond, values would leave the caches


@dataclass(frozen=True)
class Batch:
    """A feed, and the numbers of the feeds of the data that it is made of."""

    feed: Feed
    first: int
    count: int

    def where(self, data: Data) -> str:
        """Name the feeds, for people."""
        last = self.first + self.count - 1
        named = f"feed {self.first}" if self.count == 1 else f"feeds {self.first} to {last}"
        return f"{named} of {data.title}"


def single(data: Data) -> Iterator[Batch]:
    """Yield every feed alone."""
    return (Batch(feed, i, 1) for i, feed in enumerate(data))


def joined(data: Data) -> Iterator[Batch]:
    """Yield feeds, those together that follow each other, are small and differ in samples only.

    Where the graph has no axis of samples, each alone.
    """
    if not has_sample_axis(data.graph):
        yield from single(data)
        return
    held: list[Feed] = []
    first = 0
    for i, feed in enumerate(data):
        if held and not _fits(held, feed, data):
            yield _batch(held, first)
            held, first = [], i
        held.append(feed)
    if held:
        yield _batch(held, first)


def _fits(held: list[Feed], feed: Feed, data: Data) -> bool:
    every = [*held, feed]
    samples = sum(samples_of(specs_of(one), data.graph) for one in every)
    size_bytes = sum(array.nbytes for one in every for array in one.values())
    alike = all(array.shape[1:] == held[0][name].shape[1:] for name, array in feed.items())
    return alike and samples <= TOGETHER and size_bytes <= SMALL_BYTES


def _batch(held: list[Feed], first: int) -> Batch:
    if len(held) == 1:
        return Batch(held[0], first, 1)
    feed = {name: np.concatenate([one[name] for one in held]) for name in held[0]}
    return Batch(feed, first, len(held))
