"""Files that slimc makes have no fault by the rules of the target that they were made for."""

from __future__ import annotations

from pathlib import Path

import pytest

import slimc
from slimc.ir.text import parse_text
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.inspect.lint import lint

NAMES = catalogue()
IMAGES = """graph (%x: f32[1,32,8,8]) -> (%y)
  %w1 = constant f32[32,32,3,3] random(0, -0.1..0.1)
  %b1 = constant f32[32] random(1, -0.1..0.1)
  %w2 = constant f32[32,32,1,1] random(2, -0.2..0.2)
  %w3 = constant f32[32,32] random(3, -0.2..0.2)
  %b3 = constant f32[32] random(4, -0.1..0.1)
  %c1: f32[1,32,8,8] = Conv(%x, %w1, %b1) {pads=[1,1,1,1]} @first
  %r1: f32[1,32,8,8] = Relu(%c1) @act
  %c2: f32[1,32,8,8] = Conv(%r1, %w2) @second
  %a: f32[1,32,8,8] = Add(%c2, %r1) @skip
  %g: f32[1,32,1,1] = GlobalAveragePool(%a) @pool
  %f: f32[1,32] = Flatten(%g) @flat
  %y: f32[1,32] = Gemm(%f, %w3, %b3) @head"""


@pytest.mark.parametrize("name", list(NAMES.targets))
def test_a_residual_network(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    slimc.compile(parse_text(IMAGES), "quant", name).save(path)
    verdict = lint(path, NAMES.target(name), NAMES.ops)
    assert [one for one in verdict.findings if one.severity in ("error", "silent")] == []
    assert verdict.lost == ()
