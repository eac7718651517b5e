"""One deliberately broken file per rule code: the code is found, on the node that is broken.

Each case edits a sound graph, of which the same target finds nothing of that code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from qdq_graphs import ADD, CONV, JOIN

from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.inspect.lint import lint
from slimc.targets.target import Finding

ADVICE = ("perf", "info")
ALWAYS = ("build-command", "few-subgraphs")  # rules that tell of every file

SIGNED = re.sub(r"u8(\[\] )128", r"i8\g<1>0", ADD).replace("u8[1,", "i8[1,")
ARM = SIGNED.replace("%z = constant i8[] 0", "%z = constant i8[] 3")
FLOAT = """graph (%x: f32[1,32,4,4]) -> (%y)
  %w = constant f32[32,32,1,1] random(0)
  %n = constant f32[32] random(1, 0.5..1)
  %c: f32[1,32,4,4] = Conv(%x, %w) @conv
  %y: f32[1,32,4,4] = Relu(%c) @act"""
NORMALISED = {
    "%y: f32[1,32,4,4] = Relu(%c) @act":
    "%y: f32[1,32,4,4] = BatchNormalization(%c, %n, %n, %n, %n) @norm"
}  # fmt: skip
BLOCKS = """graph (%x: f32[4,64]) -> (%y)
  %w.q = constant i4[64,32] random(0, -8..7)
  %w.s = constant f32[2,32] random(1, 0.01..0.02)
  %w: f32[64,32] = DequantizeLinear(%w.q, %w.s) {axis=0, block_size=32} @dqw
  %y: f32[4,32] = MatMul(%x, %w) @product"""
FLOAT8 = """graph (%x: f32[4,64]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant f8e4m3fn[] 0
  %w.q = constant f8e4m3fn[64,32] random(0, -8..8)
  %q: f8e4m3fn[4,64] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[4,64] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[64,32] = DequantizeLinear(%w.q, %s, %z) @dqw
  %y: f32[4,32] = MatMul(%a, %w) @product"""
SHARED = SIGNED.replace("-> (%y)", "-> (%y, %u)") + "\n  %u: f32[1,32,4,4] = Sigmoid(%e) @gate"

HALF_ZERO = f"[{', '.join((['1'] * 16 + ['0'] * 16) * 32)}]"  # of each four all, or none


@dataclass(frozen=True)
class Case:
    """A sound graph, what breaks it, and where that is found.

    more: codes that the same fault shows too. clean_on: a target that finds nothing, where none of
    the same kind takes the graph.
    """

    target: str
    text: str
    node: str
    edits: dict[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    opset: int | None = None
    ir_version: int = 8
    clean_on: str = ""


CASES = {
    "L01": Case("jetson-orin", CONV, "q", {"%z = constant i8[] 0": "%z = constant i8[] 3"}),
    "L02": Case("jetson-orin", CONV, "q", {"i8[] 0": "u8[] 0", "%q: i8": "%q: u8"}),
    "L03": Case("jetson-orin", CONV, "dqb", {
        "  %q:": "  %b.q = constant i32[32] fill(3)\n  %b.z = constant i32[] 0\n"
                 "  %c: f32[32] = DequantizeLinear(%b.q, %s, %b.z) @dqb\n  %q:",
        "%w, %b)": "%w, %c)"}),
    "L04": Case("jetson-orin", CONV, "dqw", {"random(1, 0.01..0.02)": "fill(0)"}),
    "L05": Case("jetson-orin", CONV, "dqw", {
        "%w.s = constant f32[32]": "%w.s = constant f32[31]",
        "%w.z = constant i8[32]": "%w.z = constant i8[31]"}),
    "L06": Case("jetson-orin", CONV, "q", {
        "f32[] 0.02": "f32[1] [0.02]", "i8[] 0": "i8[1] [0]"}),
    "L07": Case("jetson-orin", CONV, "q", {
        "f32[] 0.02": "f32[32] fill(0.02)", "i8[] 0": "i8[32] fill(0)"}),
    "L08": Case("jetson-orin", CONV, "conv", {"{axis=0} @dqw": "{axis=1} @dqw"}),
    "L09": Case("jetson-orin", CONV, "conv", {"Conv(%a": "Conv(%x"}),
    "L10": Case("jetson-orin", CONV, "conv", {
        "  %w: f32": "  %r: f32[1,32,4,4] = Abs(%a) @size\n  %w: f32", "Conv(%a": "Conv(%r"}),
    "L11": Case("jetson-orin", CONV, "conv", {
        "  %w: f32": "  %r: f32[1,32,4,4] = Relu(%a) @act\n  %w: f32", "Conv(%a": "Conv(%r"}),
    "L12": Case("jetson-orin", JOIN, "conv", {
        "%t = constant f32[] 0.02": "%t = constant f32[] 0.03"}),
    "L13": Case("jetson-orin", CONV, "add", {
        "-> (%y)": "-> (%o)",
        "%w, %b) @conv": "%w, %b) @conv\n  %yq: i8[1,32,4,4] = QuantizeLinear(%y, %s, %z)\n"
                         "  %yd: f32[1,32,4,4] = DequantizeLinear(%yq, %s, %z)\n"
                         "  %o: f32[1,32,4,4] = Add(%yd, %a) @add"}),
    "L14": Case("jetson-orin", FLOAT, "norm", NORMALISED),
    "L15": Case("jetson-xavier-jp46", CONV, "dqw", clean_on="jetson-xavier"),
    "L16": Case("jetson-orin", FLOAT, "act", {
        "Relu(%c)": "Add(%c, %h)",
        "  %c: f32": "  %h = constant f16[] 1\n  %c: f32"}),
    "L17": Case("jetson-orin", FLOAT, "act", {
        "-> (%y)": "-> (%y, %i)", "%y: f32[1,32,4,4] = Relu(%c)": "%y, _, %i, _ = Unique(%c)"}),
    "L18": Case("jetson-nano", FLOAT, "act", {
        "  %c: f32": "  %i = constant i64[1] [1]\n  %c: f32",
        "%y: f32[1,32,4,4] = Relu(%c)": "%y: f32[1,1,4,4] = ReduceMax(%c, %i)"}, opset=18),
    "L19": Case("jetson-orin", FLOAT, "act", {
        "  %w =": "  opset com.microsoft 1\n  %w =",
        "Relu(%c)": 'com.microsoft.FusedConv(%c, %w) {activation="Relu"}'}, more=("L17",)),
    "L20": Case("jetson-nano", CONV, "q", clean_on="jetson-xavier"),
    "L21": Case("jetson-orin", BLOCKS, "dqw", {
        "[64,32]": "[64,31]", "[2,32]": "[2,31]", "[4,32]": "[4,31]"}, opset=21),
    "L22": Case("jetson-orin", FLOAT8, "q", opset=19, clean_on="trt-h100"),
    "L23": Case("jetson-orin", CONV, "conv", {
        "[1,32,4,4]": "[1,8,4,4]", "[32,32,1,1]": "[8,8,1,1]", "[32]": "[8]"}, more=("L24",)),
    "L24": Case("jetson-orin", CONV, "conv", {
        "%y: f32[1,32": "%y: f32[1,30", "[32,32,1,1]": "[30,32,1,1]", "[32]": "[30]"}),
    "L25": Case("jetson-orin", FLOAT, "", {"[1,32,4,4]": "[N,32,8,8]"}),
    "L26": Case("cpu-avx2", ADD, "conv", {"-> (%y)": "-> (%y, %c)"}),
    "L27": Case("cpu-avx2", ADD, "conv", {
        "  %d: u8": "  %r: f32[1,32,4,4] = Relu(%c) @act\n  %d: u8", "Linear(%c,": "Linear(%r,"}),
    "L28": Case("cpu-avx2", ADD, "conv", {
        "  %q:": "  %b = constant f32[32] random(3)\n  %q:", "(%a, %w)": "(%a, %w, %k)",
        "  %c:": "  %bz = constant i8[] 0\n  %bq = constant i8[32] random(4, -9..9)\n"
                 "  %k: f32[32] = DequantizeLinear(%bq, %s, %bz)\n  %c:"}),
    "L29": Case("cpu-avx2", ADD, "conv", {"-64..64": "-120..120"}),
    "L30": Case("cpu-avx2", ADD, "add", {"Add(%e, %a)": "Add(%e, %x)"}),
    "L31": Case("cpu-avx2", FLOAT, "norm", NORMALISED),
    "L32": Case("cpu-avx2", SHARED, "conv", more=("L30",), clean_on="cpu-arm64"),
    "L33": Case("cpu-avx2", FLOAT, "", {
        "-> (%y)": "-> (%y, %h)",
        "  %c: f32": "  %h: f16[1,32,4,4] = Cast(%x) {to=10}\n  %c: f32"}),
    "L34": Case("cpu-avx2", FLOAT, "", {
        "%c: f32[1,32": "%c: f32[1,30", "%y: f32[1,32": "%y: f32[1,30",
        "[32,32,1,1]": "[30,32,1,1]"}),
    "L35": Case("xnnpack", ADD, "conv", clean_on="cpu-avx2"),
    "L36": Case("snapdragon-htp", ADD, "", {"[1,32,4,4]": "[N,32,8,8]"}),
    "L37": Case("openvino", CONV, "conv", {
        "%w.z = constant i8[32] fill(0)": "%w.z = constant i8[32] fill(2)"}),
    "L38": Case("coreml", CONV, "q", clean_on="openvino"),
    "L39": Case("jetson-orin-dla", FLOAT, "conv", {
        "[32,32,1,1]": "[32,32,33,33]", "%x: f32[1,32,4,4]": "%x: f32[1,32,40,40]"}),
    "L40": Case("jetson-orin", FLOAT, "act", {"-> (%y)": "-> (%y, %y)"}),
    "L41": Case("jetson-orin", FLOAT, "conv", {"random(0)": HALF_ZERO}),
}  # fmt: skip


def broken(case: Case) -> str:
    text = case.text
    for old, new in case.edits.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def found(text: str, target: str, case: Case, folder: Path) -> list[Finding]:
    """Write a file and lint it."""
    path = folder / "model.onnx"
    write(parse_text(text), path, case.opset, case.ir_version)
    names = catalogue()
    return list(lint(path, names.target(target), names.ops).findings)


@pytest.mark.parametrize("code", list(CASES))
def test_a_broken_file_is_found(code: str, tmp_path: Path) -> None:
    case = CASES[code]
    findings = found(broken(case), case.target, case, tmp_path)
    assert case.node in {one.node for one in findings if one.code == code}
    worse = {one.code for one in findings if one.severity not in ADVICE}
    assert worse <= {code, *case.more}
    assert all(one.message for one in findings)


@pytest.mark.parametrize("code", list(CASES))
def test_its_sound_neighbour_is_not(code: str, tmp_path: Path) -> None:
    case = CASES[code]
    text = case.text if case.edits else broken(case)
    findings = found(text, case.clean_on or case.target, case, tmp_path)
    assert [one for one in findings if one.code == code and one.rule not in ALWAYS] == []
    assert [one for one in findings if one.severity not in ADVICE] == []


def test_every_code_has_a_broken_file() -> None:
    assert list(CASES) == [f"L{number:02}" for number in range(1, 42)]
