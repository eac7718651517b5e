from __future__ import annotations

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.onnxruntime.devices import XNNPACK
from slimc.targets.target import Subject

TEXT = """graph (%x: f32[N,8,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[8,8,1,1] random(0, -64..64)
  %w.s = constant f32[8] random(1, 0.01..0.02)
  %w.z = constant i8[8] fill(0)
  %q: i8[N,8,4,4] = QuantizeLinear(%x, %s, %z)
  %a: f32[N,8,4,4] = DequantizeLinear(%q, %s, %z)
  %w: f32[8,8,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0}
  %c: f32[N,8,4,4] = Conv(%a, %w) @conv
  %d: i8[N,8,4,4] = QuantizeLinear(%c, %s, %z)
  %y: f32[N,8,4,4] = DequantizeLinear(%d, %s, %z)"""
_U8 = {"%z = constant i8[] 0": "%z = constant u8[] 128", "i8[N": "u8[N"}
_U8_WEIGHTS = {"%w.q = constant i8": "%w.q = constant u8", "-64..64": "0..255",
               "i8[8] fill(0)": "u8[8] fill(128)"}  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "rules"),
    [
        ({}, []),  # the number of samples may be open
        ({"N,8,4,4": "1,8,H,W"}, ["known-image"]),
        (_U8, ["one-signedness"]),
        ({**_U8, **_U8_WEIGHTS}, ["one-signedness"]),  # a scale per channel
        (
            {**_U8, **_U8_WEIGHTS, "f32[8] random(1, 0.01..0.02)": "f32[] 0.01",
             "u8[8] fill(128)": "u8[] 128", " {axis=0}": ""},
            [],
        ),
    ],
)  # fmt: skip
def test_convolutions_that_xnnpack_leaves(edits: dict[str, str], rules: list[str]) -> None:
    text = TEXT
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    found = check(Subject(parse_text(text), OPS, XNNPACK, FileHeader(17, 8)))
    assert [f.rule for f in found if f.code == "L35"] == rules
    assert all(f.node == "conv" and f.severity == "silent" for f in found if f.code == "L35")
