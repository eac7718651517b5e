"""What `slimc lint` says: findings summed by what they say, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimc.pipeline.inspect.fix import Fix
from slimc.pipeline.inspect.lint import SEVERITIES, Verdict
from slimc.remarks import Remark
from slimc.report.json import plain
from slimc.report.text import integer_layers
from slimc.targets.target import Finding

_VARIES = re.compile(r"'[^']*'|\d+(\.\d+)?(e-?\d+)?")  # names and figures, in messages else alike
_NAMED = 3  # nodes of a group that the summary names


@dataclass(frozen=True)
class Group:
    """Findings of one rule that say the same of several nodes."""

    first: Finding
    nodes: tuple[str, ...]


def groups(findings: Sequence[Finding]) -> tuple[Group, ...]:
    """Sum findings that differ in names and figures alone, the worst severity first."""
    found: dict[tuple[str, str, str], list[Finding]] = {}
    for one in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        key = (one.rule, one.severity, _VARIES.sub("...", one.message))
        found.setdefault(key, []).append(one)
    return tuple(Group(same[0], tuple(f.node for f in same)) for same in found.values())


def verdict_text(verdict: Verdict, details: bool = False, mended: bool = False) -> str:
    """Write the findings for people; details: name every node; mended: --fix has done its work."""
    lines: list[str] = []
    for group in groups(verdict.findings):
        lines += [*_group_lines(group, details), ""]
    mendable = [] if mended else _mendable(verdict)
    return "\n".join([*lines, *_summary(verdict), *mendable])


def _group_lines(group: Group, details: bool) -> list[str]:
    one = group.first
    count = f" ({len(group.nodes)} times)" if len(group.nodes) > 1 else ""
    lines = [f"{one.severity} {one.code} {one.rule}{count}: {one.message}"]
    lines += _names(group.nodes, details, "  ")
    return [*lines, f"  help:  {one.help}"] if one.help else lines


def _names(nodes: Sequence[str], details: bool, indent: str) -> list[str]:
    """Name nodes in a line: all, or the first ones and how many more there are."""
    shown = nodes if details else nodes[:_NAMED]
    more = len(nodes) - len(shown)
    names = ", ".join(f"'{name}'" for name in shown if name)
    tail = f" and {more} more (--details)" if more else ""
    return [f"{indent}nodes: {names}{tail}"] if names else []


def _summary(verdict: Verdict) -> list[str]:
    counts = ", ".join(f"{verdict.count(one)} {one}" for one in SEVERITIES)
    header, meant = verdict.subject.header, len(verdict.intended)
    lines = [
        f"{verdict.subject.target.name}: {counts}",
        f"opset {header.opset}, IR version {header.ir_version}",
    ]
    if meant:
        counted = integer_layers(meant - len(verdict.lost), meant, len(verdict.layers))
        lines.append(f"{counted}, by the rules")
    stored = sum(layer.meant == "weights" for layer in verdict.layers)
    return [*lines, f"store weights alone in few bits: {stored}"] if stored else lines


def _mendable(verdict: Verdict) -> list[str]:
    """Say which of the findings are of rules that have a fix."""
    fixed = {rule.name for rule in verdict.subject.target.rules if rule.fix is not None}
    found = dict.fromkeys(f"{f.code} {f.rule}" for f in verdict.findings if f.rule in fixed)
    return [f"--fix mends what has one right mend of {', '.join(found)}"] if found else []


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """Return all findings as plain values."""
    header = verdict.subject.header
    stored = [layer for layer in verdict.layers if layer.meant == "weights"]
    return {
        "target": verdict.subject.target.name,
        "opset": header.opset,
        "ir_version": header.ir_version,
        "counts": {one: verdict.count(one) for one in SEVERITIES},
        "findings": [finding_dict(one) for one in verdict.findings],
        "contractions": {
            "all": len(verdict.layers),
            "quantized": [layer.node.name for layer in verdict.intended],
            "lost": [layer.node.name for layer in verdict.lost],
            "stored": [layer.node.name for layer in stored],
        },
    }


def finding_dict(one: Finding) -> dict[str, str]:
    """Return a finding as plain values."""
    keys = ("code", "rule", "severity", "node", "message", "help")
    return {key: getattr(one, key) for key in keys}


def fix_text(fixes: Sequence[Fix], details: bool = False) -> str:
    """Write what fixes did, and what they left; `details` names every node."""
    lines: list[str] = []
    for fix in fixes:
        lines.append(f"{fix.code} {fix.rule}{_checked(fix)}")
        lines += _remark_lines(fix.remarks, details)
    return "\n".join([*lines, ""])


def _checked(fix: Fix) -> str:
    if fix.apart is None:
        return ""
    if fix.tolerance == 0:
        return ": run before and after, the results are the same"
    return f": run before and after, results are {fix.apart:.1g} apart, at most {fix.tolerance:g}"


def _remark_lines(remarks: Sequence[Remark], details: bool) -> list[str]:
    """Sum remarks that differ in names and figures alone."""
    found: dict[tuple[str, str, str], list[Remark]] = {}
    for one in remarks:
        key = (one.kind, _VARIES.sub("...", one.message), one.help)
        found.setdefault(key, []).append(one)
    lines = []
    for same in found.values():
        first = same[0]
        word = {"applied": "mended", "skipped": "left"}.get(first.kind, first.kind)
        count = f" ({len(same)} times)" if len(same) > 1 else ""
        lines.append(f"  {word}{count}: {first.message}" + (f" ({first.help})" * bool(first.help)))
        lines += _names([one.node for one in same], details, "    ")
    return lines


def fix_dict(fix: Fix) -> dict[str, Any]:
    """Return what a fix did as plain values."""
    return {
        "code": fix.code,
        "rule": fix.rule,
        "tolerance": fix.tolerance,
        "apart": plain(fix.apart),
        "remarks": [vars(one) for one in fix.remarks],
    }
