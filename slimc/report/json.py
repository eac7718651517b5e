"""A report as JSON, for machines: all keys are always there, numbers not finite are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slimc.remarks import Agreement, Latency, Measure, PassReport, Remark, Report


def report_json(report: Report) -> str:
    """Write a report as indented JSON."""
    return json.dumps(report_dict(report), indent=1, ensure_ascii=False, allow_nan=False)


def report_dict(report: Report, times: bool = True) -> dict[str, Any]:
    """Return a report as plain values.

    times: with seconds and latency; without them, the report of the same compile is the same in
    every run, if it did not measure.
    """
    found: dict[str, Any] = {
        "recipe": report.recipe,
        "target": report.target,
        "versions": dict(report.versions),
        "digests": dict(report.digests),
        "notes": [remark_dict(one) for one in report.notes],
        "before": measure_dict(report.before),
        "after": measure_dict(report.after),
        "passes": [_pass(one, times) for one in report.passes],
        "agreement": [agreement_dict(one) for one in report.agreement],
        "integer_layers": {
            "intended": report.integer_intended,
            "achieved": report.integer_achieved,
            "float": list(report.integer_float),
        },
        "indices": {"kept": {}, "missing": [], **report.indices},
    }
    if times:
        found["latency"] = [_latency(one) for one in report.latency]
        found["seconds"] = round(sum(one.seconds for one in report.passes), 4)
    return found


def remark_dict(remark: Remark) -> dict[str, str]:
    """Return a remark as plain values."""
    found = {"kind": remark.kind, "node": remark.node, "message": remark.message}
    return found | ({"help": remark.help} if remark.help else {})


def measure_dict(measure: Measure) -> dict[str, int]:
    """Return sizes as plain values."""
    return {
        "bytes": measure.size_bytes,
        "parameters": measure.parameters,
        "macs": measure.macs,
        "nodes": measure.nodes,
    }


def _pass(one: PassReport, times: bool) -> dict[str, Any]:
    return {
        "text": one.text,
        **({"seconds": round(one.seconds, 4)} if times else {}),
        "changed": one.changed,
        "remarks": [remark_dict(remark) for remark in one.remarks],
        "facts": plain(one.facts),
    }


def _latency(one: Latency) -> dict[str, Any]:
    return {key: plain(value) for key, value in asdict(one).items()}


def agreement_dict(one: Agreement) -> dict[str, Any]:
    """Return the agreement of an output as plain values."""
    return {
        "output": one.output,
        "sqnr_db": _finite(one.sqnr_db),
        "max_abs": _finite(one.max_abs),
        "top1": one.top1,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Return tables of a pass with floats that JSON cannot hold as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return _finite(value) if isinstance(value, float) else value
