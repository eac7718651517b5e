"""Rules for DLA: what does not build, and which layers fall back to the GPU.

Evidence: see `dla_limits`; messages of TensorRT's builder ("DLA only supports ...", "Switching this
layer's device type to GPU").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from slimc.analysis.shapes import call_of
from slimc.ir.graph import Graph, Node
from slimc.ir.types import static_shape
from slimc.ops.axes import Unmatched
from slimc.targets.contractions import conversions
from slimc.targets.dla.files import awkward, float_layers, layers, scales
from slimc.targets.dla.limits import broken
from slimc.targets.fixes.storage import store_weights_as_floats
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.sparsity import DLA_SPARSE_KERNELS
from slimc.targets.target import Finding, Subject, TargetRule

LOADABLES = 16  # subgraphs that one core holds at a time

_FALLBACK = "trtexec --allowGPUFallback runs it on the GPU; without that the build fails"


def _no_conversions(subject: Subject) -> Iterator[Finding]:
    for one in conversions(subject.graph):
        message = "DLA takes ranges from a calibration cache alone: a file with Q/DQ does not build"
        yield Finding("error", one.node.name, message, "compile the model without Q/DQ for it")


def _fitting_layers(subject: Subject) -> Iterator[Finding]:
    for node, why in misfits(subject).items():
        if why:
            yield Finding("silent", node, f"falls back to the GPU: {why}", _FALLBACK)


def _few_subgraphs(subject: Subject) -> Iterator[Finding]:
    """Count the parts of a graph that DLA runs at one go."""
    found = misfits(subject)
    here = {node for node, why in found.items() if not why}
    if not found:
        return
    if not here:
        yield Finding("silent", "", "DLA runs none of its layers", "compile it for jetson-orin")
        return
    count = subgraphs(subject.graph, here)
    parts = "one subgraph" if count == 1 else f"{count} subgraphs"
    text = f"DLA runs {len(here)} of {len(found)} layers, in {parts}"
    if len(here) < len(found):
        text += f"; the GPU runs {len(found) - len(here)}"
    if count > LOADABLES:
        text += f": a core holds {LOADABLES} subgraphs at a time"
        yield Finding("silent", "", text, "see the layers that fall back to the GPU")
    else:
        yield Finding("info", "", text)


def misfits(subject: Subject) -> dict[str, str]:
    """Return why DLA does not run a layer of floats, empty where it does.

    Layers of which that cannot be known are left out, as all are where sizes are open.
    """
    graph, facts = subject.graph, subject.facts
    found: dict[str, str] = {}
    if any(static_shape(graph.type_of(value)) is None for value in graph.inputs):
        return found
    for node in layers(graph):
        with suppress(Unmatched):
            found[node.name] = broken(call_of(graph, facts, node))
    return found


def subgraphs(graph: Graph, here: set[str]) -> int:
    """Count the subgraphs of DLA: connected layers that wait for the GPU equally often.

    A layer that reads what the GPU makes of results of DLA belongs to a later one.
    """
    turns: dict[str, int] = {}  # node -> how often its data came back from the GPU
    parts: list[set[str]] = []
    for node in graph.nodes:
        makers = [graph.producers[v] for v in node.reads if v in graph.producers]
        turns[node.name] = max((_turn(one, node, here, turns) for one in makers), default=0)
        if node.name not in here:
            continue
        same = {m.name for m in makers if turns[m.name] == turns[node.name]} & here
        tied = [part for part in parts if part & same]
        parts = [part for part in parts if not part & same]
        parts.append({node.name}.union(*tied))
    return len(parts)


def _turn(maker: Node, node: Node, here: set[str], turns: dict[str, int]) -> int:
    returns = maker.name not in here and node.name in here
    return turns[maker.name] + returns


def _plain_names(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for value in dict.fromkeys((*graph.inputs, *graph.producers, *scales(graph))):
        if any(sign in value for sign in "\r\n"):
            message = f"tensor {value!r} has a line break in its name: it has no line in the cache"
            yield Finding("error", "", message, "rename it")
    if not graph.records:
        return
    for node in float_layers(graph):
        if sign := awkward(node.name):
            message = f"its name has {sign!r}: --layerPrecisions cannot list it, though it is to "
            yield Finding("silent", node.name, f"{message}compute in floats", "rename it")


def _every_range(subject: Subject) -> Iterator[Finding]:
    """Find layers of a compiled graph whose results have no range."""
    graph = subject.graph
    for node in layers(graph) if graph.records else ():
        missing = next((v for v in node.outputs[:1] if v not in graph.records), "")
        if missing and not node.integer:
            message = f"'{missing}' has no range: what reads it computes in FP16"
            yield Finding("info", node.name, message)
        elif missing:
            message = f"'{missing}' has no range: TensorRT computes it in FP16"
            yield Finding("silent", node.name, message, "name suit-target before assign-scales")


DLA_RULES = (
    open_sizes("L39"),
    *COMMON,
    TargetRule(
        "L20", "no-conversions", "there is no Q or DQ", _no_conversions, store_weights_as_floats
    ),
    TargetRule("L39", "fitting-layers", "every layer is within the limits of DLA", _fitting_layers),
    TargetRule("L39", "few-subgraphs", "DLA runs the network at few goes", _few_subgraphs),
    TargetRule("L39", "plain-names", "names fit the files beside the model", _plain_names),
    TargetRule("L39", "every-range", "each result has a range", _every_range),
    DLA_SPARSE_KERNELS,
)
