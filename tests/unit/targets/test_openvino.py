from __future__ import annotations

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.openvino import OPENVINO, OPENVINO_NPU
from slimc.targets.target import Subject, Target

PRODUCT = """graph (%x: f32[1,4,16,16], %t: f32[1,4,16,16]) -> (%y)
  %s = constant f32[] 0.02
  %p = constant TYPE[] FIRST
  %z = constant TYPE[] SECOND
  %xq: TYPE[1,4,16,16] = QuantizeLinear(%x, %s, %p)
  %a: f32[1,4,16,16] = DequantizeLinear(%xq, %s, %p)
  %tq: TYPE[1,4,16,16] = QuantizeLinear(%t, %s, %z)
  %b: f32[1,4,16,16] = DequantizeLinear(%tq, %s, %z)
  %y: f32[1,4,16,16] = MatMul(%a, %b) @scores"""
BLOCKS = """graph (%x: f32[4,64]) -> (%y)
  %w.q = constant i4[SHAPE] random(0, -8..7)
  %w.s = constant f32[SCALES] random(1, 0.01..0.02)
  %w: f32[SHAPE] = DequantizeLinear(%w.q, %w.s) {axis=AXIS, block_size=32} @dqw
  %y: f32[4,32] = NODE @product"""


def rules_of(text: str, target: Target = OPENVINO) -> list[tuple[str, str, str]]:
    found = check(Subject(parse_text(text), OPS, target, FileHeader(21, 10)))
    return [(f.rule, f.severity, f.node) for f in found if f.severity in ("error", "silent")]


# Executed precisions of OpenVINO 2026.4: i8 for the first ones, f32 for the last ones.
@pytest.mark.parametrize(
    ("kind", "first", "second", "integer"),
    [
        ("i8", "0", "0", True),
        ("u8", "0", "128", True),
        ("u8", "134", "128", False),
        ("u8", "128", "128", False),
        ("u8", "0", "0", False),
        ("u8", "0", "135", False),
        ("i8", "-128", "7", False),
    ],
)
def test_products_of_two_values_have_no_zero_point(
    kind: str, first: str, second: str, integer: bool
) -> None:
    text = PRODUCT.replace("TYPE", kind).replace("FIRST", first).replace("SECOND", second)
    found = rules_of(text)
    assert found == ([] if integer else [("symmetric-products", "silent", "scores")])


@pytest.mark.parametrize(
    ("shape", "scales", "axis", "node", "loads"),
    [
        ("64,32", "2,32", 0, "MatMul(%x, %w)", True),
        ("64,32", "64,1", 1, "MatMul(%x, %w)", False),
        ("32,64", "32,2", 1, "Gemm(%x, %w) {transB=1}", True),
    ],
)
def test_blocks_lie_along_what_is_summed(
    shape: str, scales: str, axis: int, node: str, loads: bool
) -> None:
    text = BLOCKS.replace("SHAPE", shape).replace("SCALES", scales).replace("AXIS", str(axis))
    found = rules_of(text.replace("NODE", node))
    assert found == ([] if loads else [("summed-blocks", "error", "product")])


SUM = """graph (%x: f32[1,8,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 120
  %w = constant f32[2,8,1,1] random(1, -0.5..0.5)
  %b = constant f32[1,2,1,1] random(2)
  %i = constant u8[1,2,1,1] random(3, 0..200)
  %c: f32[1,2,4,4] = Conv(%x, %w)
  %m: f32[1,2,4,4] = BETWEEN(%c)
  %cq: u8[1,2,4,4] = QuantizeLinear(%m, %s, %z)
  %cd: f32[1,2,4,4] = DequantizeLinear(%cq, %s, %z)
  %bq: u8[1,2,1,1] = QuantizeLinear(%b, %s, %z)
  %bd: f32[1,2,1,1] = DequantizeLinear(STORED, %s, %z)
  %y: f32[1,2,4,4] = KIND(%cd, %bd) @sum"""


# Executed: OpenVINO 2026.4 compiles all but the first two ("CALLBACK HAS THROWN").
@pytest.mark.parametrize(
    ("between", "stored", "kind", "compiles"),
    [
        ("", "%bq", "Add", False),
        ("", "%bq", "Mul", False),
        ("", "%bq", "Sub", True),
        ("", "%i", "Add", True),
        ("Relu", "%bq", "Add", True),
    ],
)
def test_added_constants_are_stored(between: str, stored: str, kind: str, compiles: bool) -> None:
    text = SUM.replace("STORED", stored).replace("KIND", kind)
    if not between:
        text = text.replace("  %m: f32[1,2,4,4] = BETWEEN(%c)\n", "").replace("(%m,", "(%c,")
    found = rules_of(text.replace("BETWEEN", between))
    assert found == ([] if compiles else [("stored-operands", "error", "sum")])


