"""Run a target's rules over a file: what compiles refuse by, and what `slimc lint` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slimc.ir.graph import Graph
from slimc.passes.target import Finding, Subject
from slimc.targets.contractions import conversions


def check(subject: Subject) -> tuple[Finding, ...]:
    """Return what the rules of the subject's target find, in their order.

    Integers in the body of an If, Loop or Scan are held to the same rules.
    """
    found = list(_findings(subject))
    for body in quantized_bodies(subject.graph):
        inner = _findings(replace(subject, graph=body))
        found += [one for one in inner if one.node in body.by_name]
    return tuple(dict.fromkeys(found))


def _findings(subject: Subject) -> Iterator[Finding]:
    for rule in subject.target.rules:
        for finding in rule.check(subject):
            yield replace(finding, rule=rule.name, code=rule.code)


def quantized_bodies(graph: Graph) -> Iterator[Graph]:
    """Yield bodies that hold Q or DQ, each with the constants and types that it may read.

    Their inputs are left out: sizes that change from turn to turn are no fault of a body.
    """
    for node in graph.nodes:
        for body in node.bodies:
            closed = replace(
                body,
                inputs=(),
                constants={**graph.constants, **body.constants},
                types={**graph.types, **body.types},
            )
            if any(True for _ in conversions(body)):
                yield closed
            yield from quantized_bodies(closed)
