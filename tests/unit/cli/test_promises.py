"""`--min-sqnr`, `--max-drop` and `--score` from outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimc.cli import main

TEXT = """\
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %wb = constant f32[32,3] random(1)
  %a: f32[N,32] = MatMul(%x, %wa) @a
  %r: f32[N,32] = Relu(%a) @r
  %y: f32[N,3] = MatMul(%r, %wb) @b
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.txt"
    path.write_text(TEXT)
    x = np.random.default_rng(0).standard_normal((64, 6), np.float32)
    (tmp_path / "samples").mkdir()
    for i in range(8):
        np.savez(tmp_path / "samples" / f"{i}.npz", x=x[8 * i : 8 * i + 8])
    return path


def slimc(capsys: pytest.CaptureFixture[str], model: Path, *words: object) -> tuple[int, str, str]:
    calib = ("--calib", model.parent / "samples", "--target", "cpu-vnni")
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in (model, *calib, *words)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_a_promise_that_holds_is_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = slimc(capsys, model, "--passes", "quant", "--min-sqnr", 20)
    assert (status, err) == (0, "")
    assert "min-sqnr 20 holds" in out
    assert "samples that calibration has not seen" in out


def test_a_promise_that_no_floats_keep_writes_nothing_and_ends_with_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "--passes",
        "prune{ratio=0.5,align=1},quant",
        "--min-sqnr",
        60,
        "-o",
        tmp_path / "o.onnx",
    )
    status, out, err = slimc(capsys, model, *words)
    assert (status, out) == (1, "")
    assert err.startswith("error[promise-missed]: min-sqnr 60 was asked for")
    assert not (tmp_path / "o.onnx").exists()


def test_a_drop_needs_a_score(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = slimc(capsys, model, "--passes", "quant", "--max-drop", "1%")
    assert status == 2
    assert "max-drop and a score belong together" in err
    scorer = tmp_path / "scorer.py"
    scorer.write_text(
        "import numpy as np\n"
        "def score(run):\n"
        "    return float(np.abs(run({'x': np.ones((1, 6), np.float32)})[0]).sum())\n"
    )
    words = ("--passes", "quant", "--max-drop", "5%", "--score", scorer)
    status, out, _ = slimc(capsys, model, *words)
    assert status == 0
    assert "max-drop 5% holds" in out


def test_a_budget_mixes_schemes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--passes", "quant{min_elements=0}", "--budget")
    status, out, err = slimc(capsys, model, *words, "size=0.8")
    assert (status, err) == (0, "")
    assert "budget size=0.8: " in out
    status, _, err = slimc(capsys, model, *words, "size=0.001", "-o", tmp_path / "o.onnx")
    assert status == 1
    assert "error[budget-missed]: no choice of schemes is within size=0.001" in err
    assert not (tmp_path / "o.onnx").exists()
