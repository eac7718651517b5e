"""Rules on where Q and DQ stand: what TensorRT-RTX runs in float is found, and nothing else."""

from __future__ import annotations

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.target import Finding, Subject, Target
from slimc.targets.tensorrt.devices import JETSON_ORIN, JETSON_ORIN_JP60, TRT_A100

HEAD = """  %s = constant f32[] 0.02
  %t = constant f32[] 0.03
  %z = constant i8[] 0
  %w.q = constant i8[32,32,1,1] random(0, -64..64)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %w.z = constant i8[32] fill(0)
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw
  %q: i8[1,C,8,8] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,C,8,8] = DequantizeLinear(%q, %s, %z)
"""


def behind(text: str, channels: int = 32, size: str = "8,8") -> str:
    """Return a graph in which `text` makes %m of a dequantized %a, for a quantized convolution."""
    head = f"graph (%x: f32[1,C,8,8]) -> (%y)\n{HEAD}".replace("[1,C,", f"[1,{channels},")
    return f"{head}{text}\n  %y: f32[1,32,{size}] = Conv(%m, %w) @conv"


def wrong(text: str, target: Target = JETSON_ORIN, loud: bool = True) -> list[Finding]:
    found = check(Subject(parse_text(text), OPS, target, FileHeader(17, 8)))
    return [f for f in found if f.severity == ("silent" if loud else "perf")]


def whole(kind: str, attrs: str = "") -> str:
    return behind(f"  %m: f32[1,32,8,8] = {kind}(%a){attrs} @between")


INTEGER = {  # what TensorRT-RTX 1.7 runs in integers with this between
    "Identity": whole("Identity"),
    "Dropout": whole("Dropout"),
    "Transpose": whole("Transpose", " {perm=[0, 1, 3, 2]}"),
    "MaxPool": whole("MaxPool", " {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}"),
    "Cast": behind("  %m: f32[1,32,8,8] = Cast(%a) {to=1}"),
    "a factor": behind("  %c = constant f32[] 2\n  %m: f32[1,32,8,8] = Mul(%a, %c)"),
    "Pad with 0": behind("  %p = constant i64[8] [0,0,1,1,0,0,1,1]\n"
                         "  %m: f32[1,32,10,10] = Pad(%a, %p)", size="10,10"),
    "Pad with edges": behind("  %p = constant i64[8] [0,0,1,1,0,0,1,1]\n"
                             '  %m: f32[1,32,10,10] = Pad(%a, %p) {mode="edge"}', size="10,10"),
    "Concat of one scale": behind("  %m: f32[1,32,8,8] = Concat(%a, %a) {axis=1}", 16),
    "Concat behind a pool": behind(
        "  %p: f32[1,16,8,8] = MaxPool(%a) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}\n"
        "  %m: f32[1,32,8,8] = Concat(%a, %p) {axis=1}", 16),
}  # fmt: skip


@pytest.mark.parametrize("case", list(INTEGER))
def test_what_moves_with_q_and_dq_may_stand_between(case: str) -> None:
    assert wrong(INTEGER[case]) == []


OTHER = """  %p: i8[1,16,8,8] = QuantizeLinear(%x, %t, %z)
  %b: f32[1,16,8,8] = DequantizeLinear(%p, %t, %z)
"""
FLOAT = {  # and what it runs in float
    "Relu": (whole("Relu"), "L11"),
    "LeakyRelu": (whole("LeakyRelu"), "L11"),
    "AveragePool": (whole("AveragePool", " {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}"), "L11"),
    "Neg": (whole("Neg"), "L10"),
    "Pad with 1": (behind("  %p = constant i64[8] [0,0,1,1,0,0,1,1]\n  %v = constant f32[] 1\n"
                          "  %m: f32[1,32,10,10] = Pad(%a, %p, %v)", size="10,10"), "L10"),
    "two scales": (behind(f"{OTHER}  %m: f32[1,32,8,8] = Concat(%a, %b) {{axis=1}}", 16), "L12"),
    "one in float": (behind("  %m: f32[1,32,8,8] = Concat(%a, %x) {axis=1}", 16), "L12"),
    "data in float": (behind("  %m: f32[1,32,8,8] = Neg(%x)"), "L09"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(FLOAT))
def test_what_hides_q_and_dq_is_found(case: str) -> None:
    text, code = FLOAT[case]
    found = wrong(text)
    assert [(f.code, f.node) for f in found] == [(code, "conv")]
    assert found[0].help


def test_a_weight_in_float_beside_quantized_data() -> None:
    text = whole("Identity").replace(
        "%w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw",
        "%w = constant f32[32,32,1,1] random(3)",
    )
    assert [(f.code, f.node) for f in wrong(text)] == [("L09", "conv")]


WEIGHTS = """graph (%x: f32[4,64]) -> (%y)
  %w.q = constant i8[64,32] random(0, -64..64)
  %w.s = constant f32[] 0.01
  %w.z = constant i8[] 0
  %w: f32[64,32] = DequantizeLinear(%w.q, %w.s, %w.z)
  %y: f32[4,32] = MatMul(%x, %w) @product"""


def test_weights_alone_are_a_scheme_from_tensorrt_10_on() -> None:
    assert wrong(WEIGHTS) == []
    assert [(f.code, f.node) for f in wrong(WEIGHTS, JETSON_ORIN_JP60)] == [("L09", "product")]


def test_a_weight_is_seen_through_what_moves_it() -> None:
    text = whole("Identity").replace(
        "  %q: i8", "  %v: f32[32,32,1,1] = Transpose(%w) {perm=[0, 1, 2, 3]}\n  %q: i8"
    )
    assert wrong(text.replace("Conv(%m, %w)", "Conv(%m, %v)")) == []


def test_transposed_convolutions_have_no_integer_kernel_in_typed_builders() -> None:
    text = whole("Identity").replace("Conv(%m", "ConvTranspose(%m").replace("{axis=0}", "{axis=1}")
    assert wrong(text) == []
    assert [(f.code, f.node) for f in wrong(text, TRT_A100)] == [("L09", "conv")]


PRODUCT = """graph (%x: f32[2,{m},64]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %q: i8[2,{m},64] = QuantizeLinear(%x, %s, %z)
  %a: f32[2,{m},64] = DequantizeLinear(%q, %s, %z)
  %t: f32[2,64,{m}] = Transpose(%a) {{perm=[0, 2, 1]}}
  %y: f32[2,{m},{m}] = MatMul(%a, %t) @product"""


def test_products_of_activations_are_better_in_float() -> None:
    found = wrong(PRODUCT.format(m=32), loud=False)
    assert [(f.code, f.node) for f in found] == [("L43", "product")]


def test_narrow_contractions_gain_nothing() -> None:
    found = wrong(PRODUCT.format(m=8), loud=False)
    assert ("L23", "product") in {(f.code, f.node) for f in found}
    assert "L23" not in {f.code for f in wrong(whole("Identity"), loud=False)}
