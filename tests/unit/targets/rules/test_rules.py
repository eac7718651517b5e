"""Every rule finds what it is for, and nothing in a graph that is as it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qdq_graphs import ADD, CONV, JOIN

from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets import check as engine
from slimc.targets.onnxruntime.devices import CPU_AVX2
from slimc.targets.openvino import OPENVINO
from slimc.targets.target import Finding, Subject, Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

TWO_SCALES = JOIN.replace("%t = constant f32[] 0.02", "%t = constant f32[] 0.03")


def check(text: str, target: Target, edits: dict[str, str]) -> list[Finding]:
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    return list(findings(parse_text(text), target))


def findings(graph: Graph, target: Target) -> list[Finding]:
    """Return what is wrong, or slow; what is only said (how to build an engine) is no fault."""
    found = engine.check(Subject(graph, OPS, target, FileHeader(17, 8)))
    return [one for one in found if one.severity != "info"]


@pytest.mark.parametrize(
    ("text", "target"), [(CONV, JETSON_ORIN), (ADD, CPU_AVX2), (CONV, OPENVINO)]
)
def test_a_graph_that_is_as_it_should_be_has_no_findings(text: str, target: Target) -> None:
    assert check(text, target, {}) == []


TENSORRT_CASES = {
    "zero-points": ("q", {"%z = constant i8[] 0": "%z = constant i8[] 3"}),
    "int8-only": ("q", {"i8[] 0": "u8[] 0", "%q: i8": "%q: u8"}),
    "float-bias": ("dqb", {
        "%y": "%b.q = constant i32[32] fill(3)\n  %bz = constant i32[] 0\n"
              "  %bias: f32[32] = DequantizeLinear(%b.q, %s, %bz) @dqb\n  %y",
        "graph (%x: f32[1,32,4,4]) -> (%b.q = constant i32[32] fill(3)\n  %bz = constant i32[] 0\n"
        "  %bias: f32[32] = DequantizeLinear(%b.q, %s, %bz) @dqb\n  %y)":
        "graph (%x: f32[1,32,4,4]) -> (%y)",
        "%w, %b)": "%w, %bias)",
    }),
    "scalar-scales": ("q", {"%s = constant f32[] 0.02": "%s = constant f32[1] [0.02]",
                            "%z = constant i8[] 0": "%z = constant i8[1] [0]"}),
    "tensor-activations": ("q", {"%s = constant f32[] 0.02": "%s = constant f32[32] fill(0.02)",
                                 "%z = constant i8[] 0": "%z = constant i8[32] fill(0)"}),
    "channel-axis": ("conv", {"{axis=0} @dqw": "{axis=1} @dqw"}),
    "positive-scales": ("dqw", {"random(1, 0.01..0.02)": "fill(0)"}),
    "fitting-scales": ("dqw", {"%w.s = constant f32[32]": "%w.s = constant f32[31]",
                               "%w.z = constant i8[32]": "%w.z = constant i8[31]"}),
    "both-operands": ("conv", {"Conv(%a": "Conv(%x"}),
    "behind-activation": ("conv", {
        "%w: f32": "%r: f32[1,32,4,4] = Relu(%a) @relu\n  %w: f32", "Conv(%a": "Conv(%r"}),
    "four-channels": ("conv", {"f32[1,32,4,4] = Conv": "f32[1,31,4,4] = Conv",
                               "[32,32,1,1]": "[31,32,1,1]", "f32[32]": "f32[31]",
                               "i8[32]": "i8[31]"}),
    "aligned-channels": ("", {"f32[1,32,4,4] = Conv": "f32[1,28,4,4] = Conv",
                              "[32,32,1,1]": "[28,32,1,1]", "f32[32]": "f32[28]",
                              "i8[32]": "i8[28]"}),
    "sound-constants": ("conv", {"random(2)": "fill(nan)"}),
    "outputs-once": ("conv", {"-> (%y)": "-> (%y, %y)"}),
}  # fmt: skip


@pytest.mark.parametrize("rule", list(TENSORRT_CASES))
def test_tensorrt_rules(rule: str) -> None:
    node, edits = TENSORRT_CASES[rule]
    found = [f for f in check(CONV, JETSON_ORIN, edits) if f.rule == rule]
    assert found
    assert found[0].node == node


def test_large_numbers_of_64_bits_are_finite() -> None:
    text = """graph (%x: f64[4,2]) -> (%y)
  %w = constant f64[2,3] [1e300, 1, 1, 1, 1, 1]
  %y: f64[4,3] = MatMul(%x, %w) @product"""
    with np.errstate(all="raise"):
        assert [f.rule for f in check(text, JETSON_ORIN, {}) if f.rule == "sound-constants"] == []


def test_scales_of_an_axis_are_a_list() -> None:
    edits = {"%w.s = constant f32[32]": "%w.s = constant f32[32,1,1,1]",
             "%w.z = constant i8[32]": "%w.z = constant i8[32,1,1,1]"}  # fmt: skip
    found = [f for f in check(CONV, JETSON_ORIN, edits) if f.rule == "fitting-scales"]
    assert [one.node for one in found] == ["dqw"]


ONNXRUNTIME_CASES = {
    "quantized-results": ("conv", {"-> (%y)": "-> (%y, %c)"}),
    "covered-clamps": ("conv", {
        "%d: u8": "%r: f32[1,32,4,4] = Relu(%c) @relu\n  %d: u8", "Linear(%c,": "Linear(%r,"}),
    "guarded-floats": ("conv", {
        "%w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw":
        "%w = constant f32[32,32,1,1] random(5)"}),
    "whole-operands": ("add", {"Add(%e, %a)": "Add(%e, %x)"}),
    "unsaturated-weights": ("conv", {"-64..64": "-120..120"}),
    "stored-float16": ("", {
        "-> (%y)": "-> (%y, %h)", "%q: u8": "%h: f16[1,32,4,4] = Cast(%x) {to=10}\n  %q: u8"}),
}  # fmt: skip


@pytest.mark.parametrize("rule", list(ONNXRUNTIME_CASES))
def test_onnxruntime_rules(rule: str) -> None:
    node, edits = ONNXRUNTIME_CASES[rule]
    found = [f for f in check(ADD, CPU_AVX2, edits) if f.rule == rule]
    assert [f.node for f in found] == [node]


def test_concat_of_unequal_scales() -> None:
    found = [(f.rule, f.node) for f in check(TWO_SCALES, JETSON_ORIN, {})]
    assert found == [("concat-scales", "conv")]
    same = {"%t = constant f32[] 0.03": "%t = constant f32[] 0.02"}
    assert check(TWO_SCALES, JETSON_ORIN, same) == []


def test_one_branch_of_an_add_is_for_the_contraction() -> None:
    both = {
        "-> (%y)": "-> (%o)",
        "Conv(%a, %w, %b) @conv": "Conv(%a, %w, %b) @conv\n"
        "  %yq: i8[1,32,4,4] = QuantizeLinear(%y, %s, %z)\n"
        "  %yd: f32[1,32,4,4] = DequantizeLinear(%yq, %s, %z)\n"
        "  %o: f32[1,32,4,4] = Add(%yd, %a) @add",
    }
    assert [(f.rule, f.node) for f in check(CONV, JETSON_ORIN, both)] == [("one-branch", "add")]


def test_operators_that_swap_with_q_and_dq_may_stand_between() -> None:
    between = {
        "%w: f32": "%r: f32[1,32,4,4] = Identity(%a)\n  %w: f32",
        "Conv(%a": "Conv(%r",
    }
    assert check(CONV, JETSON_ORIN, between) == []


def test_a_gpu_without_int8_takes_no_q_and_dq() -> None:
    found = [f for f in check(CONV, JETSON_NANO, {}) if f.rule == "no-integers"]
    assert [f.node for f in found] == ["q", "dq", "dqw"]


def test_weights_of_openvino_are_symmetric() -> None:
    found = check(
        CONV, OPENVINO, {"%w.z = constant i8[32] fill(0)": "%w.z = constant i8[32] fill(2)"}
    )
    assert [(f.rule, f.node) for f in found] == [("symmetric-weights", "conv")]


def test_operators_and_domains_that_a_runtime_lacks_are_found_in_bodies_too() -> None:
    graph = parse_text(
        """graph (%x: f32[4], %c: bool[]) -> (%y)
  opset com.microsoft 1
  %y: f32[4] = If(%c) @if
    then_branch = graph () -> (%t)
      %t: f32[4] = com.microsoft.QuickGelu(%x) @fused
    else_branch = graph () -> (%f)
      %f: f32[4], _, _, _ = Unique(%x) @distinct"""
    )
    found = {(f.rule, f.node) for f in findings(graph, JETSON_ORIN)}
    assert found == {
        ("known-domains", "fused"),
        ("no-fused-nodes", "fused"),
        ("known-operators", "distinct"),
    }


def test_a_normalisation_behind_a_contraction_could_be_folded() -> None:
    graph = parse_text(
        """graph (%x: f32[1,8,4,4]) -> (%y)
  %w = constant f32[8,8,1,1] random(0)
  %s = constant f32[8] random(1, 0.5..1)
  %c: f32[1,8,4,4] = Conv(%x, %w) @conv
  %y: f32[1,8,4,4] = BatchNormalization(%c, %s, %s, %s, %s) @norm"""
    )
    found = [(f.rule, f.node) for f in findings(graph, replace(JETSON_ORIN, align_float=1))]
    assert found == [("folded-normalisation", "norm")]


def test_a_contraction_of_unknown_rank_is_no_fault() -> None:
    edits = {
        "(%x: f32[1,32,4,4])": "(%x: f32[...])",
        "%q: i8[1,32,4,4]": "%q: i8[...]",
        "%a: f32[1,32,4,4]": "%a: f32[...]",
    }
    assert check(CONV, JETSON_ORIN, edits) == []
