"""Rules that hold for every target: the file is sound, and every operator exists there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.passes.context import Finding, Target, TargetRule

IR_VERSION_MAX = 10  # the newest file version that onnxruntime 1.18 to 1.22 read


def _known_operators(graph: Graph, ops: OpTable, target: Target) -> Iterator[Finding]:
    """Find operators that the runtime does not have. Plug-ins of other domains are let through."""
    for node in graph.walk():
        why = target.forbids.get(node.kind)
        if why is not None:
            help = "put another operator in its place before export, or keep that part out"
            yield Finding("known-operators", "error", node.name, f"{node.kind}: {why}", help)


def _known_domains(graph: Graph, ops: OpTable, target: Target) -> Iterator[Finding]:
    for node in graph.walk():
        if node.domain not in target.domains:
            yield Finding(
                "known-domains",
                "error",
                node.name,
                f"{node.kind}: {target.name} knows no operators of domain '{node.domain}'",
                "export without fused operators of another runtime; for a plug-in of your own, add "
                "its domain to the target",
            )


def _sound_constants(graph: Graph, ops: OpTable, target: Target) -> Iterator[Finding]:
    """Find constants that are not a number. Infinity may be meant: masks have it."""
    for inner in _graphs(graph):
        for name, constant in inner.constants.items():
            if constant.dtype.is_float and bool(np.isnan(constant.array.astype(np.float32)).any()):
                reader = inner.users.get(name, ())
                node = reader[0].name if reader else ""
                yield Finding("sound-constants", "error", node, f"constant '{name}' holds NaN")


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.walk():
        yield from node.bodies


def _readable_file(graph: Graph, ops: OpTable, target: Target) -> Iterator[Finding]:
    if target.ir_version > IR_VERSION_MAX:
        message = f"IR version {target.ir_version} is above {IR_VERSION_MAX}"
        yield Finding("readable-file", "error", "", message)
    twice = sorted({o for o in graph.outputs if graph.outputs.count(o) > 1})
    for output in twice:
        yield Finding("readable-file", "error", "", f"graph output '{output}' is given twice")


COMMON = (
    TargetRule("known-operators", "the runtime has every operator", _known_operators),
    TargetRule("known-domains", "the runtime knows every operator domain", _known_domains),
    TargetRule("sound-constants", "no constant holds NaN", _sound_constants),
    TargetRule("readable-file", "the file's version and outputs can be read", _readable_file),
)
