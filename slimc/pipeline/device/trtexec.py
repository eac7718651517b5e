r"""Profiles from what trtexec measured on a device.

`--exportProfile`: a list of {"count": runs}, then {"name", "timeMs", "averageMs", "medianMs",
"percentage"} for each layer; `--exportLayerInfo`, with `--profilingVerbosity=detailed`: {"Layers":
[{"Name", "Metadata": "[ONNX Layer: a]\x1f[ONNX Layer: b]", ...}], ...}.
Source: TensorRT, samples/common/sampleReporting.cpp, and the files of its trt-engine-explorer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from slimc.analysis.coupling import couple
from slimc.analysis.profile import Profile, Run
from slimc.analysis.shapes import default_sizes, infer
from slimc.analysis.workload import Step, steps
from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.io.json_file import MALFORMED, describe_error, read_json
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization
from slimc.ops.op import OpTable
from slimc.passes.base import Pass
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.device.profile import fitted_to, timed
from slimc.pipeline.prepare import binding_passes, bound, load
from slimc.pipeline.runner import apply
from slimc.targets.contractions import Conversion, conversions
from slimc.targets.target import Target

MAX_BYTES = 64 << 20  # of a file: layers of the largest engines take some MB
_MILLISECOND = 1e-3
_LEAST_KNOWN = 0.5  # of the time must be of layers that are named after nodes
_COPY = re.compile(r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to ")
_COPY_BEHIND = re.compile(r" (?:input|output) reformatter \d+$")
_RANGE = "ForeignNode["
_ONNX = "[ONNX Layer: "


@dataclass(frozen=True)
class Layer:
    """A layer of an engine: its name, the nodes that it says it is made of, and its seconds."""

    name: str
    nodes: tuple[str, ...]
    seconds: float


def read_layers(times: Path, layers: Path | None) -> tuple[Layer, ...]:
    """Read what trtexec exported. Raises SlimcError "bad-layer-times"."""
    try:
        known = _metadata(read_json(layers, MAX_BYTES)) if layers is not None else {}
    except MALFORMED as error:
        raise _bad(describe_error(error), layers) from error
    try:
        rows = read_json(times, MAX_BYTES)
        if not isinstance(rows, list) or not rows or "count" not in rows[0]:
            raise ValueError("it is no list that starts with the number of runs, 'count'")
        return tuple(_layer(row, known) for row in rows[1:])
    except MALFORMED as error:
        raise _bad(describe_error(error), times) from error


def _metadata(found: Any) -> dict[str, tuple[str, ...]]:
    rows = found["Layers"]
    if not any(isinstance(row, dict) and row.get("Metadata") for row in rows):
        raise ValueError("it names no nodes: build with --profilingVerbosity=detailed")
    named = [row for row in rows if isinstance(row, dict)]
    return {row["Name"]: _of_metadata(row.get("Metadata") or "") for row in named}


def _of_metadata(text: str) -> tuple[str, ...]:
    parts = text.split(_ONNX)[1:]
    return tuple(part.rstrip("\x1e\x1f").removesuffix("]") for part in parts)


def _layer(row: Any, known: Mapping[str, tuple[str, ...]]) -> Layer:
    name, taken = row["name"], row["medianMs" if "medianMs" in row else "averageMs"]
    sound = type(taken) in (int, float) and isfinite(taken) and taken >= 0
    if not isinstance(name, str) or not sound:
        raise ValueError(f"layer {name!r:.80} takes {taken!r:.20} ms")
    return Layer(name, known.get(name, ()), taken * _MILLISECOND)


def nodes_of(layer: Layer, graph: Graph, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodes of a graph that a layer stands for. known: names in the file -> node.

    Names are joined by " + "; PWN(...) is point-wise arithmetic; {ForeignNode[a...b]} is all
    between two nodes; copies into another layout are of the layer that they are for.
    """
    named = [known[name] for name in layer.nodes if name in known]
    if named:
        return tuple(dict.fromkeys(named))
    text = _COPY_BEHIND.sub("", _COPY.sub("", layer.name)).strip("{}")
    if text.startswith(_RANGE):
        first, _, last = text.removeprefix(_RANGE).removesuffix("]").partition("...")
        return _between(graph, _found(first, known), _found(last, known))
    return tuple(dict.fromkeys(_found(text, known)))


