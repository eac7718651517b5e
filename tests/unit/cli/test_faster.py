"""`--measure` and `--require` from outside; whether a run is fast is no matter of these tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimc.cli import main

TEXT = """\
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %wb = constant f32[32,3] random(1)
  %a: f32[N,32] = MatMul(%x, %wa) @a
  %y: f32[N,3] = MatMul(%a, %wb) @b
"""
PRUNE = "prune{ratio=0.3,align=1}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.txt"
    path.write_text(TEXT)
    return path


def slimc(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_measured_compiles_say_the_ratio(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = slimc(capsys, model, "--passes", PRUNE, "--measure")
    assert (status, err) == (0, "")
    assert "measured: " in out
    assert "latency, 2 samples" in out
    assert model.with_name("net.generic-onnx.onnx").exists()
    status, out, _ = slimc(capsys, model, "--passes", PRUNE, "--measure", "--json")
    report = json.loads(out)
    assert {row["threads"] for row in report["latency"]} == {0, 1}
    assert any("measured" in one["facts"] for one in report["passes"])


def test_a_missed_requirement_writes_nothing_and_ends_with_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--passes", PRUNE, "--require", "faster=100000", "--report", tmp_path / "r.json")
    status, out, err = slimc(capsys, model, *words)
    assert (status, out) == (1, "")
    assert err.startswith("error[not-faster]: faster=100000 was required")
    assert "nothing was written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.txt"]


def test_a_requirement_that_is_none_is_the_users_mistake(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "1 sound, but not what --require" in slimc(capsys, "--help")[1]
    status, _, err = slimc(capsys, model, "--require", "smaller")
    assert status == 2
    assert "'smaller' cannot be required" in err
