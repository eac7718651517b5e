"""What the rules say of a file is what onnxruntime makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimized import integer_kernels

from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.onnxruntime.devices import CPU_ARM64, CPU_AVX2, CPU_VNNI
from slimc.targets.target import Finding, Subject, Target

CONV = """graph (%x: f32[1,16,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %least = constant u8[] 0
  %w.q = constant i8[16,16,1,1] random(0, -64..64)
  %w.s = constant f32[16] random(1, 0.01..0.02)
  %w.z = constant i8[16] fill(0)
  %b = constant f32[16] random(2)
  %q: u8[1,16,4,4] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,16,4,4] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[16,16,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw
  %c: f32[1,16,4,4] = Conv(%a, %w, %b) @conv
  %d: u8[1,16,4,4] = QuantizeLinear(%c, %s, %z) @cq
  %y: f32[1,16,4,4] = DequantizeLinear(%d, %s, %z) @cdq"""
GEMM = """graph (%x: f32[4,16]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %w.q = constant i8[16,8] random(0, -64..64)
  %w.s = constant f32[8] random(1, 0.01..0.02)
  %w.z = constant i8[8] fill(0)
  %b = constant f32[8] random(2)
  %q: u8[4,16] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[4,16] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[16,8] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=1} @dqw
  %y: f32[4,8] = Gemm(%a, %w, %b) @fc"""
_Q = "%c: f32[1,16,4,4] = Conv(%a, %w, %b) @conv\n  "
_SIGNED = {"u8[] 128": "i8[] 0", "u8[] 0": "i8[] -128", "u8[1,": "i8[1,"}
_MANY_READERS = {"(%d, %s, %z) @cdq": "(%d, %s, %z) @cdq\n  %e: f32[1,16,4,4] = Add(%a, %y)",
                 "-> (%y)": "-> (%e)"}  # fmt: skip

CASES: dict[str, tuple[str, Target, dict[str, str], str]] = {
    "as it should be": (CONV, CPU_VNNI, {}, ""),
    "an output between": (CONV, CPU_VNNI, {"-> (%y)": "-> (%y, %c)"}, "quantized-results"),
    "a Relu that Q covers": (
        CONV, CPU_VNNI, {_Q: _Q + "%r: f32[1,16,4,4] = Relu(%c) @relu\n  ",
                         "Linear(%c, %s, %z)": "Linear(%r, %s, %least)",
                         "(%d, %s, %z)": "(%d, %s, %least)"}, ""),
    "a Relu that Q does not cover": (
        CONV, CPU_VNNI, {_Q: _Q + "%r: f32[1,16,4,4] = Relu(%c) @relu\n  ",
                         "Linear(%c": "Linear(%r"}, "covered-clamps"),
    "a Reshape before Q": (
        CONV, CPU_VNNI, {"-> (%y)": "-> (%y)\n  %shape = constant i64[2] [1, 256]",
                         _Q: _Q + "%r: f32[1,256] = Reshape(%c, %shape) @flat\n  ",
                         "Linear(%c": "Linear(%r", "%d: u8[1,16,4,4]": "%d: u8[1,256]",
                         "%y: f32[1,16,4,4]": "%y: f32[1,256]", ", %b)": ")"}, ""),
    "a MaxPool behind DQ": (
        CONV, CPU_VNNI, {"%w: f32": "%p: f32[1,16,4,4] = MaxPool(%a) {kernel_shape=[1, 1]}\n  "
                                    "%w: f32", "Conv(%a": "Conv(%p"}, ""),
    "a Relu behind DQ": (
        CONV, CPU_VNNI, {"%w: f32": "%p: f32[1,16,4,4] = Relu(%a) @relu\n  %w: f32",
                         "Conv(%a": "Conv(%p"}, "quantized-data"),
    "data and result of two types": (
        CONV, CPU_VNNI, {"%least = constant u8[] 0": "%least = constant i16[] 0",
                         "Linear(%c, %s, %z)": "Linear(%c, %s, %least)",
                         "(%d, %s, %z)": "(%d, %s, %least)", "%d: u8": "%d: i16"}, "one-type"),
    "s8 on x86, one reader": (CONV, CPU_VNNI, _SIGNED, ""),
    "s8 on x86, two readers": (CONV, CPU_VNNI, {**_SIGNED, **_MANY_READERS}, "unsigned-data"),
    "s8 on x86, an output": (
        CONV,
        CPU_VNNI,
        {**_SIGNED, "-> (%y)": "-> (%y, %a)"},
        "unsigned-data",
    ),
    "s8 on ARM, two readers": (CONV, CPU_ARM64, {**_SIGNED, **_MANY_READERS}, ""),
    "a float bias without Q": (GEMM, CPU_VNNI, {}, "integer-bias"),
    "no bias, no Q": (GEMM, CPU_VNNI, {", %b)": ")"}, ""),
}  # fmt: skip


def edited(text: str, edits: dict[str, str]) -> Graph:
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    return parse_text(text)


def found(graph: Graph, target: Target) -> list[Finding]:
    findings = check(Subject(graph, OPS, target, FileHeader(21, 8)))
    return [f for f in findings if f.severity == "silent" and f.rule != "whole-operands"]


@pytest.mark.parametrize("case", list(CASES))
def test_a_layer_is_told_exactly_where_it_stays_in_float(case: str) -> None:
    text, target, edits, rule = CASES[case]
    graph = edited(text, edits)
    assert [f.rule for f in found(graph, target)] == [rule] * bool(rule)
    assert integer_kernels(graph, signed=target is CPU_ARM64) == int(not rule)


def test_float_biases_stay_floats_in_old_releases() -> None:
    graph = parse_text(CONV)
    assert not found(graph, CPU_AVX2)
    old = replace(CPU_AVX2, version="1.18")
    assert [(f.code, f.rule) for f in found(graph, old)] == [("L28", "integer-bias")]


def test_clips_are_covered_up_to_their_bounds() -> None:
    bounds = "-> (%y)\n  %low = constant f32[] 0\n  %high = constant f32[] "
    clip = {
        _Q: _Q + "%r: f32[1,16,4,4] = Clip(%c, %low, %high) @clip\n  ",
        "Linear(%c, %s, %z)": "Linear(%r, %s, %least)",
        "(%d, %s, %z)": "(%d, %s, %least)",
    }
    within = edited(CONV, {"-> (%y)": bounds + "6", **clip})
    beyond = edited(CONV, {"-> (%y)": bounds + "3", **clip})
    assert not found(within, CPU_VNNI)
    assert [f.rule for f in found(beyond, CPU_VNNI)] == ["covered-clamps"]
    assert [integer_kernels(graph) for graph in (within, beyond)] == [1, 0]


def test_later_opsets_are_not_loaded() -> None:
    def found(opset: int) -> list[tuple[str, str]]:
        subject = Subject(parse_text(CONV), OPS, CPU_VNNI, FileHeader(opset, 10))
        return [(f.rule, f.severity) for f in check(subject) if f.severity == "error"]

    assert found(22) == []
    assert found(23) == [("readable-opset", "error")]
    subject = Subject(parse_text(CONV), OPS, CPU_VNNI, FileHeader(23, 10))
    (rule,) = [rule for rule in CPU_VNNI.rules if rule.name == "readable-opset"]
    assert rule.fix is not None
    assert rule.fix(subject).subject.header.opset == 17