def _found(text: str, known: Mapping[str, str]) -> list[str]:
    """Return the nodes that a joined name names."""
    parts = re.split(r" \+ |, ?", text.replace("PWN(", ""))
    names = (part if part in known else part.rstrip(")") for part in parts)
    return [known[name] for name in names if name in known]


def _between(graph: Graph, first: Sequence[str], last: Sequence[str]) -> tuple[str, ...]:
    """Return the nodes that follow some of the first and lead to some of the last, in order.

    An end that names no node (a constant, a layer of the runtime's own) does not bound.
    """
    if not first and not last:
        return ()
    behind, before = set(first), set(last)
    for node in graph.nodes:
        makers = (graph.producers[value].name for value in node.reads if value in graph.producers)
        if any(name in behind for name in makers):
            behind.add(node.name)
    for node in reversed(graph.nodes):
        readers = (user.name for value in node.outputs for user in graph.users.get(value, ()))
        if any(name in before for name in readers):
            before.add(node.name)
    inside = behind & before if first and last else behind | before
    return tuple(node.name for node in graph.nodes if node.name in inside)


def step_seconds(
    graph: Graph, found: Sequence[Step], layers: Sequence[Layer], expected: Sequence[float]
) -> tuple[list[float], float]:
    """Return the seconds of every step, and the share that is of layers named after nodes.

    A layer of several steps is shared out by what they are expected to take; one that names no node
    goes to the next that does, else to the last before.
    """
    of_node = {name: number for number, step in enumerate(found) for name in step.members}
    known = dict(_names(graph))
    owners = [
        tuple(dict.fromkeys(of_node[n] for n in nodes_of(layer, graph, known) if n in of_node))
        for layer in layers
    ]
    total = sum(layer.seconds for layer in layers)
    named = sum(layer.seconds for layer, own in zip(layers, owners, strict=True) if own)
    taken = [0.0] * len(found)
    for layer, own in zip(layers, _filled(owners), strict=True):
        parts = [expected[number] for number in own]
        parts = parts if any(parts) else [1.0] * len(own)
        for number, part in zip(own, parts, strict=True):
            taken[number] += layer.seconds * part / sum(parts)
    return taken, named / total if total else 0.0


