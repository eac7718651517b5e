"""Hold a model file, whoever made it, to the rules of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slimc.io.downgrade import OLDEST, lowest_opset
from slimc.io.read import read_with_header
from slimc.io.write import write
from slimc.ir.graph import Node
from slimc.ops.op import OpTable
from slimc.pipeline.integer_layers import Flow, Layer, layers_of
from slimc.targets.check import SOUND_NODES, check
from slimc.targets.target import Finding, Severity, Subject, Target

SEVERITIES: tuple[Severity, ...] = ("error", "silent", "perf", "info")
_EXPLAIN = ("error", "silent")  # why what is meant for integers runs in float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the rules of a target say of a file. The graph is as the file holds it.

    layers: its contractions; none where nodes are not as ONNX allows them.
    """

    subject: Subject
    findings: tuple[Finding, ...]
    layers: tuple[Layer, ...]

    @cached_property
    def _flow(self) -> Flow:
        return Flow(self.subject.graph, self.subject.ops)

    @cached_property
    def _explaining(self) -> dict[str, list[int]]:
        """Numbers of findings that can explain floats, by their node."""
        found: dict[str, list[int]] = {}
        for i, one in enumerate(self.findings):
            if one.severity in _EXPLAIN:
                found.setdefault(one.node, []).append(i)
        return found

    def count(self, severity: Severity) -> int:
        """Count the findings of a severity."""
        return sum(one.severity == severity for one in self.findings)

    @property
    def intended(self) -> tuple[Layer, ...]:
        """Layers that are meant to run in integers."""
        return tuple(layer for layer in self.layers if layer.intended)

    @cached_property
    def lost(self) -> tuple[Layer, ...]:
        """Those of them that run in float all the same, by the rules."""
        return tuple(layer for layer in self.intended if self.why(layer))

    def why(self, layer: Layer) -> tuple[Finding, ...]:
        """Return the findings that explain why a layer runs in float; none is a gap in the rules.

        They stand on the layer, or on what lies between it and the Q and DQ around it.
        """
        found = (i for name in self._near(layer.node) for i in self._explaining.get(name, ()))
        return tuple(self.findings[i] for i in sorted(found))

    def _near(self, node: Node) -> set[str]:
        return self._flow.near(node) if _sound(self.findings) else {node.name}


def lint(path: str | Path, target: Target, ops: OpTable) -> Verdict:
    """Read a file and check it; nothing in it is made canonical before.

    Raises SlimcError as `slimc.io.read` does: then the file can be judged by no rule.
    """
    graph, header = read_with_header(path)
    return judge(Subject(graph, ops, target, header))


def judge(subject: Subject) -> Verdict:
    """Check what was read already."""
    findings = check(subject)
    layers = layers_of(subject.graph, subject.ops) if _sound(findings) else ()
    return Verdict(subject, findings, layers)


def _sound(findings: Sequence[Finding]) -> bool:
    return not any(one.rule == SOUND_NODES.name for one in findings)


def write_mended(subject: Subject, path: str | Path) -> None:
    """Write a subject in the versions of its header, or the next that express it."""
    opset = lowest_opset(subject.graph, max(OLDEST, subject.header.opset))
    write(subject.graph, path, opset, subject.header.ir_version)
