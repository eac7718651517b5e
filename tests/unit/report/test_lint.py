from __future__ import annotations

from slimc.report.lint import group_findings
from slimc.targets.target import Finding


def test_findings_that_say_the_same_are_summed_the_worst_first() -> None:
    findings = [
        Finding("perf", "a", "12 channels of 'a'", rule="wide", code="L24"),
        Finding("silent", "b", "its data 'v' is float", rule="whole", code="L30"),
        Finding("perf", "c", "7 channels of 'c'", rule="wide", code="L24"),
        Finding("perf", "d", "7 rows of 'd'", rule="wide", code="L24"),
    ]
    assert [(g.first.code, g.nodes) for g in group_findings(findings)] == [
        ("L30", ("b",)),
        ("L24", ("a", "c")),
        ("L24", ("d",)),
    ]
