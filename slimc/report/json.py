"""A report as JSON, for machines: all keys are always present, non-finite numbers are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slimc.remarks import Agreement, GraphSize, Latency, PassReport, Remark, Report


def report_json(report: Report) -> str:
    """Write a report as indented JSON."""
    return json.dumps(report_dict(report), indent=1, ensure_ascii=False, allow_nan=False)


def report_dict(report: Report, times: bool = True) -> dict[str, Any]:
    """Return a report as plain values.

    times: include seconds and latency; without them, every run of the same compile gives the same
    report, unless it measured.
    """
    report_values: dict[str, Any] = {
        "recipe": report.recipe,
        "target": report.target,
        "versions": dict(report.versions),
        "digests": dict(report.digests),
        "notes": [remark_dict(note) for note in report.notes],
        "before": measure_dict(report.before),
        "after": measure_dict(report.after),
        "passes": [_pass_dict(pass_, times) for pass_ in report.passes],
        "agreement": [agreement_dict(agreement) for agreement in report.agreement],
        "integer_layers": {
            "intended": report.integer_intended,
            "achieved": report.integer_achieved,
            "float": list(report.integer_float),
        },
        "indices": {"kept": {}, "missing": [], **report.indices},
    }
    if times:
        report_values["latency"] = [_latency_dict(latency) for latency in report.latency]
        report_values["seconds"] = round(sum(pass_.seconds for pass_ in report.passes), 4)
    return report_values


def remark_dict(remark: Remark) -> dict[str, str]:
    """Return a remark as plain values."""
    values = {"kind": remark.kind, "node": remark.node, "message": remark.message}
    return values | ({"help": remark.help} if remark.help else {})


def measure_dict(measure: GraphSize) -> dict[str, int]:
    """Return sizes as plain values."""
    return {
        "bytes": measure.size_bytes,
        "parameters": measure.parameters,
        "macs": measure.macs,
        "nodes": measure.nodes,
    }


def _pass_dict(report: PassReport, times: bool) -> dict[str, Any]:
    return {
        "text": report.text,
        **({"seconds": round(report.seconds, 4)} if times else {}),
        "changed": report.changed,
        "remarks": [remark_dict(remark) for remark in report.remarks],
        "facts": to_plain(report.facts),
    }


def _latency_dict(latency: Latency) -> dict[str, Any]:
    return {key: to_plain(value) for key, value in asdict(latency).items()}


def agreement_dict(agreement: Agreement) -> dict[str, Any]:
    """Return the agreement of an output as plain values."""
    return {
        "output": agreement.output,
        "sqnr_db": _finite_or_none(agreement.sqnr_db),
        "max_abs": _finite_or_none(agreement.max_abs),
        "top1": agreement.top1,
    }


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def to_plain(value: Any) -> Any:
    """Return the facts of a pass as JSON values, with floats that JSON cannot hold as None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(element) for element in value]
    return _finite_or_none(value) if isinstance(value, float) else value
