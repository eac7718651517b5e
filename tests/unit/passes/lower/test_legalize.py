from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from slimc.errors import SlimcError
from slimc.ir.graph import Form
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.lower.legalize import legalize
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.opset import file_opset
from slimc.targets.target import Finding, Subject, Target, TargetRule
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

RELU = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Relu(%x) @relu")


def finding(severity: str, node: str = "relu") -> Target:
    """Return a target with one rule that finds one thing."""

    def check(subject: Subject) -> Iterator[Finding]:
        yield Finding(severity, node, "it is odd", "make it even")  # type: ignore[arg-type] # severities of a test

    return replace(GENERIC_ONNX, rules=(TargetRule("L99", "odd-rule", "nothing is odd", check),))


def test_a_legal_graph_names_its_target_and_opset() -> None:
    result = legalize(RELU, JETSON_ORIN, OPS)
    assert result.graph.form is Form.LEGAL
    assert result.graph.target == "jetson-orin"
    assert result.facts == {"opset": 17, "ir_version": 8}
    command = "trtexec --onnx=MODEL.onnx --saveEngine=MODEL.engine --fp16"
    assert [r.message for r in result.remarks] == [f"build the engine with: {command}"]


def test_an_error_of_a_rule_names_the_node_and_the_rule() -> None:
    with pytest.raises(SlimcError, match="it is odd") as caught:
        legalize(RELU, finding("error"), OPS)
    assert caught.value.name == "target-refuses"
    assert caught.value.where == "'relu', rule L99 odd-rule of target generic-onnx"
    assert caught.value.help == "make it even"


def test_a_silent_finding_is_an_error_only_where_integers_were_meant() -> None:
    target = finding("silent")
    assert [r.message for r in legalize(RELU, target, OPS).remarks] == ["it is odd"]
    meant = replace(RELU, nodes=(replace(RELU.nodes[0], integer=True),))
    with pytest.raises(SlimcError, match="it is odd") as caught:
        legalize(meant, target, OPS)
    assert caught.value.name == "integers-lost"


def test_advice_becomes_remarks() -> None:
    (remark,) = legalize(RELU, finding("perf"), OPS).remarks
    assert (remark.kind, remark.node, remark.help) == ("note", "relu", "make it even")


def test_the_file_is_written_in_the_first_opset_that_expresses_the_graph() -> None:
    gelu = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Gelu(%x)")
    assert file_opset(RELU, JETSON_ORIN) == 17
    assert file_opset(gelu, JETSON_ORIN) == 20
    assert file_opset(RELU, JETSON_NANO) == 13


def test_what_no_opset_of_the_target_expresses_names_the_node() -> None:
    sample = parse_text(
        """graph (%x: f32[1,1,4,4], %g: f32[1,2,2,2]) -> (%y)
  %y: f32[1,1,2,2] = GridSample(%x, %g) @sample"""
    )
    with pytest.raises(SlimcError) as caught:
        file_opset(sample, JETSON_NANO)
    assert caught.value.name == "opset-cannot-express"
    assert "'sample'" in caught.value.where
    assert "jetson-nano reads opset 13" in caught.value.where
