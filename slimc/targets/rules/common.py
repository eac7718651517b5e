"""Rules that hold for every target: the file is sound, and every operator exists there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from slimc.io.schemas import schema_of
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.targets.fixes.file import express_otherwise, name_outputs_once, write_older_versions
from slimc.targets.target import Finding, Subject, TargetRule


def _known_operators(subject: Subject) -> Iterator[Finding]:
    """Find operators that the runtime does not have, as its own or as a plug-in."""
    target = subject.target
    for node in subject.graph.walk():
        why = target.forbids.get(node.kind)
        if why is not None:
            help = "put another operator in its place before export, or keep that part out"
            yield Finding("error", node.name, f"{node.kind}: {why}", help)
        elif not node.domain and schema_of(node) is None and node.op not in target.plugins:
            message = f"{node.kind}: no operator of ONNX, and no plug-in that {target.name} has"
            help = "a plug-in of your own: a target with plugins = [...] (docs/targets.md)"
            yield Finding("error", node.name, message, help)


def _known_domains(subject: Subject) -> Iterator[Finding]:
    target = subject.target
    for node in subject.graph.walk():
        if node.domain not in target.domains and node.op not in target.plugins:
            yield Finding(
                "error",
                node.name,
                f"{node.kind}: {target.name} knows no operators of domain '{node.domain}'",
                "export without fused operators of another runtime; a plug-in of your own: a "
                "target with plugins = [...] (docs/targets.md)",
            )


def _sound_constants(subject: Subject) -> Iterator[Finding]:
    """Find constants that are not a number; weights may not be infinite either, masks may."""
    for graph in subject.graph.scopes():
        for name, constant in graph.constants.items():
            readers = graph.users.get(name, ())
            what = _unsound(constant, any(subject.ops.weight_of(one) == name for one in readers))
            if what:
                node = readers[0].name if readers else ""
                message = f"constant '{name}' holds {what}: so will what is computed of it"
                help = "export the model again; a training that diverged leaves such weights"
                yield Finding("error", node, message, help)


def _unsound(constant: Constant, weight: bool) -> str:
    """Return what a constant holds that is no number; empty if it is sound."""
    if not constant.dtype.is_float:
        return ""
    array = constant.array
    if not constant.dtype.in_numpy:
        array = array.astype(np.float32)
    if np.isnan(array).any():
        return "NaN"
    return "infinity" if weight and np.isinf(array).any() else ""


def _readable_version(subject: Subject) -> Iterator[Finding]:
    header, target = subject.header, subject.target
    if header.ir_version > target.ir_version_max:
        message = (
            f"the file is of IR version {header.ir_version}; {target.name} reads "
            f"{target.ir_version_max} and older"
        )
        yield Finding("error", "", message, "write it with an older IR version")


def _outputs_once(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for output, times in Counter(graph.outputs).items():
        if times > 1:
            message = f"graph output '{output}' is given {times} times: names are to be unique"
            yield Finding("error", _maker(graph, output), message, "give each a name of its own")


def _maker(graph: Graph, value: str) -> str:
    node = graph.producers.get(value)
    return "" if node is None else node.name


COMMON = (
    TargetRule(
        "L17",
        "known-operators",
        "the runtime has every operator",
        _known_operators,
        express_otherwise,
    ),
    TargetRule(
        "L17",
        "known-domains",
        "the runtime knows every operator domain",
        _known_domains,
        express_otherwise,
    ),
    TargetRule(
        "L40",
        "sound-constants",
        "no constant holds NaN, and no weight is infinite",
        _sound_constants,
    ),
    TargetRule(
        "L40",
        "readable-version",
        "the runtime reads files of this IR version",
        _readable_version,
        write_older_versions,
    ),
    TargetRule(
        "L40",
        "outputs-once",
        "every graph output has a name of its own",
        _outputs_once,
        name_outputs_once,
    ),
)
