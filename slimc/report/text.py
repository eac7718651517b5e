"""A report as text: a line per pass, then before and after, agreement, integer layers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from slimc.remarks import Agreement, GraphSize, Latency, PassReport, Remark, Report

_NAMES = re.compile(r"'[^']*'|@\S+")  # the user's nodes, in otherwise equal messages
_UNITS = (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12), ("P", 10**15))
_MAX_WIDTH = 60  # texts of passes are aligned up to it
_REASONS = 2  # per pass in the summary; --report has all


def report_text(report: Report, details: bool = False) -> str:
    """Write a report for people; `details` adds every remark."""
    lines = [
        f"note: {note.message}" + (f" ({note.help})" if note.help else "") for note in report.notes
    ]
    lines += [f"recipe: {report.recipe or '(canonicalise only)'}   target: {report.target}", ""]
    lengths = [len(pass_.text) for pass_ in report.passes]
    width = max((length for length in lengths if length <= _MAX_WIDTH), default=0)
    for pass_ in report.passes:
        lines.append(f"  {pass_.text:<{width}}  {pass_.seconds:7.2f} s  {pass_summary(pass_)}")
        if details:
            lines += [f"      {remark}" for remark in pass_.remarks]
        else:
            lines[-1] += _omitted_notes(pass_.remarks)
    lines += ["", *measure_lines(report.before, report.after)]
    lines += latency_lines(report.latency)
    lines += agreement_lines(report.agreement)
    lines += integer_lines(report)
    return "\n".join(lines)


def pass_summary(report: PassReport) -> str:
    """Summarize a pass in one line: how many nodes it changed and skipped, and why."""
    kinds = Counter(remark.kind for remark in report.remarks)
    parts = [*_pruning_summary(report.facts), *_sparsity_summary(report.facts)]
    parts += _repair_summary(report.facts) if report.changed else []
    if kinds["applied"] and not parts:
        parts = [f"{kinds['applied']} applied"]
    if kinds["skipped"]:
        parts.append(f"{kinds['skipped']} skipped ({_reasons(report.remarks)})")
    parts += [remark.message for remark in report.remarks if remark.kind == "note"][:1]
    return "; ".join(parts) or ("changed" if report.changed else "nothing to do")


def _omitted_notes(remarks: Sequence[Remark]) -> str:
    """Return how many notes the summary of a pass omits."""
    count = sum(remark.kind == "note" for remark in remarks) - 1
    return f"; {count} more {'notes' if count > 1 else 'note'} (--details)" if count > 0 else ""


def _pruning_summary(facts: Mapping[str, Any]) -> list[str]:
    """Return how many prune groups lost channels, and what that saves, from the facts of a pass."""
    narrow = sum(row["kept"] < row["width"] for row in facts.get("families", ()))
    if not narrow:
        return []
    saved = ", ".join(
        f"{name} {_relative_change(*facts[key])}"
        for name, key in (("MACs", "macs"), ("parameters", "parameters"))
    )
    return [f"{narrow} prune {'groups' if narrow > 1 else 'group'} narrowed: {saved}"]


def _sparsity_summary(facts: Mapping[str, Any]) -> list[str]:
    """Return how many layers have 2:4 weights, from the facts of a pass."""
    count = facts.get("sparse", 0)
    return [f"{count} {'layers' if count > 1 else 'layer'} 2:4"] if count else []


def _repair_summary(facts: Mapping[str, Any]) -> list[str]:
    """Return how many layers were refitted, and their errors, from the facts of a pass."""
    rows = facts.get("layers", ())
    nearer = [row for row in rows if row["error_after"] < row["error_before"]]
    if not nearer:
        return []
    text = f"{len(nearer)} of {len(rows)} layers refitted"
    text += f" on {facts['samples']} samples" if facts.get("samples") else ""
    before, after = (
        f"{100 * median(row[key] for row in nearer):.3g} %"
        for key in ("error_before", "error_after")
    )
    return [f"{text}, median squared error {before} -> {after}"]


def _reasons(remarks: Sequence[Remark]) -> str:
    """Return the most frequent reasons for skipping, without the names of nodes."""
    texts = (_NAMES.sub("...", r.message) for r in remarks if r.kind == "skipped")
    common = Counter(texts).most_common()
    shown = [f"{text}: {count}" if len(common) > 1 else text for text, count in common[:_REASONS]]
    return "; ".join(shown) + ("; ..." if len(common) > _REASONS else "")


def measure_lines(before: GraphSize, after: GraphSize) -> list[str]:
    """Return the table of sizes before and after."""
    rows = [
        ("size", format_bytes(before.size_bytes), format_bytes(after.size_bytes),
         _relative_change(before.size_bytes, after.size_bytes)),
        ("parameters", format_count(before.parameters), format_count(after.parameters),
         _relative_change(before.parameters, after.parameters)),
        ("MACs", format_count(before.macs), format_count(after.macs),
         _relative_change(before.macs, after.macs)),
        ("nodes", str(before.nodes), str(after.nodes), _relative_change(before.nodes, after.nodes)),
    ]  # fmt: skip
    return format_table(("", "before", "after", "change"), rows)


def latency_lines(latency: Sequence[Latency]) -> list[str]:
    """Return the table of latencies, where they were measured."""
    if not latency:
        return []
    rows = [
        (
            {0: "all threads", 1: "one thread"}.get(
                measurement.threads, f"{measurement.threads} threads"
            ),
            f"{1e3 * measurement.before_seconds:.3g} ms",
            f"{1e3 * measurement.after_seconds:.3g} ms",
            f"{measurement.ratio:.3g} ({measurement.low:.3g} to {measurement.high:.3g})",
        )
        for measurement in latency
    ]
    head = f"latency, {latency[0].samples} samples"
    return ["", *format_table((head, "before", "after", "times as fast"), rows)]


def agreement_lines(agreement: Sequence[Agreement]) -> list[str]:
    """Return the table of agreement with the original, output by output."""
    if not agreement:
        return []
    rows = [
        (
            output.output,
            "equal"
            if output.max_abs == 0
            else f"{output.sqnr_db:.1f} dB"
            if _has_sqnr(output)
            else "-",
            f"{output.max_abs:.2g}",
            "-" if output.top1 is None else f"{100 * output.top1:.1f} %",
        )
        for output in agreement
    ]
    return ["", *format_table(("output", "SQNR", "max error", "same top-1"), rows)]


def _has_sqnr(agreement: Agreement) -> bool:
    return math.isfinite(agreement.sqnr_db)


def integer_lines(report: Report) -> list[str]:
    """Return the line on integer layers, where there are any."""
    if not report.integer_intended:
        return []
    total = report.integer_intended + len(report.integer_float)
    text = integer_layers(report.integer_achieved, report.integer_intended, total)
    if report.integer_achieved is None and report.integer_oracle:
        text += f"; to count them: slimc verify FILE --target {report.target}"
    return ["", text]


def integer_layers(reached: int | None, intended: int, contractions: int) -> str:
    """Return how many of the intended layers run in integers; reached None: unknown."""
    counted = f"{intended}" if reached is None else f"{reached} of {intended}"
    return f"integer layers: {counted} intended, among {contractions} contractions"


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  " + "  ".join(
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]  # fmt: skip


def format_count(number: int) -> str:
    """Write a count with three digits: 812, 272 k, 4.19 M, 11.2 G."""
    unit, size = next(
        (unit_size for unit_size in _UNITS if number < 999.5 * unit_size[1]), _UNITS[-1]
    )
    return f"{number / size:.3g} {unit}".rstrip()


def format_bytes(size: int) -> str:
    """Write a size: 812 B, 1.08 MB."""
    text = format_count(size)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def _relative_change(before: int, after: int) -> str:
    if before == 0:
        return "-" if after else "0 %"
    return f"{100 * (after - before) / before:+.1f} %"
