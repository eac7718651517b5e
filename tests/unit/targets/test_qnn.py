from __future__ import annotations

import pytest
from qdq_graphs import ADD

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.qnn import SNAPDRAGON_HTP
from slimc.targets.target import Subject

# Without its sum.
TEXT = ADD.partition("\n  %f: ")[0].replace("%e: ", "%y: ")
_C = "%c: f32[1,32,4,4] = Conv(%a, %w) @conv\n  "
_NORM = "%v = constant f32[32] fill(1)\n  %q: "

# Each was refused by the emulator in onnxruntime-qnn 2.7 (but for the clean one).
CASES: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {
    "clean": ({}, []),
    "no Q": ({"-> (%y)": "-> (%c)"}, [("L26", "conv")]),
    "a clamp": ({_C: _C + "%r: f32[1,32,4,4] = Relu(%c) @relu\n  ", "Linear(%c": "Linear(%r"},
                [("L27", "conv")]),
    "two types": ({"-> (%y)": "-> (%y)\n  %i = constant i8[] 0", "Linear(%c, %s, %z)":
                   "Linear(%c, %s, %i)", "(%d, %s, %z)": "(%d, %s, %i)", "%d: u8": "%d: i8"},
                  [("L30", "conv")]),
    "scales of data": ({"%s = constant f32[] 0.02": "%s = constant f32[32] fill(0.02)",
                        "%z = constant u8[] 128": "%z = constant u8[32] fill(128)"},
                       [("L07", "q"), ("L07", "dq"), ("L07", "cq"), ("L07", "cdq")]),
    "the wrong axis": ({"{axis=0} @dqw": "{axis=1} @dqw"}, [("L36", "conv")]),
    "an unknown size": ({"f32[1,": "f32[N,", "u8[1,": "u8[N,"}, [("L36", "")]),
    "no such operator": ({"%y: f32[1,32,4,4]": "%e: f32[1,32,4,4]", "-> (%y)": "-> (%f)",
                          "@cdq": "@cdq\n  %f: f32[1,32,4,4] = Erf(%e) @erf"}, [("L17", "erf")]),
    "a body": ({"(%x: f32[1,32,4,4])": "(%x: f32[1,32,4,4], %p: bool[])", "-> (%y)": "-> (%f)",
                "@cdq": """@cdq
  %f: f32[1,32,4,4] = If(%p) @if
    then_branch = graph () -> (%t)
      %t: f32[1,32,4,4] = Neg(%y) @neg
    else_branch = graph () -> (%u)
      %u: f32[1,32,4,4] = Abs(%y) @abs"""}, [("L17", "if")]),
    "a normalisation of s8": (
        {"%z = constant u8[] 128": "%z = constant i8[] 0", "u8[1,": "i8[1,", "-> (%y)": "-> (%o)",
         "%q: ": _NORM, "@cdq": "@cdq\n  %n: f32[1,32,4,4] = "
         "BatchNormalization(%y, %v, %v, %v, %v) @bn\n  %m: i8[1,32,4,4] = "
         "QuantizeLinear(%n, %s, %z)\n  %o: f32[1,32,4,4] = DequantizeLinear(%m, %s, %z)"},
        [("L31", "bn")]),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_what_the_builder_does_not_take_is_an_error(case: str) -> None:
    edits, wanted = CASES[case]
    text = TEXT
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    found = check(Subject(parse_text(text), OPS, SNAPDRAGON_HTP, FileHeader(17, 8)))
    assert [(f.code, f.node) for f in found if f.severity == "error"] == wanted


def test_weights_of_16_bits_are_said_to_be_for_newer_chips() -> None:
    text = TEXT.replace("i8[32,32", "i16[32,32").replace("i8[32] fill(0)", "i16[32] fill(0)")
    found = check(Subject(parse_text(text), OPS, SNAPDRAGON_HTP, FileHeader(21, 10)))
    assert [(f.code, f.rule, f.severity) for f in found] == [("L36", "narrow-weights", "info")]
