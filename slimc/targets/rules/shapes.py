"""Rules on shapes: runtimes that must know every size when they load the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from slimc.ir.types import TensorType
from slimc.passes.target import Finding, Severity, Subject


def static_inputs(severity: Severity) -> Callable[[Subject], Iterator[Finding]]:
    """Make a check that finds inputs with sizes that are not known."""

    def check(subject: Subject) -> Iterator[Finding]:
        graph, target = subject.graph, subject.target
        for value in graph.inputs:
            kind = graph.type_of(value)
            if not isinstance(kind, TensorType) or kind.shape is None:
                continue
            if all(isinstance(size, int) for size in kind.shape):
                continue
            want = "is faster with" if severity == "perf" else "needs"
            sizes = "x".join(str(s) if isinstance(s, int) else "1" for s in kind.shape)
            message = f"input '{value}' is {kind}: {target.name} {want} sizes that are numbers"
            yield Finding(severity, "", message, f"fix them: --shape {value}={sizes}")

    return check
