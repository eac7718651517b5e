"""Run graphs in onnxruntime: the oracle of checks, calibration and folding."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from slimc.errors import SlimcError, did_you_mean
from slimc.execute.exact_sums import with_exact_sums
from slimc.execute.rounded import has_narrow, is_narrow, with_roundings
from slimc.io.read import from_bytes, read, read_wiring
from slimc.io.write import to_bytes_without_weights
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType

if TYPE_CHECKING:
    import onnxruntime

Feed = dict[str, np.ndarray]

_PROVIDERS = ["CPUExecutionProvider"]
_QUIET = 4  # severity of the log: what fails is raised, not printed
_AS_THEY_STAND = "session.disable_quant_qdq"
_SPINNING = "session.intra_op.allow_spinning"
_WEIGHTS_BESIDE = "session.optimized_model_external_initializers_file_name"
_KERNEL = "_kernel_time"  # behind the name of a node in the runtime's profile
_MICROSECOND = 1e-6  # its unit
_WARM_UPS = 2  # runs before the clock starts: allocations, caches
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")

# A session, and the arrays that it shares.
Loaded: TypeAlias = "tuple[onnxruntime.InferenceSession, list[np.ndarray]]"


class Session:
    """A graph loaded in onnxruntime.

    Values of types that numpy lacks (bf16, f8, i4, ...) go in and out as arrays of ml_dtypes. Nodes
    of 16-bit floats round what they make, as hardware does (`execute.rounded`). Sums of integers
    are exact, whatever the processor of this machine makes of them (`execute.exact_sums`).
    """

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[str] | None = None,
        threads: int = 0,
        optimize: bool = True,
        fuse_integers: bool = True,
    ) -> None:
        """Load a graph; weights are shared with it, not copied.

        outputs: values to return (default: the graph's outputs); threads: 0 means all cores;
        optimize: let onnxruntime fuse and fold; fuse_integers: let integer kernels take the place
        of nodes between DQ and Q, which else compute in floats. Errors: value-unknown,
        runtime-refuses.
        """
        self.inputs = graph.inputs
        self.outputs = graph.outputs if outputs is None else tuple(outputs)
        _check_values(graph, self.outputs)
        self._types = {v: graph.type_of(v) for v in (*self.inputs, *self.outputs)}
        rounding = with_roundings(replace(graph, outputs=self.outputs))
        carried = _with_carriers(with_exact_sums(rounding))
        self._feed_names = dict(zip(self.inputs, carried.inputs, strict=True))
        self._result_names = carried.outputs
        options = _options(threads, optimize and not _has_float8(graph))
        if not fuse_integers:
            options.add_session_config_entry(_AS_THEY_STAND, "1")
        # Threads that spin between nodes take 1.6 times the CPU seconds, and where all cores are
        # busy longer too (YOLOv8n, two cores). Those that are timed spin, as a user's do.
        options.add_session_config_entry(_SPINNING, "0")
        self._session, self._weights = _load_sharing(carried, options)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name: arrays, lists of them for sequences, None where absent.

        A feed in f32 for an input of 16-bit floats is rounded: samples are those of the f32 model.
        Errors: feeds-mismatch, run-failed.
        """
        _check_feeds(feeds, self.inputs)
        given = {}
        for value, feed in feeds.items():
            given[self._feed_names[value]] = _as_fed(feed, self._types[value])
        results = _run(self._session, list(self._result_names), given)
        return {
            value: self._restored(value, result)
            for value, result in zip(self.outputs, results, strict=True)
        }

    def _restored(self, value: str, result: Any) -> Any:
        kind = self._types[value]
        if _carrier(kind) and isinstance(kind, TensorType):
            return result.astype(kind.dtype.numpy)
        return result


def run(
    graph: Graph, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None
) -> dict[str, Any]:
    """Run a graph once and return its outputs, or the values named."""
    return Session(graph, outputs).run(feeds)


def evaluate(graph: Graph) -> dict[str, Any]:
    """Return the outputs of a graph without inputs, computed node by node as it stands."""
    return Session(graph, threads=1, optimize=False).run({})


def check_loads(model: bytes | Path) -> None:
    """Load a model file and let go of it. Error: runtime-refuses.

    A file of 16-bit floats, for which onnxruntime lacks kernels, is loaded as `Session` loads it.
    """
    try:
        _load(model, _options(threads=1, optimize=True))
    except SlimcError:
        graph = read(model) if isinstance(model, Path) else from_bytes(model)
        if not has_narrow(graph):
            raise
        Session(graph, threads=1)


def measure_latency(
    models: Sequence[Graph | bytes | Path], feeds: Mapping[str, Any], rounds: int, threads: int = 0
) -> list[float]:
    """Return the median seconds that a run of every model takes, as `time_rounds` takes them."""
    return [float(s) for s in np.median(time_rounds(models, feeds, rounds, threads), axis=1)]


def time_rounds(
    models: Sequence[Graph | bytes | Path], feeds: Mapping[str, Any], rounds: int, threads: int = 0
) -> Floats:
    """Return the seconds of a run of every model in every round: f64[models, rounds].

    The models run in turn, forward in one round and backward in the next, so that what else the
    machine does, and what a run leaves in the caches, meets all alike. One thread: seconds of the
    processor, so that waiting for other programs does not count; more: seconds of the wall clock.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    loaded = [_load_any(model, _options(threads, optimize=True)) for model in models]
    sessions = [session for session, _ in loaded]
    for session in sessions:
        _check_feeds(feeds, [i.name for i in session.get_inputs()])
    seconds = np.zeros((len(sessions), _WARM_UPS + rounds))
    for done in range(_WARM_UPS + rounds):
        for number in range(len(sessions))[:: 1 if done % 2 else -1]:
            start = clock()
            _run(sessions[number], None, feeds)
            seconds[number, done] = clock() - start
    return seconds[:, _WARM_UPS:]


@dataclass(frozen=True)
class TimedKernel:
    """A node as the runtime runs it, which may stand for several of the graph, or for none."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float


def time_kernels(
    graph: Graph, feeds: Mapping[str, Any], rounds: int, threads: int = 1
) -> tuple[TimedKernel, ...]:
    """Return what onnxruntime runs of a graph, in order, with the seconds of each.

    Its own profiler measures, by the wall clock in microseconds: the mean of the middle half of the
    rounds counts, which what else the machine does hardly moves. The time of a node with bodies
    has that of the nodes inside.
    """
    with tempfile.TemporaryDirectory() as name:
        optimized = Path(name) / "optimized.onnx"
        options = _options(threads, optimize=True)
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry(_WEIGHTS_BESIDE, "optimized.weights")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(name) / "profile")
        session, _ = _load_any(graph, options)
        for _ in range(_WARM_UPS + rounds):
            _run(session, None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        nodes = read_wiring(optimized)
    taken: dict[str, list[float]] = {}
    for event in events:
        if event["name"].endswith(_KERNEL):
            taken.setdefault(event["name"].removesuffix(_KERNEL), []).append(event["dur"])
    return tuple(
        TimedKernel(one.name, one.inputs, one.outputs, _middle(taken[one.name]) * _MICROSECOND)
        for one in nodes
        if one.name in taken
    )


def _middle(taken: Sequence[float]) -> float:
    """Return the mean of the middle half."""
    ordered = np.sort(taken[_WARM_UPS:] or taken)
    return float(ordered[len(ordered) // 4 : len(ordered) - len(ordered) // 4].mean())


def _options(threads: int, optimize: bool) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _load(model: bytes | Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    import onnxruntime

    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(source, options, providers=_PROVIDERS)
    except _failures() as fail:
        raise SlimcError("runtime-refuses", _told(fail), "onnxruntime, on loading") from fail


def _load_any(model: Graph | bytes | Path, options: onnxruntime.SessionOptions) -> Loaded:
    return (
        _load_sharing(model, options) if isinstance(model, Graph) else (_load(model, options), [])
    )


def _load_sharing(graph: Graph, options: onnxruntime.SessionOptions) -> Loaded:
    """Load a graph whose weights stay where they are; they must live as long as the session."""
    import onnxruntime

    data, weights = to_bytes_without_weights(graph)
    arrays = [np.ascontiguousarray(constant.array) for constant in weights.values()]
    shared = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
    options.add_external_initializers(list(weights), shared)
    return _load(data, options), arrays


def _run(
    session: onnxruntime.InferenceSession, outputs: list[str] | None, feeds: Mapping[str, Any]
) -> list[Any]:
    try:
        results: list[Any] = session.run(outputs, dict(feeds))
    except _failures() as fail:
        raise SlimcError("run-failed", _told(fail), "onnxruntime, on running") from fail
    return results


@cache
def _failures() -> tuple[type[BaseException], ...]:
    """Return what onnxruntime raises; its exceptions have no common class."""
    from onnxruntime.capi import onnxruntime_pybind11_state

    kinds = vars(onnxruntime_pybind11_state).values()
    own = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
    return (RuntimeError, ValueError, *own)


def _told(fail: BaseException) -> str:
    return _STATUS.sub("", str(fail)).strip().rstrip(".")


def _check_feeds(feeds: Mapping[str, Any], inputs: Sequence[str]) -> None:
    missing = [i for i in inputs if i not in feeds]
    unknown = [f for f in feeds if f not in inputs]
    if missing or unknown:
        wrong = [f"no array for input '{i}'" for i in missing]
        wrong += [f"no input '{f}'" for f in unknown]
        raise SlimcError("feeds-mismatch", "; ".join(wrong), help=did_you_mean("", inputs))


def _check_values(graph: Graph, values: Sequence[str]) -> None:
    known = {*graph.inputs, *graph.constants, *graph.producers}
    for value in values:
        if value not in known:
            message = f"the graph makes no value '{value}'"
            raise SlimcError("value-unknown", message, help=did_you_mean(value, graph.producers))


def _as_fed(feed: Any, kind: object) -> Any:
    """Return a feed in the type that onnxruntime takes it in."""
    carrier = _carrier(kind)
    if isinstance(kind, TensorType) and is_narrow(kind) and feed.dtype == np.float32:
        rounded = feed.astype(kind.dtype.numpy)
        return rounded.astype(carrier.numpy) if carrier else rounded
    return feed.astype(carrier.numpy) if carrier else feed


def _has_float8(graph: Graph) -> bool:
    """Tell whether values are 8-bit floats: onnxruntime's optimizer drops a Relu before their Q."""
    kinds = (kind for kind in graph.types.values() if isinstance(kind, TensorType))
    return any(kind.dtype is DType.F8E4M3FN for kind in kinds)


def _carrier(kind: object) -> DType | None:
    """Return the type of numpy that holds every element of a tensor of this type, if it needs one.

    Exact: f32 holds bf16 and all of 8 bits and fewer.
    """
    if not isinstance(kind, TensorType) or kind.dtype.in_numpy:
        return None
    if kind.dtype.is_float:
        return DType.F32
    return DType.U8 if kind.dtype.span[0] == 0 else DType.I8


def _with_carriers(graph: Graph) -> Graph:
    """Let inputs and outputs of types that numpy lacks come and go as ones it has, by Casts."""
    editor = Editor(graph)
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    for i, value in enumerate(inputs):
        kind = graph.tensor(value)
        carrier = _carrier(kind)
        if carrier and kind is not None:
            inputs[i] = editor.fresh_name(f"{value}.carried")
            editor.set_type(inputs[i], TensorType(carrier, kind.shape))
            editor.add("Cast", [inputs[i]], outputs=[value], attrs={"to": kind.dtype.code})
    for i, value in enumerate(outputs):
        if carrier := _carrier(graph.type_of(value)):
            (outputs[i],) = editor.add("Cast", [value], attrs={"to": carrier.code})
    if tuple(inputs) == graph.inputs and tuple(outputs) == graph.outputs:
        return graph
    carried = editor.finish(keep_dead=True)
    return replace(carried, inputs=tuple(inputs), outputs=tuple(outputs))
