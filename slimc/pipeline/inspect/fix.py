"""Mend a file by the fixes of the rules that find something in it, each checked by execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.pipeline.checks import few, half_tolerance
from slimc.remarks import Remark, note, skipped
from slimc.targets.check import SOUND_NODES
from slimc.targets.target import Mended, Subject, TargetRule

Feed = Mapping[str, np.ndarray]

ROUNDS = 4  # a fix may let another rule see more, not for long


@dataclass(frozen=True)
class Fix:
    """What the fix of a rule did. apart: how far results moved, of their largest; None: not run."""

    code: str
    rule: str
    remarks: tuple[Remark, ...]
    tolerance: float = 0.0
    apart: float | None = None


def mend(subject: Subject, feeds: Sequence[Feed]) -> tuple[Subject, tuple[Fix, ...]]:
    """Apply fixes until none changes anything; return the mended subject and what was done.

    A fix that changes results by more than it says is taken back.
    """
    if any(True for _ in SOUND_NODES.check(subject)):
        return subject, ()
    runs = _Runs.of(subject.graph, few(feeds, subject.graph))
    fixes: list[Fix] = []
    known: set[Remark] = set()
    for _ in range(ROUNDS):
        start = subject
        for rule in subject.target.rules:
            if rule.fix is None or not any(True for _ in rule.check(subject)):
                continue
            runs, subject, fix = runs.accept(subject, rule, rule.fix(subject))
            fresh = tuple(one for one in fix.remarks if one not in known)
            known |= set(fresh)
            if fresh:
                fixes.append(replace(fix, remarks=fresh))
        if not _changed(start, subject):
            break
    return subject, tuple(fixes)


def _changed(before: Subject, after: Subject) -> bool:
    return after.graph is not before.graph or after.header != before.header


def _allowed(made: Mended) -> float:
    """Return how far results may be apart; more where what is rounded otherwise is in f16."""
    return max(made.tolerance, half_tolerance(made.subject.graph)) if made.tolerance else 0.0


@dataclass(frozen=True)
class _Runs:
    """The results that a graph has on feeds; or why it has none."""

    feeds: tuple[Feed, ...]
    results: tuple[Mapping[str, Any], ...] = ()
    why_not: str = ""

    @classmethod
    def of(cls, graph: Graph, feeds: Sequence[Feed]) -> _Runs:
        """Run a graph as it stands: onnxruntime fuses nothing, so exact is exact."""
        if not feeds:
            return cls((), (), "there are no samples of its inputs")
        try:
            session = Session(graph, optimize=False)
            return cls(tuple(feeds), tuple(session.run(feed) for feed in feeds))
        except SlimcError as error:
            return cls(tuple(feeds), (), error.message)

    def accept(self, before: Subject, rule: TargetRule, made: Mended) -> tuple[_Runs, Subject, Fix]:
        """Run what a fix made, and keep it if it runs, and gives the same results."""
        fix = Fix(rule.code, rule.name, made.remarks, _allowed(made))
        if made.subject.graph is before.graph:
            return self, made.subject, fix
        after = _Runs.of(made.subject.graph, self.feeds)
        if self.why_not:
            text = f"not checked by execution, as onnxruntime does not run the file: {self.why_not}"
            return after, made.subject, replace(fix, remarks=(*fix.remarks, note(text)))
        apart = self.apart(after)
        if after.why_not or not apart <= fix.tolerance:
            why = after.why_not or f"results would be off by {apart:.2g} of their largest"
            text = f"its fix is taken back: {why}"
            taken = skipped("", text, "this is a fault of the fix; report it")
            return self, before, replace(fix, remarks=(taken,))
        return after, made.subject, replace(fix, apart=apart)

    def apart(self, other: _Runs) -> float:
        """Return the largest difference of any output, of its largest magnitude."""
        pairs = zip(self.results, other.results, strict=False)
        return max((difference(a[o], b[o]) for a, b in pairs for o in a), default=0.0)
