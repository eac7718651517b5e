from __future__ import annotations

import numpy as np

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.onnxruntime.devices import CPU_AVX2, CPU_VNNI, XNNPACK
from slimc.targets.qoperators import qoperators
from slimc.targets.target import Subject, Target

TEXT = """graph (%x: u8[1,8,4,4]) -> (%y)
  opset com.microsoft 1
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %n = constant i8[] 0
  %w = constant i8[8,8,1,1] random(0, -127..127)
  %d = constant i8[8,1,3,3] random(1, -127..127)
  %g = constant i8[4,8] random(2, -127..127)
  %shape = constant i64[2] [-1, 8]
  %a: u8[1,8,4,4] = QLinearConv(%x, %s, %z, %w, %s, %n, %s, %z) @conv
  %b: u8[1,8,4,4] = QLinearConv(%a, %s, %z, %d, %s, %n, %s, %z) {group=8, pads=[1, 1, 1, 1]} @depth
  %c: u8[16,8] = Reshape(%b, %shape)
  %y: u8[16,4] = com.microsoft.QGemm(%c, %s, %z, %g, %s, %n, _, %s, %z) {transB=1} @fc"""


def rules_of(text: str, target: Target) -> list[tuple[str, str]]:
    found = check(Subject(parse_text(text), OPS, target, FileHeader(17, 8)))
    return [(f.rule, f.node) for f in found if f.severity in ("error", "silent")]


def test_operands_and_what_is_summed() -> None:
    found = {one.node.name: one for one in qoperators(parse_text(TEXT))}
    assert {name: one.sums for name, one in found.items()} == {
        "conv": (2, 3, 1),
        "depth": (),
        "fc": (1,),
    }
    assert all(one.data is DType.U8 and one.weight.dtype == np.int8 for one in found.values())


def test_they_saturate_as_well_where_there_is_no_vnni() -> None:
    assert rules_of(TEXT, CPU_AVX2) == [
        ("unsaturated-weights", "conv"),
        ("unsaturated-weights", "fc"),
    ]
    assert rules_of(TEXT, CPU_VNNI) == []
    assert rules_of(TEXT.replace("-127..127", "-64..64"), CPU_AVX2) == []


def test_xnnpack_takes_one_signedness() -> None:
    assert rules_of(TEXT, XNNPACK) == [("one-signedness", "conv"), ("one-signedness", "depth")]
