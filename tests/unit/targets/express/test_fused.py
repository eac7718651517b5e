"""Fused operators of ONNX Runtime become operators of ONNX that compute the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.express.decompose import decompose
from slimc.targets.express.fused import FUSED
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

CLOSE = 1e-5  # f32, other order of sums
FAST_CLOSE = 2e-3  # onnxruntime's FastGelu approximates tanh too
IMAGE = """graph (%x: f32[1,4,6,6]) -> (%y)
  opset com.microsoft 1
  %w = constant f32[8,4,3,3] random(0)
  %b = constant f32[8] random(1)
  %z = constant f32[1,8,6,6] random(2)
  %y: f32[1,8,6,6] = com.microsoft.FusedConv({operands}) {{{attrs}, pads=[1,1,1,1]}} @node"""
ROWS = """graph (%x: f32[3,8]) -> (%y)
  opset com.microsoft 1
  %w = constant f32[8,5] random(0)
  %t = constant f32[5,8] random(1)
  %b = constant f32[5] random(2)
  %y: f32[3,5] = com.microsoft.{call} @node"""
WIDE = """graph (%x: f32[2,3,8], %s: f32[2,3,8]) -> (%y)
  opset com.microsoft 1
  %g = constant f32[8] random(0)
  %b = constant f32[8] random(1)
  %c = constant f32[8] random(2)
  %y: f32[2,3,8] = com.microsoft.{call} @node"""
SUM = WIDE.replace("-> (%y)", "-> (%y, %sum)").replace(
    "%y: f32[2,3,8] =", "%y: f32[2,3,8], _, _, %sum: f32[2,3,8] ="
)
ACTIVATIONS = (
    'activation="Relu"',
    'activation="Tanh"',
    'activation="LeakyRelu", activation_params=[0.2]',
    'activation="Clip", activation_params=[-0.5, 0.5]',
    'activation="HardSigmoid", activation_params=[0.3, 0.4]',
)
QDQ = """graph (%x: f32[2,8]) -> (%y)
  opset com.microsoft 1
  %s = constant f32[] 0.05
  %z = constant u16[] 900
  %q: u16[2,8] = com.microsoft.QuantizeLinear(%x, %s, %z) @q
  %y: f32[2,8] = com.microsoft.DequantizeLinear(%q, %s, %z) @node"""

CASES = {
    "FusedConv": [
        *(IMAGE.format(operands="%x, %w, %b", attrs=attrs) for attrs in ACTIVATIONS),
        IMAGE.format(operands="%x, %w, %b, %z", attrs=ACTIVATIONS[0]),
        IMAGE.format(operands="%x, %w", attrs=ACTIVATIONS[0]),
    ],
    "FusedGemm": [
        ROWS.format(call='FusedGemm(%x, %w, %b) {activation="Relu"}'),
        ROWS.format(
            call='FusedGemm(%x, %t, %b) {activation="LeakyRelu", activation_alpha=0.3, transB=1}'
        ),
    ],
    "FusedMatMul": [
        ROWS.format(call="FusedMatMul(%x, %w) {alpha=0.25}"),
        ROWS.format(call="FusedMatMul(%x, %t) {transB=1}"),
    ],
    "TransposeMatMul": [ROWS.format(call="TransposeMatMul(%x, %t) {transB=1}")],
    "Gelu": [WIDE.format(call="Gelu(%x)")],
    "BiasGelu": [WIDE.format(call="BiasGelu(%x, %b)")],
    "FastGelu": [WIDE.format(call="FastGelu(%x, %b)"), WIDE.format(call="FastGelu(%x)")],
    "QuickGelu": [WIDE.format(call="QuickGelu(%x)"), WIDE.format(call="QuickGelu(%x) {alpha=1.5}")],
    "SkipLayerNormalization": [
        WIDE.format(call="SkipLayerNormalization(%x, %s, %g, %b)"),
        WIDE.format(call="SkipLayerNormalization(%x, %s, %g, %b, %c) {epsilon=0.01}"),
        SUM.format(call="SkipLayerNormalization(%x, %s, %g, %b, %c)"),
    ],
    "SkipSimplifiedLayerNormalization": [
        WIDE.format(call="SkipSimplifiedLayerNormalization(%x, %s, %g) {epsilon=0.01}"),
        SUM.format(call="SkipSimplifiedLayerNormalization(%x, %s, %g, %c)"),
    ],
    "DequantizeLinear": [QDQ],
    "QuantizeLinear": [QDQ],
}  # fmt: skip
EVERY = [(kind, text) for kind, texts in CASES.items() for text in texts]


@pytest.mark.parametrize(
    ("kind", "text"), EVERY, ids=[f"{kind}{i}" for i, (kind, _) in enumerate(EVERY)]
)
def test_operators_of_onnx_compute_the_same(kind: str, text: str) -> None:
    graph = parse_text(text)
    made = decompose(graph, JETSON_ORIN, OPS).graph
    assert not any(node.domain for node in made.nodes)
    random = np.random.default_rng(0)
    feeds = {v: random.normal(size=graph.types[v].shape).astype(np.float32) for v in graph.inputs}
    wanted, got = run(graph, feeds), run(made, feeds)
    close = FAST_CLOSE if kind == "FastGelu" else CLOSE
    for output in graph.outputs:
        np.testing.assert_allclose(got[output], wanted[output], atol=close, rtol=close)


def test_every_way_is_tried() -> None:
    assert {f"com.microsoft.{kind}" for kind in CASES} == set(FUSED)


def test_a_runtime_that_knows_the_domain_keeps_its_operators() -> None:
    graph = parse_text(WIDE.format(call="BiasGelu(%x, %b)"))
    assert decompose(graph, CPU_VNNI, OPS).graph is graph
    forbids = replace(CPU_VNNI, forbids={"com.microsoft.BiasGelu": "not built in"})
    assert [n.op for n in decompose(graph, forbids, OPS).graph.nodes] == ["Add", "Gelu"]


def test_what_an_operator_becomes_is_expressed_in_turn() -> None:
    made = decompose(parse_text(WIDE.format(call="BiasGelu(%x, %b)")), JETSON_NANO, OPS)
    assert "Gelu" not in {node.op for node in made.graph.nodes}


def test_results_that_no_operator_of_onnx_gives_are_refused() -> None:
    text = WIDE.format(call="SkipLayerNormalization(%x, %s, %g, %b)")
    text = text.replace("-> (%y)", "-> (%y, %m)").replace("%y: f32[2,3,8] =", "%y, %m =")
    with pytest.raises(SlimcError, match="mean and deviation"):
        decompose(parse_text(text), JETSON_ORIN, OPS)
