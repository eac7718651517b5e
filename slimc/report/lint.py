"""Output of `slimc lint`: findings grouped by message, as text and JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimc.pipeline.inspect.fix import Fix
from slimc.pipeline.inspect.lint import SEVERITIES, Verdict
from slimc.remarks import Remark
from slimc.report.json import to_plain
from slimc.report.text import integer_layers
from slimc.targets.target import Finding

_VARIES = re.compile(
    r"'[^']*'|\d+(\.\d+)?(e-?\d+)?"
)  # names and numbers in otherwise equal messages
_NAMED = 3  # nodes of a group that the summary names


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one rule with the same message for several nodes."""

    first: Finding
    """The first finding."""
    nodes: tuple[str, ...]
    """Names of all nodes."""


def group_findings(findings: Sequence[Finding]) -> tuple[FindingGroup, ...]:
    """Group findings that differ in names and numbers only, the worst severity first."""
    by_message: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        key = (finding.rule, finding.severity, _VARIES.sub("...", finding.message))
        by_message.setdefault(key, []).append(finding)
    return tuple(
        FindingGroup(group_members[0], tuple(f.node for f in group_members))
        for group_members in by_message.values()
    )


def verdict_text(verdict: Verdict, details: bool = False, mended: bool = False) -> str:
    """Write the findings for people; details: name every node; mended: --fix has done its work."""
    lines: list[str] = []
    for group in group_findings(verdict.findings):
        lines += [*_group_lines(group, details), ""]
    mendable = [] if mended else _mendable(verdict)
    return "\n".join([*lines, *_summary(verdict), *mendable])


def _group_lines(group: FindingGroup, details: bool) -> list[str]:
    finding = group.first
    count = f" ({len(group.nodes)} times)" if len(group.nodes) > 1 else ""
    lines = [f"{finding.severity} {finding.code} {finding.rule}{count}: {finding.message}"]
    lines += _node_lines(group.nodes, details, "  ")
    return [*lines, f"  help:  {finding.help}"] if finding.help else lines


def _node_lines(nodes: Sequence[str], details: bool, indent: str) -> list[str]:
    """Return a line of node names: all, or the first ones and how many more there are."""
    shown = nodes if details else nodes[:_NAMED]
    omitted = len(nodes) - len(shown)
    names = ", ".join(f"'{name}'" for name in shown if name)
    tail = f" and {omitted} more (--details)" if omitted else ""
    return [f"{indent}nodes: {names}{tail}"] if names else []


def _summary(verdict: Verdict) -> list[str]:
    counts = ", ".join(f"{verdict.count(severity)} {severity}" for severity in SEVERITIES)
    header, meant = verdict.subject.header, len(verdict.intended)
    lines = [
        f"{verdict.subject.target.name}: {counts}",
        f"opset {header.opset}, IR version {header.ir_version}",
    ]
    if meant:
        counted = integer_layers(meant - len(verdict.lost), meant, len(verdict.layers))
        lines.append(f"{counted}, by the rules")
    stored = sum(layer.meant == "weights" for layer in verdict.layers)
    return [*lines, f"weight-only quantized: {stored}"] if stored else lines


def _mendable(verdict: Verdict) -> list[str]:
    """Say which of the findings are of rules that have a fix."""
    fixed = {rule.name for rule in verdict.subject.target.rules if rule.fix is not None}
    rules = dict.fromkeys(f"{f.code} {f.rule}" for f in verdict.findings if f.rule in fixed)
    return [f"--fix mends what has one right mend of {', '.join(rules)}"] if rules else []


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """Return all findings as plain values."""
    header = verdict.subject.header
    stored = [layer for layer in verdict.layers if layer.meant == "weights"]
    return {
        "target": verdict.subject.target.name,
        "opset": header.opset,
        "ir_version": header.ir_version,
        "counts": {severity: verdict.count(severity) for severity in SEVERITIES},
        "findings": [finding_dict(finding) for finding in verdict.findings],
        "contractions": {
            "all": len(verdict.layers),
            "quantized": [layer.node.name for layer in verdict.intended],
            "lost": [layer.node.name for layer in verdict.lost],
            "stored": [layer.node.name for layer in stored],
        },
    }


def finding_dict(finding: Finding) -> dict[str, str]:
    """Return a finding as plain values."""
    keys = ("code", "rule", "severity", "node", "message", "help")
    return {key: getattr(finding, key) for key in keys}


def fix_text(fixes: Sequence[Fix], details: bool = False) -> str:
    """Write what fixes changed and skipped; `details` names every node."""
    lines: list[str] = []
    for fix in fixes:
        lines.append(f"{fix.code} {fix.rule}{_check_text(fix)}")
        lines += _remark_lines(fix.remarks, details)
    return "\n".join([*lines, ""])


def _check_text(fix: Fix) -> str:
    if fix.apart is None:
        return ""
    if fix.tolerance == 0:
        return ": run before and after, the results are the same"
    return f": run before and after, results are {fix.apart:.1g} apart, at most {fix.tolerance:g}"


def _remark_lines(remarks: Sequence[Remark], details: bool) -> list[str]:
    """Group remarks that differ in names and numbers only."""
    by_message: dict[tuple[str, str, str], list[Remark]] = {}
    for remark in remarks:
        key = (remark.kind, _VARIES.sub("...", remark.message), remark.help)
        by_message.setdefault(key, []).append(remark)
    lines = []
    for similar in by_message.values():
        first = similar[0]
        word = {"applied": "mended", "skipped": "left"}.get(first.kind, first.kind)
        count = f" ({len(similar)} times)" if len(similar) > 1 else ""
        lines.append(f"  {word}{count}: {first.message}" + (f" ({first.help})" * bool(first.help)))
        lines += _node_lines([remark.node for remark in similar], details, "    ")
    return lines


def fix_dict(fix: Fix) -> dict[str, Any]:
    """Return the changes of a fix as plain values."""
    return {
        "code": fix.code,
        "rule": fix.rule,
        "tolerance": fix.tolerance,
        "apart": to_plain(fix.apart),
        "remarks": [vars(remark) for remark in fix.remarks],
    }
