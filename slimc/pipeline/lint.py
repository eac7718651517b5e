"""Hold a model file, whoever made it, to the rules of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from slimc.io.downgrade import OLDEST, lowest_opset
from slimc.io.read import read_with_header
from slimc.io.write import write
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable, Quant, Weighted
from slimc.passes.emit_qdq import DEQUANTIZE
from slimc.passes.target import Finding, Severity, Subject, Target
from slimc.targets.check import SOUND_NODES, check, quantized_bodies
from slimc.targets.contractions import weight_of

SEVERITIES: tuple[Severity, ...] = ("error", "silent", "perf", "info")
_BYTES = (DType.I8, DType.U8)  # the data of contractions that are integer operators themselves
_MOVES = (Quant.PASS_THROUGH, Quant.SHARED_SCALE)


@dataclass(frozen=True)
class IntegersSeen:
    """The contractions of a file as its rules see them, by name.

    quantized: data and weight are to be integers; lost: those of them that run in float all the
    same, by a finding; stored: only the weight is stored in integers.
    """

    contractions: int
    quantized: tuple[str, ...]
    lost: tuple[str, ...]
    stored: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the rules of a target say of a file. The graph is as the file holds it."""

    subject: Subject
    findings: tuple[Finding, ...]
    integers: IntegersSeen

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity."""
        return sum(one.severity == severity for one in self.findings)


def lint(path: str | Path, target: Target, ops: OpTable) -> Verdict:
    """Read a file and check it; nothing in it is made canonical before.

    Raises SlimcError as `slimc.io.read` does: then the file can be judged by no rule.
    """
    graph, header = read_with_header(path)
    return judge(Subject(graph, ops, target, header))


def judge(subject: Subject) -> Verdict:
    """Check what was read already."""
    findings = check(subject)
    return Verdict(subject, findings, integers_seen(subject, findings))


def write_mended(subject: Subject, path: str | Path) -> None:
    """Write a subject in the versions of its header, or the next that express it."""
    opset = lowest_opset(subject.graph, max(OLDEST, subject.header.opset))
    write(subject.graph, path, opset, subject.header.ir_version)


def integers_seen(subject: Subject, findings: Sequence[Finding]) -> IntegersSeen:
    """Tell which contractions run in integers if the findings are right; in bodies too.

    Of a file with nodes that are not as ONNX allows them nothing is told.
    """
    if any(one.rule == SOUND_NODES.name for one in findings):
        return IntegersSeen(0, (), (), ())
    bad = frozenset(one.node for one in findings if one.severity in ("error", "silent"))
    names: dict[_State, list[str]] = {state: [] for state in get_args(_State)}
    every = sum(_contracts(subject, node) for node in subject.graph.walk())
    for graph in (subject.graph, *quantized_bodies(subject.graph)):
        scope = subject if graph is subject.graph else replace(subject, graph=graph)
        for node in graph.nodes:
            row = subject.ops.get(node.kind)
            if row is not None and row.weighted is not None:
                names[_state(scope, node, row.weighted, bad)].append(node.name)
            elif _contracts(scope, node):
                names["lost" if node.name in bad else "integer"].append(node.name)
    order = [node.name for node in subject.graph.walk()]
    quantized = {*names["integer"], *names["lost"]}
    return IntegersSeen(
        every,
        tuple(name for name in order if name in quantized),
        tuple(names["lost"]),
        tuple(names["stored"]),
    )


def _contracts(subject: Subject, node: Node) -> bool:
    """Tell whether a node is a contraction, or an integer operator that sums products."""
    row = subject.ops.get(node.kind)
    if row is None:
        return False
    return row.weighted is not None or (bool(row.macs) and _takes_integers(subject, node))


_State = Literal["float", "stored", "integer", "lost"]


def _state(subject: Subject, node: Node, parts: Weighted, bad: frozenset[str]) -> _State:
    """Tell how a contraction runs. One of which only the data is integers was meant to be, too."""
    weight = weight_of(subject, node.inputs[parts.weight])
    data = _conversions_before(subject, node.inputs[parts.data])
    if weight is None and not data:
        return "float"
    if not data and node.name not in bad:
        return "stored"
    behind = _both(subject.graph, weight.conversion.node) if weight is not None else ()
    return "lost" if bad & {node.name, *data, *behind} else "integer"


def _takes_integers(subject: Subject, node: Node) -> bool:
    kind = subject.facts.types.get(node.inputs[0]) if node.inputs else None
    return isinstance(kind, TensorType) and kind.dtype in _BYTES


def _conversions_before(subject: Subject, value: str) -> tuple[str, ...]:
    """Return the DQ, and the Q before it, that a value comes from by moves alone."""
    graph = subject.graph
    while (maker := graph.producers.get(value)) is not None and maker.op != DEQUANTIZE:
        row = subject.ops.get(maker.kind)
        if row is None or row.quant not in _MOVES:
            return ()
        value = maker.inputs[0]
    return () if maker is None else _both(graph, maker)


def _both(graph: Graph, dequantize: Node) -> tuple[str, ...]:
    """Return the names of a DQ and of the node that makes its integers."""
    source = graph.producers.get(dequantize.inputs[0])
    return (dequantize.name,) if source is None else (dequantize.name, source.name)
