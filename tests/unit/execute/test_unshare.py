from __future__ import annotations

import numpy as np
import pytest

from slimc.execute.ort import Session
from slimc.execute.unshare import unshared
from slimc.ir.graph import Graph
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


@pytest.mark.parametrize("text", [SHARED, TWICE, ZERO])
def test_every_reader_gets_a_weight_of_its_own(text: str) -> None:
    graph = parse_text(text)
    made = unshared(graph)
    verify(made)
    stored = [made.producers[made.by_name[n].inputs[1]].inputs[0] for n in ("first", "second")]
    assert len(set(stored)) == 2
    zeros = [made.producers[made.by_name[n].inputs[1]].inputs[2] for n in ("first", "second")]
    assert len(set(zeros)) == 2
    assert made.constants[stored[0]].array is not None
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
    exact = Session(graph, exact_integers=True).run({"x": x})["y"]
    np.testing.assert_allclose(exact, Session(graph, optimize=False).run({"x": x})["y"], atol=0.021)


def test_a_graph_with_nothing_shared_is_left_alone() -> None:
    graph = parse_text(SHARED.replace("Conv(%d, %w)", "Neg(%d)"))
    assert unshared(graph) is graph


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
    made = unshared(graph)
    verify(made)
    outside = made.by_name["outside"].inputs[1]
    assert outside not in {v for body in made.by_name["choice"].bodies for v in body.captured}
    feed = {"x": np.ones((1, 4), np.float32), "c": np.array(True)}
    exact = Session(graph, exact_integers=True).run(feed)["y"]
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
def test_operands_of_measured_products_are_copied_too(text: str) -> None:
    graph = parse_text(text)
    made = unshared(graph)
    verify(made)
    constants = {v: c for g in (made, *bodies(made)) for v, c in g.constants.items()}
    stored = [
        v
        for n in made.walk()
        for v in n.inputs
        if v in constants and constants[v].dtype is DType.I8
    ]
    assert len(stored) == len(set(stored)) > 2
    feeds = {"x": np.random.default_rng(0).normal(size=(3, 1, 16)).astype(np.float32)}
    if "c" in graph.inputs:
        feeds = {"x": feeds["x"][:, 0], "c": np.array(True)}
    exact = Session(graph, exact_integers=True).run(feeds)["y"]
    np.testing.assert_allclose(exact, Session(made, optimize=False).run(feeds)["y"], atol=1e-5)


def bodies(graph: Graph) -> list[Graph]:
    return [body for node in graph.nodes for body in node.bodies]
