from __future__ import annotations

import numpy as np
import pytest

from slimc.execute.exact_sums import with_exact_sums
from slimc.execute.ort import Session
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ir.verify import verify

SHARED = """graph (%x: f32[1,4,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %k = constant i8[4,4,1,1] random(0, -120..120)
  %ks = constant f32[4] fill(0.002)
  %kz = constant i8[4] fill(0)
  %w: f32[4,4,1,1] = DequantizeLinear(%k, %ks, %kz) {axis=0} @weight
  %q: u8[1,4,4,4] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,4,4,4] = DequantizeLinear(%q, %s, %z)
  %b: f32[1,4,4,4] = Conv(%a, %w) @first
  %c: u8[1,4,4,4] = QuantizeLinear(%b, %s, %z)
  %d: f32[1,4,4,4] = DequantizeLinear(%c, %s, %z)
  %e: f32[1,4,4,4] = Conv(%d, %w) @second
  %f: u8[1,4,4,4] = QuantizeLinear(%e, %s, %z)
  %y: f32[1,4,4,4] = DequantizeLinear(%f, %s, %z)"""
TWICE = SHARED.replace(
    "@weight", "@weight\n  %v: f32[4,4,1,1] = DequantizeLinear(%k, %ks, %kz) {axis=0} @again"
).replace("Conv(%d, %w)", "Conv(%d, %v)")
ZERO = TWICE.replace(
    "  %ks =", "  %k2 = constant i8[4,4,1,1] random(1, -120..120)\n  %ks ="
).replace(
    "DequantizeLinear(%k, %ks, %kz) {axis=0} @again",
    "DequantizeLinear(%k2, %ks, %kz) {axis=0} @again",
)
ABSENT = SHARED.replace("DequantizeLinear(%k, %ks, %kz)", "DequantizeLinear(%k, %ks)")

SUM = 64 * 255 * 127  # of products u8 * s8 at their limits: in pairs, beyond 16 bits
HEAD = """graph (%x: u8[4,64]) -> (%y)
  opset com.microsoft 1
  %w = constant i8[64,8] fill(127)
  %g = constant i8[8,64] fill(127)
  %s = constant f32[] 1
  %t = constant f32[] 10000
  %z = constant u8[] 0
  %n = constant i8[] 0
  """
MATRICES = [
    ("%y: i32[4,8] = MatMulInteger(%x, %w)", SUM),
    ("%y: i32[4,8] = MatMulInteger(%x, %w, %z, %n)", SUM),
    ("%y: u8[4,8] = QLinearMatMul(%x, %s, %z, %w, %s, %n, %t, %z)", round(SUM / 10000)),
    ("%y: f32[4,8] = com.microsoft.QGemm(%x, %s, %z, %g, %s, %n) {transB=1}", SUM),
    ("%y: f32[4,8] = com.microsoft.MatMulIntegerToFloat(%x, %w, %s, %s)", SUM),
    ("%y: f32[4,8] = com.microsoft.MatMulIntegerToFloat(%x, %w, %s, %s, %z, %n)", SUM),
    (
        """%f: f32[4,64] = Cast(%x) {to=1}
  %y: f32[4,8] = com.microsoft.DynamicQuantizeMatMul(%f, %w, %s)""",
        SUM,
    ),
]
IMAGES = [
    ("%y: i32[1,8,2,2] = ConvInteger(%x, %w)", SUM),
    ("%y: u8[1,8,2,2] = QLinearConv(%x, %s, %z, %w, %s, %n, %t, %z)", round(SUM / 10000)),
]
IMAGE = HEAD.replace("u8[4,64]", "u8[1,64,2,2]").replace("i8[64,8]", "i8[8,64,1,1]")


@pytest.mark.parametrize("text", [SHARED, TWICE, ZERO, ABSENT])
def test_stored_weights_become_unsigned_whoever_reads_them(text: str) -> None:
    graph = parse_text(text)
    exact = with_exact_sums(graph)
    verify(exact)
    for name in ("first", "second"):
        stored = exact.producers[exact.by_name[name].inputs[1]].inputs
        assert exact.constants[stored[0]].dtype is DType.U8
        assert exact.constants[stored[2]].array.tolist() == [128] * 4
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
    y = Session(graph).run({"x": x})["y"]
    np.testing.assert_allclose(y, Session(graph, optimize=False).run({"x": x})["y"], atol=0.021)


def test_weights_of_other_types_stay() -> None:
    text = SHARED.replace("i8[4,4,1,1] random(0, -120..120)", "u8[4,4,1,1] random(0, 0..240)")
    graph = parse_text(text.replace("constant i8[4] ", "constant u8[4] "))
    assert with_exact_sums(graph) is graph


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [(HEAD + t, n) for t, n in MATRICES] + [(IMAGE + t, n) for t, n in IMAGES],
)
def test_products_at_the_limits_do_not_saturate(text: str, wanted: int, optimize: bool) -> None:
    graph = parse_text(text)
    shape = graph.types["x"].shape  # type: ignore[union-attr]
    y = Session(graph, optimize=optimize).run({"x": np.full(shape, 255, np.uint8)})["y"]
    assert np.unique(y).tolist() == [wanted]
    verify(with_exact_sums(graph))


