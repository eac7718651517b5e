"""The shipped network end to end: what comes out is scored on samples that nothing has seen."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import slimc
from slimc.execute.ort import Session
from slimc.ir.graph import Graph

pytestmark = pytest.mark.slow
SHIPPED = files("slimc") / "demo"
MODEL = Path(str(SHIPPED / "glyphs.onnx"))


@pytest.fixture(scope="module")
def samples() -> dict[str, np.ndarray]:
    with np.load(str(SHIPPED / "samples.npz"), allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def feeds(images: np.ndarray) -> list[dict[str, np.ndarray]]:
    x = (images[:, None].astype(np.float32) - 127.5) / 64
    return [{"x": x[i : i + 50]} for i in range(0, len(x), 50)]


def accuracy(graph: Graph, samples: dict[str, np.ndarray]) -> float:
    session = Session(graph)
    found = [session.run(f)["logits"].argmax(-1) for f in feeds(samples["test"])]
    return float(np.mean(np.concatenate(found) == samples["labels"]))


def test_the_original_reads_characters(samples: dict[str, np.ndarray]) -> None:
    assert accuracy(slimc.load(MODEL), samples) == pytest.approx(0.914, abs=0.002)


@pytest.mark.parametrize(
    "target", ["generic-onnx", "jetson", "cpu-avx2", "cpu-vnni", "cpu-arm64", "openvino"]
)
def test_integers_cost_less_than_a_point(target: str, samples: dict[str, np.ndarray]) -> None:
    made = slimc.compile(MODEL, "quant", target, feeds(samples["calibration"]))
    # 8 of 8 contractions, 7 where the first, of one channel, is better left in float
    assert made.report.integer_intended >= 7
    assert made.report.integer_achieved in (None, made.report.integer_intended)
    assert made.report.after.size_bytes < 0.35 * made.report.before.size_bytes
    assert accuracy(made.graph, samples) > 0.904


@pytest.mark.parametrize("calibrator", ["minmax", "moving-average", "percentile", "entropy", "mse"])
def test_every_calibrator_is_fit_for_use(calibrator: str, samples: dict[str, np.ndarray]) -> None:
    passes = f"quant{{calibrator={calibrator}}}"
    made = slimc.compile(MODEL, passes, "cpu-vnni", feeds(samples["calibration"]))
    assert accuracy(made.graph, samples) > 0.904


def test_a_third_of_the_parameters_may_go(samples: dict[str, np.ndarray]) -> None:
    passes = "prune{ratio=0.3,budget=parameters}"
    made = slimc.compile(MODEL, passes, "cpu-vnni", feeds(samples["calibration"]))
    assert made.report.after.parameters < 0.7 * made.report.before.parameters
    assert accuracy(made.graph, samples) > 0.88


def test_the_nano_gets_half_precision(samples: dict[str, np.ndarray]) -> None:
    made = slimc.compile(MODEL, "", "jetson-nano", feeds(samples["calibration"]))
    assert made.report.after.size_bytes < 0.55 * made.report.before.size_bytes
    assert accuracy(made.graph, samples) == pytest.approx(0.914, abs=0.002)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name in ("a.onnx", "b.onnx"):
        command = [sys.executable, "-m", "slimc", str(MODEL), "--passes", "prune,quant"]
        command += ["--target", "cpu-vnni", "-o", str(tmp_path / name), "--json"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        written.append((json.loads(run.stdout)["digests"], (tmp_path / name).read_bytes()))
    assert written[0] == written[1]
