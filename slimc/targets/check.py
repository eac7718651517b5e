"""Run a target's rules over a file: what compiles refuse by, and what `slimc lint` prints."""

from __future__ import annotations

from dataclasses import replace

from slimc.passes.target import Finding, Subject


def check(subject: Subject) -> tuple[Finding, ...]:
    """Return what the rules of the subject's target find, in their order."""
    return tuple(
        replace(finding, rule=rule.name, code=rule.code)
        for rule in subject.target.rules
        for finding in rule.check(subject)
    )