DATA = """graph (%x: f32[1,8,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant TYPE[] ZERO
  %n = constant i8[] 0
  %o = constant f32[] 0
  %six = constant f32[] 6
  %w = constant i8[8,8,1,1] random(1, -60..60)
  %q: TYPE[1,8,4,4] = QuantizeLinear(%x, %s, %z)
  %m: TYPE[1,8,4,4] = BETWEEN
  %d: f32[1,8,4,4] = DequantizeLinear(%m, %s, %z)
  %r: f32[1,8,4,4] = BEHIND
  %v: f32[8,8,1,1] = DequantizeLinear(%w, %s, %n)
  %y: f32[1,8,4,4] = Conv(%r, %v) @conv"""
POOL = "MaxPool(%VALUE) {kernel_shape=[1, 1]}"
TURN = "Transpose(%VALUE) {perm=[0, 1, 3, 2]}"


# Executed precisions of OpenVINO 2026.4: i8, or f32 where there is a rule.
@pytest.mark.parametrize(
    ("kind", "zero", "between", "behind", "rule"),
    [
        ("i8", 0, "Identity(%VALUE)", "Identity(%VALUE)", ""),
        ("i8", 0, POOL, POOL, ""),
        ("i8", 0, "Identity(%VALUE)", TURN, ""),
        ("i8", 0, TURN, "Identity(%VALUE)", "direct-data"),
        ("i8", 0, POOL, "Relu(%VALUE)", "direct-data"),
        ("u8", 128, POOL, "Relu(%VALUE)", "direct-data"),
        ("u8", 0, POOL, "Relu(%VALUE)", ""),
        ("u8", 0, POOL, "Clip(%VALUE, %o, %six)", "direct-data"),
        ("u8", 0, "Cast(%x) {to=2}", "Identity(%VALUE)", "made-by-q"),
    ],
)
def test_data_come_from_q_and_dq(
    kind: str, zero: int, between: str, behind: str, rule: str
) -> None:
    text = DATA.replace("TYPE", kind).replace("ZERO", str(zero))
    text = text.replace("BETWEEN", between.replace("VALUE", "q"))
    found = rules_of(text.replace("BEHIND", behind.replace("VALUE", "d")))
    assert found == ([(rule, "silent", "conv")] if rule else [])


def test_a_computed_scale_runs_in_float() -> None:
    text = """graph (%x: f32[1,8,4,4], %t: f32[]) -> (%y)
  %f = constant f32[] 0.02
  %z = constant i8[] 0
  %w = constant i8[8,8,1,1] random(1, -60..60)
  %s: f32[] = Abs(%t)
  %q: i8[1,8,4,4] = QuantizeLinear(%x, %s, %z)
  %d: f32[1,8,4,4] = DequantizeLinear(%q, %s, %z)
  %v: f32[8,8,1,1] = DequantizeLinear(%w, %f)
  %y: f32[1,8,4,4] = Conv(%d, %v) @conv"""
    assert rules_of(text) == [("made-by-q", "silent", "conv")]


def test_integers_from_outside_are_made_by_no_q() -> None:
    text = """graph (%x: i8[1,8,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %w = constant i8[8,8,1,1] random(1, -60..60)
  %d: f32[1,8,4,4] = DequantizeLinear(%x, %s)
  %v: f32[8,8,1,1] = DequantizeLinear(%w, %s)
  %y: f32[1,8,4,4] = Conv(%d, %v) @conv"""
    assert rules_of(text) == [("made-by-q", "silent", "conv")]


def test_convolutions_know_the_rank_of_their_data() -> None:
    """Executed: OpenVINO 2026.4 refuses "the input data tensor's rank has to be known"."""
    text = """graph (%x: f32[...]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %y: f32[...] = Conv(%x, %w) @c"""
    assert rules_of(text) == [("known-ranks", "error", "c")]
    assert not rules_of(text.replace("[...]", "[1,4,N,M]"))


def test_an_npu_needs_sizes() -> None:
    text = "graph (%x: f32[N,4]) -> (%y)\n  %y: f32[N,4] = Relu(%x)"
    assert not rules_of(text)
    assert rules_of(text, OPENVINO_NPU) == [("open-sizes", "error", "")]