@pytest.mark.parametrize("optimize", [True, False])
def test_weights_that_are_computed(optimize: bool) -> None:
    graph = parse_text("""graph (%x: u8[4,64], %w: i8[64,8]) -> (%y)
  %y: i32[4,8] = MatMulInteger(%x, %w)""")
    feeds = {"x": np.full((4, 64), 255, np.uint8), "w": np.full((64, 8), 127, np.int8)}
    y = Session(graph, optimize=optimize).run(feeds)["y"]
    assert np.unique(y).tolist() == [SUM]


@pytest.mark.parametrize("optimize", [True, False])
def test_signed_data_keep_their_kernels(optimize: bool) -> None:
    """Products s8 * s8 are exact as they are, and operators have no kernels for s8 * u8."""
    for line in (
        "%y: i32[4,8] = MatMulInteger(%x, %w)",
        "%y: f32[4,8] = com.microsoft.QGemm(%x, %s, %n, %g, %s, %n) {transB=1}",
    ):
        graph = parse_text(HEAD.replace("u8[4,64]", "i8[4,64]") + line)
        assert with_exact_sums(graph) is graph
        y = Session(graph, optimize=optimize).run({"x": np.full((4, 64), 127, np.int8)})["y"]
        assert np.unique(y).tolist() == [64 * 127 * 127]


def test_a_convolution_of_signed_data_by_unsigned_weights() -> None:
    """Its weight is the first factor: u8 by s8."""
    text = IMAGE.replace("x: u8", "x: i8").replace("%w = constant i8", "%w = constant u8")
    graph = parse_text(text.replace("fill(127)", "fill(255)", 1) + IMAGES[0][0])
    y = Session(graph).run({"x": np.full((1, 64, 2, 2), 127, np.int8)})["y"]
    assert np.unique(y).tolist() == [SUM]


def test_a_body_reads_a_weight_of_its_own() -> None:
    graph = parse_text("""graph (%x: f32[1,4], %c: bool[]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %k = constant i8[4,4] random(0, -120..120)
  %ks = constant f32[4] fill(0.002)
  %kz = constant i8[4] fill(0)
  %w: f32[4,4] = DequantizeLinear(%k, %ks, %kz) {axis=1} @weight
  %q: u8[1,4] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,4] = DequantizeLinear(%q, %s, %z)
  %b: f32[1,4] = MatMul(%a, %w) @outside
  %y: f32[1,4] = If(%c) @choice
    then_branch = graph () -> (%t)
      %t: f32[1,4] = MatMul(%b, %w) @inside
    else_branch = graph () -> (%e)
      %e: f32[1,4] = Neg(%b) @else""")
    verify(with_exact_sums(graph))
    feed = {"x": np.ones((1, 4), np.float32), "c": np.array(True)}
    exact = Session(graph).run(feed)["y"]
    plain = Session(graph, optimize=False).run(feed)["y"]
    np.testing.assert_allclose(exact, plain, atol=1e-4)


MEASURED = """graph (%x: f32[n,16], %c: bool[]) -> (%y)
  %w = constant i8[16,16] random(0, -40..40)
  %z = constant i8[] 0
  %q: u8[n,16], %s: f32[], %zero: u8[] = DynamicQuantizeLinear(%x) @measure
  %a: i32[n,16] = MatMulInteger(%q, %w, %zero, %z) @first
  %b: i32[n,16] = MatMulInteger(%q, %w, %zero, %z) @second
  %d: i32[n,16] = Add(%a, %b) @sum
  %e: i32[n,16] = If(%c) @if
    then_branch = graph () -> (%t)
      %t1: i32[n,16] = MatMulInteger(%q, %w, %zero, %z) @third
      %t2: i32[n,16] = MatMulInteger(%q, %w, %zero, %z) @fourth
      %t: i32[n,16] = Add(%t1, %t2) @inner
    else_branch = graph () -> (%f)
      %f: i32[n,16] = MatMulInteger(%q, %w, %zero, %z) @fifth
  %y: i32[n,16] = Add(%d, %e) @all"""
CALL = "com.microsoft.DynamicQuantizeLSTM(%x, %w, %r, _, _, _, _, _, %s, %z, %s, %z)"
LSTM = """graph (%x: f32[t,1,16]) -> (%y)
  %w = constant i8[1,16,64] random(0, -40..40)
  %r = constant i8[1,16,64] random(1, -40..40)
  %s = constant f32[1] [0.01]
  %z = constant i8[1] [0]
  %y: f32[t,1,1,16] = {call} {hidden_size=16} @lstm""".replace("{call}", CALL)


@pytest.mark.parametrize("text", [MEASURED, LSTM])
def test_measured_products_and_bodies_load_and_agree(text: str) -> None:
    graph = parse_text(text)
    exact_graph = with_exact_sums(graph)
    verify(exact_graph)
    feeds = {"x": np.random.default_rng(0).normal(size=(3, 1, 16)).astype(np.float32)}
    if "c" in graph.inputs:
        feeds = {"x": feeds["x"][:, 0], "c": np.array(True)}
    exact = Session(graph).run(feeds)["y"]
    np.testing.assert_allclose(exact, Session(graph, optimize=False).run(feeds)["y"], atol=1e-5)
