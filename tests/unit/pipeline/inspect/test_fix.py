"""Fixes are run before and after, and taken back where they change what they may not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.inspect.fix import Fix, mend
from slimc.remarks import applied
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.target import Finding, Mended, Subject, TargetRule

RELU = "graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x) @act"
FEED = {"x": np.linspace(-2, 2, 16, dtype=np.float32).reshape(2, 8)}


def rule(becomes: str, tolerance: float = 0.0) -> TargetRule:
    """Make a rule that finds every Relu, and a fix that makes another operator of it."""

    def check(subject: Subject) -> Iterator[Finding]:
        for node in subject.graph.nodes:
            if node.op == "Relu":
                yield Finding("error", node.name, "it is a Relu")

    def fix(subject: Subject) -> Mended:
        nodes = [replace(n, op=becomes) if n.op == "Relu" else n for n in subject.graph.nodes]
        graph = replace(subject.graph, nodes=tuple(nodes))
        return Mended(replace(subject, graph=graph), (applied("act", "mended"),), tolerance)

    return TargetRule("L99", "no-relu", "there is no Relu", check, fix)


def tried(text: str, rules: Iterable[TargetRule], feed: bool = True) -> tuple[Graph, list[Fix]]:
    target = replace(GENERIC_ONNX, rules=tuple(rules))
    subject = Subject(parse_text(text), OPS, target, FileHeader(17, 8))
    made, fixes = mend(subject, [FEED] if feed else [])
    return made.graph, list(fixes)


def test_a_fix_that_keeps_all_values_is_kept() -> None:
    graph, (fix,) = tried(RELU.replace("Relu(%x)", "Relu(%x.p)").replace(
        "  %y", "  %x.p: f32[2,8] = Exp(%x)\n  %y"), [rule("Identity")])  # fmt: skip
    assert [node.op for node in graph.nodes] == ["Exp", "Identity"]
    assert (fix.apart, fix.tolerance) == (0.0, 0.0)


def test_a_fix_that_changes_values_is_taken_back() -> None:
    graph, (fix,) = tried(RELU, [rule("Identity")])
    assert [node.op for node in graph.nodes] == ["Relu"]
    assert [one.kind for one in fix.remarks] == ["skipped"]
    assert "taken back" in fix.remarks[0].message


def test_a_fix_may_be_as_far_apart_as_it_says() -> None:
    graph, (fix,) = tried(RELU, [rule("Softplus", tolerance=0.5)])
    assert [node.op for node in graph.nodes] == ["Softplus"]
    assert fix.apart is not None
    assert 0 < fix.apart < 0.5


def test_a_fix_that_does_not_run_is_taken_back() -> None:
    graph, (fix,) = tried(RELU, [rule("NoSuchOperator")])
    assert [node.op for node in graph.nodes] == ["Relu"]
    assert "taken back" in fix.remarks[0].message


def test_what_does_not_run_before_is_mended_and_said() -> None:
    text = "graph (%x: f32[2,8]) -> (%y)\n  opset own 1\n  %r: f32[2,8] = Relu(%x) @act\n"
    text += "  %y: f32[2,8] = own.Plugin(%r)"
    for feed in (True, False):
        graph, (fix,) = tried(text, [rule("Identity")], feed)
        assert graph.nodes[0].op == "Identity"
        assert fix.apart is None
        assert [one.kind for one in fix.remarks] == ["applied", "note"]


def test_nothing_found_is_nothing_done() -> None:
    graph, fixes = tried(RELU.replace("Relu", "Tanh"), [rule("Identity")])
    assert [node.op for node in graph.nodes] == ["Tanh"]
    assert fixes == []
