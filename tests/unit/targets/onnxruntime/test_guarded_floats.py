"""What is kept in float stays there, as onnxruntime's optimized graph shows."""

from __future__ import annotations

import numpy as np
import pytest
from optimized import integer_kernels

import slimc
from slimc.execute.ort import run
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.onnxruntime.guarded_floats import guard_floats, hold_behind, quantized_by_runtime

CHAIN = """graph (%x: f32[2,8,6,6]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %w = constant f32[8,{inputs},1,1] random(0)
  %b = constant f32[8] random(1)
  %p: u8[2,8,6,6] = QuantizeLinear(%x, %s, %z) @p
  %a: f32[2,8,6,6] = DequantizeLinear(%p, %s, %z) @dq
  %c: f32[2,8,6,6] = Conv(%a, %w, %b) {attrs} @conv
  {clamp}
  %d: u8[2,8,6,6] = QuantizeLinear(%{read}, %s, %z) @q
  %y: f32[2,8,6,6] = DequantizeLinear(%d, %s, %z) @out"""
PLAIN = {"inputs": "8", "attrs": "", "clamp": "", "read": "c"}
CASES = {
    "conv": PLAIN,
    "grouped": PLAIN | {"inputs": "4", "attrs": "{group=2}"},
    "relu": PLAIN | {"clamp": "%r: f32[2,8,6,6] = Relu(%c) @relu", "read": "r"},
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_float_convolution_between_integers_runs_in_float(case: str) -> None:
    graph = parse_text(CHAIN.format(**CASES[case]))
    assert [one.node.name for one in quantized_by_runtime(graph, OPS)] == ["conv"]
    made, remarks = guard_floats(graph, OPS, "test")
    assert integer_kernels(made) == 0
    assert list(quantized_by_runtime(made, OPS)) == []
    assert [one.node for one in remarks] == ["conv"]
    feed = {"x": np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)}
    (real,) = (node.inputs[0] for node in made.nodes if node.name == "conv")
    assert (run(made, feed, [real])[real] == run(graph, feed, ["a"])["a"]).all()


def test_what_a_float_reads_or_what_others_read_too_is_left_alone() -> None:
    text = CHAIN.format(**PLAIN)
    for old, new in (("Conv(%a,", "Conv(%x,"), ("-> (%y)", "-> (%y, %c)")):
        graph = parse_text(text.replace(old, new))
        made, remarks = guard_floats(graph, OPS, "test")
        assert (made, remarks) == (graph, [])


def test_one_channel_cannot_be_guarded_and_the_remark_says_so() -> None:
    text = CHAIN.format(**PLAIN | {"inputs": "1"}).replace("[2,8,6,6]", "[2,1,6,6]", 1)
    text = text.replace("u8[2,8,6,6] = QuantizeLinear(%x", "u8[2,1,6,6] = QuantizeLinear(%x")
    text = text.replace("%a: f32[2,8,6,6]", "%a: f32[2,1,6,6]")
    graph = parse_text(text)
    made, (said,) = guard_floats(graph, OPS, "test")
    assert made.nodes == graph.nodes
    assert "it has one channel" in said.message


POOL = """graph (%x: f32[2,{channels},6,6]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %m: f32[2,{channels},3,3] = MaxPool(%x) {{kernel_shape=[2, 2], strides=[2, 2]}} @pool
  %q: u8[2,{channels},3,3] = QuantizeLinear(%m, %s, %z) @q
  %y: f32[2,{channels},3,3] = DequantizeLinear(%q, %s, %z) @dq"""


def test_quantization_stays_behind_a_pool_of_floats() -> None:
    graph = parse_text(POOL.format(channels=8))
    made, (said,) = hold_behind(graph, frozenset({"MaxPool"}), "test")
    assert said.node == "pool"
    assert made.by_name["q"].attrs["axis"] == 1
    assert made.array(made.by_name["q"].inputs[1]).shape == (8,)
    feed = {"x": np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)}
    assert (run(made, feed)["y"] == run(graph, feed)["y"]).all()
    assert hold_behind(graph, frozenset(), "test") == (graph, [])


def test_one_channel_cannot_be_held_and_the_remark_says_so() -> None:
    graph = parse_text(POOL.format(channels=1))
    made, (said,) = hold_behind(graph, frozenset({"MaxPool"}), "test")
    assert made.nodes == graph.nodes
    assert "it has one channel" in said.message


def test_keep_leaves_a_convolution_in_float() -> None:
    layers = "\n".join(
        f"  %w{i} = constant f32[32,32,3,3] random({i}, -0.1..0.1)" for i in range(3)
    )
    calls = "\n".join(
        f"  %v{i + 1}: f32[2,32,8,8] = Conv(%v{i}, %w{i}) {{pads=[1, 1, 1, 1]}} @c{i}"
        for i in range(3)
    )
    graph = parse_text(f"graph (%v0: f32[2,32,8,8]) -> (%v3)\n{layers}\n{calls}\n")
    made = slimc.compile(graph, 'quant{calibrator=minmax,keep=["c1"]}', "cpu-vnni")
    assert (made.report.integer_intended, made.report.integer_achieved) == (2, 2)
    assert made.report.integer_float == ("c1",)
