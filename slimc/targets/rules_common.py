"""Rules that hold for every target: the file is sound, and every operator exists there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.target import Finding, Subject, TargetRule


def _known_operators(subject: Subject) -> Iterator[Finding]:
    """Find operators that the runtime does not have. Plug-ins of other domains are let through."""
    graph, target = subject.graph, subject.target
    for node in graph.walk():
        why = target.forbids.get(node.kind)
        if why is not None:
            help = "put another operator in its place before export, or keep that part out"
            yield Finding("error", node.name, f"{node.kind}: {why}", help)


def _known_domains(subject: Subject) -> Iterator[Finding]:
    graph, target = subject.graph, subject.target
    for node in graph.walk():
        if node.domain not in target.domains:
            yield Finding(
                "error",
                node.name,
                f"{node.kind}: {target.name} knows no operators of domain '{node.domain}'",
                "export without fused operators of another runtime; for a plug-in of your own, add "
                "its domain to the target",
            )


def _sound_constants(subject: Subject) -> Iterator[Finding]:
    """Find constants that are not a number. Infinity may be meant: masks have it."""
    graph = subject.graph
    for inner in _graphs(graph):
        for name, constant in inner.constants.items():
            if constant.dtype.is_float and bool(np.isnan(constant.array.astype(np.float32)).any()):
                reader = inner.users.get(name, ())
                node = reader[0].name if reader else ""
                yield Finding("error", node, f"constant '{name}' holds NaN")


def _graphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.walk():
        yield from node.bodies


def _readable_file(subject: Subject) -> Iterator[Finding]:
    graph, target = subject.graph, subject.target
    if subject.header.ir_version > target.ir_version_max:
        message = (
            f"the file is of IR version {subject.header.ir_version}; {target.name} reads "
            f"{target.ir_version_max} and older"
        )
        yield Finding("error", "", message, "write it with an older IR version")
    twice = sorted({o for o in graph.outputs if graph.outputs.count(o) > 1})
    for output in twice:
        yield Finding("error", "", f"graph output '{output}' is given twice")


COMMON = (
    TargetRule("L17", "known-operators", "the runtime has every operator", _known_operators),
    TargetRule("L17", "known-domains", "the runtime knows every operator domain", _known_domains),
    TargetRule("L40", "sound-constants", "no constant holds NaN", _sound_constants),
    TargetRule(
        "L40", "readable-file", "the file's version and outputs can be read", _readable_file
    ),
)
