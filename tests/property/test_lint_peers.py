"""Files that ONNX Runtime's quantizer makes: right for CPUs, refused for TensorRT by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.inspect.lint import Verdict, lint

quantization = pytest.importorskip("onnxruntime.quantization")
NAMES = catalogue()
NETWORK = """graph (%x: f32[1,16,8,8]) -> (%y)
  %w = constant f32[16,16,3,3] random(0, -0.1..0.1)
  %b = constant f32[16] random(1, -0.1..0.1)
  %v = constant f32[16,16,1,1] random(2, -0.2..0.2)
  %c: f32[1,16,8,8] = Conv(%x, %w, %b) {pads=[1,1,1,1]} @first
  %r: f32[1,16,8,8] = Relu(%c) @act
  %d: f32[1,16,8,8] = Conv(%r, %v) @second
  %y: f32[1,16,8,8] = Add(%d, %r) @skip"""


class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        shape = (1, 16, 8, 8)
        self.feeds: Iterator[dict[str, np.ndarray]] = iter(
            [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(parse_text(NETWORK), tmp_path / "float.onnx")
    made = tmp_path / "int8.onnx"
    quantization.quantize_static(
        str(tmp_path / "float.onnx"),
        str(made),
        Samples(),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
    )
    return made


def judged(file: Path, target: str) -> Verdict:
    return lint(file, NAMES.target(target), NAMES.ops)


@pytest.mark.parametrize("target", ["cpu-vnni", "openvino"])
def test_runtimes_that_take_it(file: Path, target: str) -> None:
    verdict = judged(file, target)
    assert [one for one in verdict.findings if one.severity in ("error", "silent")] == []
    assert len(verdict.intended) == 2
    assert verdict.lost == ()


def test_tensorrt_refuses_it_by_name(file: Path) -> None:
    verdict = judged(file, "jetson-orin")
    assert {one.code for one in verdict.findings if one.severity == "error"} >= {"L02", "L03"}
    assert len(verdict.lost) == 2


def test_a_gpu_without_integers_takes_no_q_or_dq(file: Path) -> None:
    verdict = judged(file, "jetson-nano")
    assert "L20" in {one.code for one in verdict.findings if one.severity == "error"}
