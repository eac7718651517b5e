"""A report as plain text: a line per pass, then before and after, agreement, integer layers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from slimc.remarks import Agreement, Latency, Measure, PassReport, Remark, Report

_NAMES = re.compile(r"'[^']*'|@\S+")  # the user's nodes, in messages that else are alike
_UNITS = (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12), ("P", 10**15))
_WIDEST = 60  # texts of passes are lined up to it
_REASONS = 2  # of one pass in the summary; --report has them all


def report_text(report: Report, details: bool = False) -> str:
    """Write a report for people; `details` adds every remark."""
    lines = [
        f"note: {one.message}" + (f" ({one.help})" if one.help else "") for one in report.notes
    ]
    lines += [f"recipe: {report.recipe or '(canonicalise only)'}   target: {report.target}", ""]
    lengths = [len(one.text) for one in report.passes]
    width = max((length for length in lengths if length <= _WIDEST), default=0)
    for one in report.passes:
        lines.append(f"  {one.text:<{width}}  {one.seconds:7.2f} s  {pass_summary(one)}")
        if details:
            lines += [f"      {remark}" for remark in one.remarks]
        else:
            lines[-1] += _notes_left(one.remarks)
    lines += ["", *measure_lines(report.before, report.after)]
    lines += latency_lines(report.latency)
    lines += agreement_lines(report.agreement)
    lines += integer_lines(report)
    return "\n".join(lines)


def pass_summary(one: PassReport) -> str:
    """Say in one line what a pass did: how many nodes it changed and left, and why it left them."""
    kinds = Counter(remark.kind for remark in one.remarks)
    parts = [*_narrowed(one.facts), *_sparse(one.facts)]
    parts += _repaired(one.facts) if one.changed else []
    if kinds["applied"] and not parts:
        parts = [f"{kinds['applied']} applied"]
    if kinds["skipped"]:
        parts.append(f"{kinds['skipped']} skipped ({_reasons(one.remarks)})")
    parts += [remark.message for remark in one.remarks if remark.kind == "note"][:1]
    return "; ".join(parts) or ("changed" if one.changed else "nothing to do")


def _notes_left(remarks: Sequence[Remark]) -> str:
    """Say how many notes the summary of a pass leaves out."""
    left = sum(remark.kind == "note" for remark in remarks) - 1
    return f"; {left} more {'notes' if left > 1 else 'note'} (--details)" if left > 0 else ""


def _narrowed(facts: Mapping[str, Any]) -> list[str]:
    """Say how many families lost channels, and what that saves, where a pass tells."""
    narrow = sum(row["kept"] < row["width"] for row in facts.get("families", ()))
    if not narrow:
        return []
    saved = ", ".join(
        f"{name} {_share(*facts[key])}"
        for name, key in (("MACs", "macs"), ("parameters", "parameters"))
    )
    return [f"{narrow} {'families' if narrow > 1 else 'family'} narrowed: {saved}"]


def _sparse(facts: Mapping[str, Any]) -> list[str]:
    """Say how many layers have 2:4 weights now, where a pass tells."""
    count = facts.get("sparse", 0)
    return [f"{count} {'layers' if count > 1 else 'layer'} 2:4"] if count else []


def _repaired(facts: Mapping[str, Any]) -> list[str]:
    """Say how many layers were refitted, and how far off they are, where a pass tells."""
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
    return [f"{text}, squared error of the middle one {before} -> {after}"]


def _reasons(remarks: Sequence[Remark]) -> str:
    """Return the most frequent reasons for skipping, the names of nodes left out."""
    texts = (_NAMES.sub("...", r.message) for r in remarks if r.kind == "skipped")
    common = Counter(texts).most_common()
    shown = [f"{text}: {count}" if len(common) > 1 else text for text, count in common[:_REASONS]]
    return "; ".join(shown) + ("; ..." if len(common) > _REASONS else "")


def measure_lines(before: Measure, after: Measure) -> list[str]:
    """Return the table of sizes before and after."""
    rows = [
        ("size", human_bytes(before.size_bytes), human_bytes(after.size_bytes),
         _share(before.size_bytes, after.size_bytes)),
        ("parameters", human(before.parameters), human(after.parameters),
         _share(before.parameters, after.parameters)),
        ("MACs", human(before.macs), human(after.macs), _share(before.macs, after.macs)),
        ("nodes", str(before.nodes), str(after.nodes), _share(before.nodes, after.nodes)),
    ]  # fmt: skip
    return table(("", "before", "after", "change"), rows)


def latency_lines(latency: Sequence[Latency]) -> list[str]:
    """Return the table of latencies, where they were measured."""
    if not latency:
        return []
    rows = [
        (
            {0: "all threads", 1: "one thread"}.get(one.threads, f"{one.threads} threads"),
            f"{1e3 * one.before_seconds:.3g} ms",
            f"{1e3 * one.after_seconds:.3g} ms",
            f"{one.ratio:.3g} ({one.low:.3g} to {one.high:.3g})",
        )
        for one in latency
    ]
    head = f"latency, {latency[0].samples} samples"
    return ["", *table((head, "before", "after", "times as fast"), rows)]


def agreement_lines(agreement: Sequence[Agreement]) -> list[str]:
    """Return the table of agreement with the original, output by output."""
    if not agreement:
        return []
    rows = [
        (
            one.output,
            "equal" if one.max_abs == 0 else f"{one.sqnr_db:.1f} dB" if _known(one) else "-",
            f"{one.max_abs:.2g}",
            "-" if one.top1 is None else f"{100 * one.top1:.1f} %",
        )
        for one in agreement
    ]
    return ["", *table(("output", "SQNR", "max error", "same top-1"), rows)]


def _known(one: Agreement) -> bool:
    return math.isfinite(one.sqnr_db)


def integer_lines(report: Report) -> list[str]:
    """Return the line on integer layers, where there are any."""
    if not report.integer_intended:
        return []
    total = report.integer_intended + len(report.integer_float)
    text = integer_layers(report.integer_achieved, report.integer_intended, total)
    if report.integer_achieved is None and report.integer_oracle:
        text += f"; how many run so: slimc verify FILE --target {report.target}"
    return ["", text]


def integer_layers(reached: int | None, intended: int, contractions: int) -> str:
    """Say how many layers run in integers of those meant to, of all that could; None: not known."""
    counted = f"{intended}" if reached is None else f"{reached} of {intended}"
    return f"integer layers: {counted} intended, among {contractions} contractions"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  " + "  ".join(
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]  # fmt: skip


def human(number: int) -> str:
    """Write a count with three digits: 812, 272 k, 4.19 M, 11.2 G."""
    unit, size = next((one for one in _UNITS if number < 999.5 * one[1]), _UNITS[-1])
    return f"{number / size:.3g} {unit}".rstrip()


def human_bytes(size: int) -> str:
    """Write a size: 812 B, 1.08 MB."""
    text = human(size)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def _share(before: int, after: int) -> str:
    if before == 0:
        return "-" if after else "0 %"
    return f"{100 * (after - before) / before:+.1f} %"
