"""What is meant to run in integers does, in the runtimes themselves, for the blocks nets are of.

onnxruntime always is there; TensorRT-RTX and OpenVINO where they are installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import slimc
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.inspect.verify import verify

pytestmark = pytest.mark.slow
PACKAGES = {
    "cpu-avx2": "onnxruntime",
    "cpu-vnni": "onnxruntime",
    "jetson": "tensorrt_rtx_bindings",
    "openvino": "openvino",
}
BLOCKS = {
    "residual": """graph (%x: f32[1,32,8,8]) -> (%y)
  %w0 = constant f32[32,32,3,3] random(0, -0.1..0.1)
  %w1 = constant f32[32,32,3,3] random(1, -0.1..0.1)
  %w2 = constant f32[32,32,1,1] random(2, -0.1..0.1)
  %b = constant f32[32] random(3)
  %a: f32[1,32,8,8] = Conv(%x, %w0, %b) {pads=[1, 1, 1, 1]}
  %r: f32[1,32,8,8] = Relu(%a)
  %c: f32[1,32,8,8] = Conv(%r, %w1, %b) {pads=[1, 1, 1, 1]}
  %s: f32[1,32,8,8] = Add(%c, %r)
  %t: f32[1,32,8,8] = Relu(%s)
  %y: f32[1,32,8,8] = Conv(%t, %w2, %b)""",
    "inverted residual with Clip and HardSwish": """graph (%x: f32[1,32,8,8]) -> (%y)
  %w0 = constant f32[64,32,1,1] random(0, -0.2..0.2)
  %w1 = constant f32[64,1,3,3] random(1, -0.5..0.5)
  %w2 = constant f32[32,64,1,1] random(2, -0.2..0.2)
  %b = constant f32[64] random(3)
  %low = constant f32[] 0
  %high = constant f32[] 6
  %a: f32[1,64,8,8] = Conv(%x, %w0, %b)
  %r: f32[1,64,8,8] = Clip(%a, %low, %high)
  %d: f32[1,64,8,8] = Conv(%r, %w1, %b) {group=64, pads=[1, 1, 1, 1]}
  %h: f32[1,64,8,8] = HardSwish(%d)
  %c: f32[1,32,8,8] = Conv(%h, %w2)
  %s: f32[1,32,8,8] = Add(%c, %x)
  %y: f32[1,64,8,8] = Conv(%s, %w0, %b)""",
    "SiLU, Concat, MaxPool, Resize": """graph (%x: f32[1,32,8,8]) -> (%y)
  %w0 = constant f32[32,32,1,1] random(0, -0.2..0.2)
  %w1 = constant f32[32,64,1,1] random(1, -0.2..0.2)
  %scales = constant f32[4] [1, 1, 2, 2]
  %a: f32[1,32,8,8] = Conv(%x, %w0)
  %g: f32[1,32,8,8] = Sigmoid(%a)
  %h: f32[1,32,8,8] = Mul(%a, %g)
  %p: f32[1,32,4,4] = MaxPool(%h) {kernel_shape=[2, 2], strides=[2, 2]}
  %u: f32[1,32,8,8] = Resize(%p, _, %scales) {mode="nearest"}
  %c: f32[1,64,8,8] = Concat(%u, %x) {axis=1}
  %y: f32[1,32,8,8] = Conv(%c, %w1)""",
    "transformer": """graph (%x: f32[1,16,32]) -> (%y)
  %s = constant f32[32] random(0, 0.5..1)
  %w0 = constant f32[32,64] random(1, -0.2..0.2)
  %b0 = constant f32[64] random(2)
  %w1 = constant f32[64,32] random(3, -0.2..0.2)
  %b1 = constant f32[32] random(4)
  %n: f32[1,16,32] = LayerNormalization(%x, %s) {axis=-1}
  %m: f32[1,16,64] = MatMul(%n, %w0)
  %a: f32[1,16,64] = Add(%m, %b0)
  %g: f32[1,16,64] = Gelu(%a)
  %k: f32[1,16,32] = MatMul(%g, %w1)
  %l: f32[1,16,32] = Add(%k, %b1)
  %y: f32[1,16,32] = Add(%l, %x)""",
    "head": """graph (%x: f32[4,32,8,8]) -> (%y)
  %w0 = constant f32[64,32,3,3] random(0, -0.1..0.1)
  %w1 = constant f32[40,64] random(1, -0.1..0.1)
  %b = constant f32[40] random(2)
  %a: f32[4,64,6,6] = Conv(%x, %w0)
  %r: f32[4,64,6,6] = Relu(%a)
  %p: f32[4,64,1,1] = GlobalAveragePool(%r)
  %f: f32[4,64] = Flatten(%p)
  %y: f32[4,40] = Gemm(%f, %w1, %b) {transB=1}""",
}


@pytest.mark.parametrize("target", list(PACKAGES))
@pytest.mark.parametrize("block", list(BLOCKS))
def test_all_that_is_meant_to_runs_in_integers(block: str, target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(PACKAGES[target]) is None:
        pytest.skip(f"{PACKAGES[target]} is not installed")
    made = slimc.compile(parse_text(BLOCKS[block]), "quant", target)
    made.save(tmp_path / "block.onnx")
    proof = verify(tmp_path / "block.onnx", made.target, OPS, limit_seconds=120)
    assert proof.shown
    assert proof.passed, (proof.answer.problems, proof.answer.silence, proof.lost, proof.refused)
    contractions = sum(BLOCKS[block].count(f" {kind}(") for kind in ("Conv", "MatMul", "Gemm"))
    # HardSwish reads the depthwise result in float there.
    left = int(PACKAGES[target] == "onnxruntime" and "group=64" in BLOCKS[block])
    assert made.report.integer_intended == contractions - left
    assert sum(layer.reached for layer in proof.layers) == contractions - left
    assert len(proof.layers) == contractions