def _filled(owners: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Give what has no owner that of the next that has one, else of the last."""
    filled = list(owners)
    for order in (range(len(filled) - 2, -1, -1), range(1, len(filled))):
        step = 1 if order.step < 0 else -1
        for i in order:
            filled[i] = filled[i] or filled[i + step]
    return filled


def _names(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield names that a runtime may know nodes by: those of the file, then their own."""
    for node in graph.nodes:
        yield from ((name, node.name) for name in node.origins)
    for node in graph.nodes:
        yield node.name, node.name


def profile_of_files(
    models: Sequence[str | Path],
    times: Sequence[Path],
    layers: Sequence[Path] = (),
    target: str | Target = "jetson",
    *,
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    device: str = "",
    names: Catalogue | None = None,
) -> Profile:
    """Fit a profile to what trtexec measured of models, with Q/DQ or without: the files it got.

    times, layers: of the models, in order. Raises SlimcError "bad-layer-times", "layers-unknown",
    "profile-too-small".
    """
    names = names or catalogue()
    goal = names.target(target) if isinstance(target, str) else target
    if not goal.runtime.startswith("tensorrt"):
        raise SlimcError(
            "bad-option-value",
            f"trtexec measures TensorRT, and {goal.name} runs on {goal.runtime}",
            "option --from",
            "name the device that it ran on, for example --target jetson",
        )
    runs, notes = [], []
    for i, (model, file) in enumerate(zip(models, times, strict=True)):
        read = read_layers(file, layers[i] if layers else None)
        first = binding_passes(bind, shape)
        run, share = _run(model, read, goal, names, first, file)
        runs.append([run])
        notes.append(f"{run.name}: {100 * share:.0f} % of the time is of layers named after nodes")
    bare = Profile(
        device or f"a device of {goal.name}", goal.runtime, goal.version, goal.name, 0, (), {},
        notes=tuple(notes),
    )  # fmt: skip
    return fitted_to(bare, runs, (), tuple(Path(model).stem for model in models), goal)


def _run(
    model: str | Path,
    layers: Sequence[Layer],
    target: Target,
    names: Catalogue,
    first: Sequence[Pass],
    file: Path,
) -> tuple[Run, float]:
    graph = bound(from_qdq(load(model), names.ops), first, names, target).graph
    nothing = Data(graph, "no samples", lambda: iter(()), ())
    ctx = Context(names.ops, target, nothing, default_sizes(graph))
    graph = apply([Canonicalize()], graph, ctx)
    coupling = couple(graph, names.ops, infer(graph, names.ops, default_sizes(graph)))
    align = target.align_integer if graph.records else target.align_float
    found = steps(coupling)
    bare = timed(coupling, [0.0] * len(found), align)
    expected = [one.amounts.seconds(target.speed.rates(one.work)) for one in bare]
    taken, share = step_seconds(coupling.graph, found, layers, expected)
    if share < _LEAST_KNOWN:
        raise SlimcError(
            "layers-unknown",
            f"{100 * share:.0f} % of the time is of layers named after nodes of '{model}'",
            f"'{file}'",
            "give the very file that trtexec got, and --layers of a build with "
            "--profilingVerbosity=detailed",
        )
    return Run(Path(model).stem, sum(taken), timed(coupling, taken, align)), share


def _bad(message: str, path: Path | None) -> SlimcError:
    help = "trtexec --exportProfile=times.json --exportLayerInfo=layers.json writes both"
    return SlimcError("bad-layer-times", message, f"'{path}'", help)


def from_qdq(graph: Graph, ops: OpTable) -> Graph:
    """Return the graph without its Q/DQ nodes, and with records of the types of integers.

    A node whose first operand comes from integers computes in them. Stored weights become floats of
    zeros: what is counted are sizes. A graph without Q/DQ is returned as it is.
    """
    from_integers = {
        conversion.node.outputs[0]: conversion
        for conversion in conversions(graph)
        if _is_back(conversion)
    }
    editor = Editor(graph)
    for node in graph.nodes:
        parts = ops.weighted(node)
        data = parts.data if parts is not None else 0
        if len(node.inputs) > data and node.inputs[data] in from_integers:
            editor.update(node.name, integer=node.outputs[0] not in from_integers)
    for value, conversion in from_integers.items():
        _absorb(editor, value, conversion)
    return editor.finish() if from_integers else graph


def _is_back(conversion: Conversion) -> bool:
    """Tell whether this makes real numbers: a DQ whose integers are of a known type."""
    return conversion.integers is not None and conversion.graph.is_float(conversion.node.outputs[0])


def _absorb(editor: Editor, value: str, conversion: Conversion) -> None:
    source = conversion.source
    constant = editor.constant(source)
    if constant is not None:
        zeros = np.broadcast_to(np.float32(0), constant.shape)
        source = editor.add_constant(Constant(zeros), f"{source}.floats")
    elif source == conversion.node.inputs[0]:
        return  # integers that no Q of the graph makes stay as they are
    if conversion.integers is not None:
        low, high = conversion.integers.span
        scale, zero = np.float32(1), conversion.integers.numpy.type(0)
        record = Quantization(
            conversion.integers, np.array(scale), np.array(zero), int(low), int(high)
        )
        editor.set_record(source, record)
    editor.redirect(value, source)
