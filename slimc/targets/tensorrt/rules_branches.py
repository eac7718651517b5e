"""Rules for TensorRT on If: what its branches make, and loops in them.

Where the condition is a constant, the parser reads one branch only, and none of this holds. Where
it follows from sizes that are numbers, releases differ: nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, static_shape
from slimc.targets.target import Finding, Severity, Subject, TargetRule

_RANKS_ALONE = (10, 13)  # the first release seen to build branches of other sizes
_RECURRENT = ("GRU", "LSTM", "RNN")
# Operands that are no states, or the attribute that counts them.
_OWN: Mapping[str, int | str] = {"Loop": 2, "Scan": "num_scan_inputs"}
_SIZES = ("Shape", "Size")


def _equal_branches(subject: Subject) -> Iterator[Finding]:
    """Find outputs of other ranks, before 10.13 of other sizes too."""
    strict = subject.target.release < _RANKS_ALONE
    for node in _computed(subject):
        if not strict and _follows_from_sizes(subject.graph, node.inputs[0]):
            continue  # constant for the builder where a profile gives one size
        first, second = node.bodies
        for a, b in zip(first.outputs, second.outputs, strict=True):
            one, other = subject.facts.tensor(a), subject.facts.tensor(b)
            if one is None or other is None:
                continue
            if _differ(one, other, strict):
                wanted = "shape" if strict else "number of axes"
                message = f"If: its branches make {one} and {other}, which must be of one {wanted}"
                help = "fix what chooses (--bind, --shape): a compile keeps that branch alone"
                yield Finding("error", node.name, message, help)
                break


def _differ(one: TensorType, other: TensorType, sizes: bool) -> bool:
    if one.shape is None or other.shape is None:
        return False
    if len(one.shape) != len(other.shape):
        return True
    known = static_shape(one), static_shape(other)
    return sizes and None not in known and known[0] != known[1]


def _loops_in_branches(subject: Subject) -> Iterator[Finding]:
    """Find loops of which only the state is read: TensorRT-RTX 1.7 ends with an internal error."""
    severity: Severity = "error" if subject.target.release >= _RANKS_ALONE else "info"
    for branch in (body for node in _computed(subject) for body in node.bodies):
        for scope in branch.scopes():
            read = {*scope.outputs, *(v for node in scope.nodes for v in node.reads)}
            for node in scope.nodes:
                stacked, states = _results(node)
                if stacked and not read.intersection(stacked) and read.intersection(states):
                    message = (
                        f"{node.kind}: in a branch of an If only its last state is read; "
                        "TensorRT-RTX 1.7 ends with an internal error there"
                    )
                    help = "read the results of all steps too, or fix what chooses (--bind)"
                    yield Finding(severity, node.name, message, help)


def _results(node: Node) -> tuple[Sequence[str], Sequence[str]]:
    """Return the results of all steps of a loop, and its last states; of other nodes nothing."""
    if node.kind in _RECURRENT:
        return node.outputs[:1], node.outputs[1:]
    if node.kind not in _OWN:
        return (), ()
    own = _OWN[node.kind]
    states = len(node.inputs) - (own if isinstance(own, int) else cast("int", node.attrs[own]))
    return node.outputs[states:], node.outputs[:states]


def _computed(subject: Subject) -> Iterator[Node]:
    """Yield each If of which nothing tells the condition."""
    for node in subject.graph.walk():
        if node.kind == "If":
            known = subject.facts.values.get(node.inputs[0])
            if known is None or known.dtype == object:
                yield node


def _follows_from_sizes(graph: Graph, value: str) -> bool:
    """Tell whether a value is computed of constants and sizes alone."""
    makers = {v: node for node in graph.walk() for v in node.outputs}
    constants = {v for scope in graph.scopes() for v in scope.constants}
    left, seen = [value], set[str]()
    while left:
        value = left.pop()
        if value in seen or value in constants:
            continue
        seen.add(value)
        if value not in makers:
            return False
        if makers[value].op not in _SIZES:
            left += makers[value].reads
    return True


BRANCHES = (
    TargetRule("L17", "equal-branches", "branches of an If make one shape", _equal_branches),
    TargetRule(
        "L17", "loops-in-branches", "loops in branches have all steps read", _loops_in_branches
    ),
)
