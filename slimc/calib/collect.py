"""Run a graph over samples and find the range of its values.

The values themselves never leave onnxruntime: nodes behind them give extremes, or a sample of the
elements at a fixed distance. So memory does not grow with the samples, and hardly with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import isfinite

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import Feed
from slimc.calib.observers import FromExtremes, Observer
from slimc.calib.table import CalibrationTable, Range
from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import to_text
from slimc.ir.types import DType, TensorType

ELEMENTS = 1 << 18  # of a value, all feeds together: 26 lie above the 99.99th percentile
LIVE_BYTES = 256 << 20  # of samples of elements that are out of onnxruntime at once
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Probe:
    """Names of what is read of a value: its sum (is it finite?), and extremes or elements."""

    value: str
    total: str
    read: tuple[str, ...]


def collect(
    graph: Graph,
    data: Data,
    observers: Mapping[str, Observer],
    elements: int = ELEMENTS,
    live_bytes: int = LIVE_BYTES,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Let every observer see its value (a floating one of the top graph) in all feeds.

    elements: at most so many of each value go to observers of elements, spread over the feeds (the
    number of feeds times 1024 at least). live_bytes: bound of what they hold at once; beyond it the
    feeds are run again for further values. progress: told (feeds run, feeds to run). Raises
    SlimcError `not-finite` for a value with NaN or infinity, `calib-missing` without feeds.
    """
    order = {value: i for i, value in enumerate((*graph.inputs, *graph.producers))}
    wanted = {value: observers[value] for value in sorted(observers, key=order.__getitem__)}
    sampled = [value for value, one in wanted.items() if not isinstance(one, FromExtremes)]
    steps = _steps(graph, data, sampled, elements)
    groups = list(_groups(wanted, steps, live_bytes))
    done, count = 0, 0
    for group in groups:
        probed, probes = _with_probes(graph, group, wanted, steps)
        session = Session(probed)
        for i, feed in enumerate(data):
            found = session.run(feed)
            for probe in probes:
                _observe(
                    graph, probe, found, wanted[probe.value], feed, f"feed {i} of {data.title}"
                )
            done, count = done + 1, max(count, i + 1)
            if progress is not None:
                progress(
                    done, count * len(groups) if data.specs is None else len(data) * len(groups)
                )
    if groups and not count:
        raise SlimcError("calib-missing", f"{data.title} gives no samples")
    ranges = {value: one.range() for value, one in wanted.items()}
    found = {value: r for value, r in ranges.items() if r is not None}
    return CalibrationTable(found, key(graph, data, observers, elements))


