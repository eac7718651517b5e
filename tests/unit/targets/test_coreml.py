from __future__ import annotations

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.coreml import COREML
from slimc.targets.target import Subject

TEXT = """graph (%x: f32[1,8], %t: f32[8,8]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %q: u8[1,8] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,8] = DequantizeLinear(%q, %s, %z) @dq
  %y: f32[1,8] = MatMul(%a, %t) @product"""


def rules_of(text: str) -> list[tuple[str, str, str]]:
    found = check(Subject(parse_text(text), OPS, COREML, FileHeader(17, 8)))
    return [(f.rule, f.severity, f.node) for f in found]


def test_q_and_dq_end_what_core_ml_takes() -> None:
    assert rules_of(TEXT) == [
        ("no-conversions", "silent", "q"),
        ("constant-weights", "info", "product"),
    ]


def test_open_sizes_are_left_to_the_cpu() -> None:
    text = "graph (%x: f32[N,4]) -> (%y)\n  %y: f32[N,4] = Relu(%x)"
    assert rules_of(text) == [("open-sizes", "perf", "")]
