"""Rules on types: each finds what it is for, by release, and nothing in a sound graph."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from qdq_graphs import CONV

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.target import Subject, Target
from slimc.targets.tensorrt.devices import (
    JETSON_NANO,
    JETSON_ORIN,
    JETSON_ORIN_JP51,
    JETSON_ORIN_JP60,
    JETSON_TX2,
    JETSON_XAVIER_JP46,
    TRT_A100,
    TRT_ADA,
)

BEFORE_Q = CONV.replace("%w.q = constant i8", "%w.f = constant f32").replace(
    "  %q: i8",
    "  %w.q: i8[32,32,1,1] = QuantizeLinear(%w.f, %w.s, %w.z) {axis=0} @qw\n  %q: i8",
)
FLOAT8 = """graph (%x: f32[1,32,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant f8e4m3fn[] 0
  %w.q = constant f8e4m3fn[32,32,1,1] fill(1)
  %q: f8e4m3fn[1,32,4,4] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,32,4,4] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %s, %z) @dqw
  %y: f32[1,32,4,4] = Conv(%a, %w) @conv"""
FOUR = """graph (%x: f32[4,64]) -> (%y)
  %w.q = constant i4[64,32] random(0, -7..7)
  %w.s = constant f32[2,32] fill(0.1)
  %w: f32[64,32] = DequantizeLinear(%w.q, %w.s) {axis=0, block_size=32} @dqw
  %y: f32[4,32] = MatMul(%x, %w) @product"""
UNSIGNED = {"i8[] 0": "u8[] 0", "%q: i8": "%q: u8"}
NO_ZERO = {"QuantizeLinear(%x, %s, %z)": "QuantizeLinear(%x, %s)", "(%q, %s, %z)": "(%q, %s)"}
ROUND = {"%q: i8": "%q: u8"} | NO_ZERO
SEVEN_ROWS = {"[64,32]": "[64,31]", "[2,32]": "[2,31]", "f32[4,32]": "f32[4,31]"}
STACK = {
    "(%x: f32[4,64])": "(%x: f32[2,4,64])", "[64,32]": "[2,64,32]", "[2,32]": "[2,2,32]",
    "axis=0": "axis=1", "f32[4,32]": "f32[2,4,32]",
}  # fmt: skip


def found(text: str, target: Target, edits: Mapping[str, str]) -> set[tuple[str, str, str]]:
    """Return (code, severity, node) of what is wrong with a graph."""
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    findings = check(Subject(parse_text(text), OPS, target, FileHeader(17, 8)))
    return {(f.code, f.severity, f.node) for f in findings if f.severity in ("error", "silent")}


@pytest.mark.parametrize(
    ("text", "target"),
    [(CONV, JETSON_ORIN), (CONV, JETSON_ORIN_JP60), (CONV, JETSON_ORIN_JP51), (CONV, TRT_A100),
     (BEFORE_Q, JETSON_ORIN), (BEFORE_Q, JETSON_XAVIER_JP46), (FLOAT8, TRT_ADA),
     (FOUR, JETSON_ORIN), (FOUR, TRT_A100)],
)  # fmt: skip
def test_a_sound_graph_has_no_findings(text: str, target: Target) -> None:
    assert found(text, target, {}) == set()


ERROR, SILENT = "error", "silent"
CASES = {
    "another zero point": (CONV, JETSON_ORIN, {"i8[] 0": "i8[] 3"},
                           {("L01", ERROR, "q"), ("L01", ERROR, "dq")}),
    "no zero point, 8.5": (CONV, JETSON_ORIN_JP51, ROUND,
                           {("L01", ERROR, "q"), ("L01", ERROR, "dq")}),
    "no zero point, later": (CONV, JETSON_ORIN_JP60, ROUND, {("L01", SILENT, "q")}),
    "u8": (CONV, JETSON_ORIN, UNSIGNED, {("L02", ERROR, "q"), ("L02", ERROR, "dq")}),
    "u8 taken for i8": (CONV, TRT_A100, UNSIGNED, {("L02", SILENT, "q"), ("L02", SILENT, "dq")}),
    "i16": (CONV, TRT_A100, {"i8[] 0": "i16[] 0", "%q: i8": "%q: i16"},
            {("L02", ERROR, "q"), ("L02", ERROR, "dq")}),
    "E5M2": (FLOAT8, TRT_ADA, {"f8e4m3fn": "f8e5m2"},
             {("L02", ERROR, "q"), ("L02", ERROR, "dq"), ("L02", ERROR, "dqw")}),
    "i4 before 10": (FOUR, JETSON_ORIN_JP60, {},
                     {("L02", ERROR, "dqw"), ("L09", SILENT, "product")}),
    "i32 bias": (CONV, JETSON_ORIN, {
        "%b = constant f32[32] random(2)": "%b.q = constant i32[32] fill(3)",
        "  %q: i8": "  %bz = constant i32[] 0\n"
                    "  %b: f32[32] = DequantizeLinear(%b.q, %s, %bz) @dqb\n  %q: i8"},
        {("L03", ERROR, "dqb")}),
    "scale of shape [1]": (CONV, JETSON_ORIN, {
        "%s = constant f32[] 0.02": "%s = constant f32[1] [0.02]", "i8[] 0": "i8[1] [0]"},
        {("L06", SILENT, "q"), ("L06", SILENT, "dq")}),
    "stored integers before 8.5": (CONV, JETSON_XAVIER_JP46, {}, {("L15", ERROR, "dqw")}),
    "f16 scale before 8.5": (BEFORE_Q, JETSON_XAVIER_JP46, {"f32": "f16"},
        {("L16", ERROR, name) for name in ("q", "dq", "qw", "dqw")}),
    "Q/DQ on a Nano": (CONV, JETSON_NANO, {}, {("L20", ERROR, one) for one in ("q", "dq", "dqw")}),
    "Q/DQ on a TX2": (CONV, JETSON_TX2, {}, {("L20", ERROR, one) for one in ("q", "dq", "dqw")}),
    "odd rows of i4": (FOUR, JETSON_ORIN, SEVEN_ROWS, {("L21", ERROR, "dqw")}),
    "a stack of i4": (FOUR, JETSON_ORIN, STACK, {("L21", ERROR, "dqw")}),
    "8-bit floats on SM 8.0": (FLOAT8, TRT_A100, {},
                               {("L22", ERROR, name) for name in ("q", "dq", "dqw")}),
    "floats of two types": (CONV, JETSON_ORIN, {"%b = constant f32": "%b = constant f16"},
                            {("L16", ERROR, "conv")}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_findings(case: str) -> None:
    text, target, edits, wanted = CASES[case]
    assert found(text, target, edits) == wanted


def test_newer_releases_take_what_10_3_does_not() -> None:
    assert found(FOUR, TRT_A100, SEVEN_ROWS) == set()
    assert found(FOUR, TRT_A100, STACK) == set()
    half = CONV.replace("f32", "f16")
    assert found(half, JETSON_ORIN_JP51, {}) == set()


def test_opset_19_alone_says_f16_scales_and_tensorrt_8_does_not_know_it() -> None:
    half = parse_text(CONV.replace("f32", "f16"))
    for target, codes in ((JETSON_ORIN_JP60, {"L16"}), (JETSON_ORIN, set())):
        findings = check(Subject(half, OPS, target, FileHeader(19, 9)))
        assert {one.code for one in findings if one.severity == "error"} == codes
