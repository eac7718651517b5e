"""Run a target's rules over a file: what compiles refuse by, and what `slimc lint` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slimc.io.schemas import find_violation
from slimc.ir.graph import Graph, Node
from slimc.ir.types import ValueType
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.targets.contractions import conversions
from slimc.targets.target import Finding, Subject, TargetRule


def _sound_nodes(subject: Subject) -> Iterator[Finding]:
    types = {value: kind for scope in subject.graph.scopes() for value, kind in _types(scope)}
    for node in subject.graph.walk():
        why = find_violation(node, types) or _lacks_scale(node)
        if why:
            message = f"{node.kind}: {why}; no other rule can judge the file"
            yield Finding("error", node.name, message, "export the model again")


def _lacks_scale(node: Node) -> str:
    """Look at Q and DQ of other domains, of which there is no schema."""
    whole = len(node.inputs) > 1 and all(node.inputs[:2]) and bool(node.outputs)
    return "" if node.op not in (QUANTIZE, DEQUANTIZE) or whole else "it lacks data or a scale"


def _types(graph: Graph) -> Iterator[tuple[str, ValueType]]:
    yield from graph.types.items()
    yield from ((value, constant.type) for value, constant in graph.constants.items())


# Of every target, and before all others, which take nodes for what ONNX says they are.
SOUND_NODES = TargetRule("L40", "sound-nodes", "nodes are as ONNX allows them", _sound_nodes)


def check(subject: Subject) -> tuple[Finding, ...]:
    """Return what the rules of the subject's target find, in their order.

    Integers in the body of an If, Loop or Scan are held to the same rules. Where nodes are not as
    ONNX allows them, that is all.
    """
    broken = tuple(_stamped(SOUND_NODES, subject))
    if broken:
        return broken
    found = list(_findings(subject))
    for body in quantized_bodies(subject.graph):
        inner = _findings(replace(subject, graph=body))
        found += [one for one in inner if one.node in body.by_name]
    return tuple(dict.fromkeys(found))


def _findings(subject: Subject) -> Iterator[Finding]:
    for rule in subject.target.rules:
        yield from _stamped(rule, subject)


def _stamped(rule: TargetRule, subject: Subject) -> Iterator[Finding]:
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