def key(
    graph: Graph, data: Data, observers: Mapping[str, Observer], elements: int = ELEMENTS
) -> str:
    """Name all that a table follows from, by a digest: a table with this key need not be made."""
    digest = sha256(to_text(graph, "short").encode())
    for constant in graph.constants.values():
        array = np.ascontiguousarray(constant.array).reshape(-1)
        objects = array.dtype.hasobject
        digest.update(repr(array.tolist()).encode() if objects else array.view(np.uint8).data)
    digest.update(f"{data.digest} {elements}".encode())
    for value in sorted(observers):
        digest.update(f"{value} {observers[value]}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Sampled:
    """Every `step`-th element of a value; so many come from the first feed."""

    step: int
    count: int


def _steps(graph: Graph, data: Data, values: Sequence[str], elements: int) -> dict[str, _Sampled]:
    """Measure the values in the first feed, and choose a distance between the elements to take."""
    first = next(iter(data), None)
    if not values or first is None:
        return {}
    editor = Editor(replace(graph, outputs=()))
    kind = TensorType(DType.I64, ())
    names = {v: editor.add("Size", [v], name=f"{v}.size", types=[kind])[0] for v in values}
    sized = replace(editor.done(keep_dead=True), outputs=tuple(names.values()))
    found = Session(sized).run(first)
    per_feed = max(elements // max(len(data), 1), 1024)
    made = {}
    for value, name in names.items():
        size = int(found[name])
        step = _prime(-(-size // per_feed))
        made[value] = _Sampled(step, -(-size // step))
    return made


def _prime(least: int) -> int:
    """Return 1, or a prime of at least `least`: a distance that falls in with few axis sizes."""
    number = least
    while any(number % d == 0 for d in range(2, int(number**0.5) + 1)):
        number += 1
    return number


def _groups(
    wanted: Mapping[str, Observer], steps: Mapping[str, _Sampled], live_bytes: int
) -> Iterator[list[str]]:
    """Split the values into runs whose samples of elements stay under the bound."""
    group: list[str] = []
    held = 0
    for value in wanted:
        size_bytes = 4 * steps[value].count if value in steps else 0
        if group and held + size_bytes > live_bytes:
            yield group
            group, held = [], 0
        group.append(value)
        held += size_bytes
    if group:
        yield group


def _with_probes(
    graph: Graph,
    values: Sequence[str],
    wanted: Mapping[str, Observer],
    steps: Mapping[str, _Sampled],
) -> tuple[Graph, list[_Probe]]:
    """Put nodes behind the values that compute what is to be read, and make that the outputs."""
    editor = Editor(graph)
    probes = []
    for value in values:
        source = _as_float(editor, graph, value)
        axes = _reduced_axes(editor, graph, value)
        extremes = ["ReduceMin", "ReduceMax"] if isinstance(wanted[value], FromExtremes) else []
        total, *read = (
            editor.add(kind, [source, *axes], attrs={"keepdims": 0}, types=[_FLOATS])[0]
            for kind in ("ReduceSum", *extremes)
        )
        if not extremes:
            read = [_every(editor, source, steps[value].step)]
        probes.append(_Probe(value, total, tuple(read)))
    outputs = tuple(name for probe in probes for name in (probe.total, *probe.read))
    made = editor.done(keep_dead=True)
    return Editor(replace(made, outputs=outputs)).done(), probes


_FLOATS = TensorType(DType.F32, None)


def _as_float(editor: Editor, graph: Graph, value: str) -> str:
    declared = graph.type_of(value)
    if not isinstance(declared, TensorType) or declared.dtype is DType.F32:
        return value
    return editor.add("Cast", [value], attrs={"to": DType.F32.code}, types=[_FLOATS])[0]


def _reduced_axes(editor: Editor, graph: Graph, value: str) -> list[str]:
    """Reduce inner axes only: onnxruntime has parallel kernels for that, and not for all axes."""
    declared = graph.type_of(value)
    if not isinstance(declared, TensorType) or not declared.shape:
        return []
    rank = len(declared.shape)
    return [editor.add_constant(np.arange(rank - max(1, rank - 2), rank), "axes")]


def _every(editor: Editor, source: str, step: int) -> str:
    """Take every `step`-th element of the flattened value."""
    flat = editor.add(
        "Reshape", [source, editor.add_constant(np.array([-1]), "flat")], types=[_FLOATS]
    )[0]
    if step == 1:
        return flat
    bounds = [
        editor.add_constant(np.array([n]), "slice") for n in (0, np.iinfo(np.int64).max, 0, step)
    ]
    return editor.add("Slice", [flat, *bounds], types=[_FLOATS])[0]


def _observe(
    graph: Graph,
    probe: _Probe,
    found: Mapping[str, np.ndarray],
    observer: Observer,
    feed: Feed,
    where: str,
) -> None:
    if not isfinite(found[probe.total].sum()):
        _require_finite(graph, probe.value, feed, where)
    arrays = [found[name] for name in probe.read]
    if not arrays[0].size:
        return
    if isinstance(observer, FromExtremes):
        observer.see(Range(float(arrays[0].min()), float(arrays[1].max())))
    else:
        observer.observe(arrays[0])


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
