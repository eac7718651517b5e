"""The command line of `slimc verify`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qdq_graphs import ONE_LOST

from slimc.cli.main import main
from slimc.io.write import write
from slimc.ir.text import parse_text

FLOATS = """graph (%x: f32[N,32]) -> (%y)
  %w = constant f32[32,64] random(0)
  %y: f32[N,64] = MatMul(%x, %w) @first"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(parse_text(ONE_LOST), tmp_path / "model.onnx", 17, 8)
    return tmp_path / "model.onnx"


def status(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    code = left.value.code
    assert isinstance(code, int)
    return code


def test_one_line_of_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("verify", file, "--target", "cpu-vnni", "--json") == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    found = json.loads(said)
    assert found["integer"] == {"intended": 2, "reached": 1}
    assert [one["node"] for one in found["lost"]] == ["second"]
    assert (found["parses"], found["builds"], found["inconclusive"]) == (True, True, "")


def test_status(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(parse_text(FLOATS), tmp_path / "float.onnx", 17, 8)
    assert status("verify", tmp_path / "float.onnx", "--target", "cpu-vnni") == 0
    assert status("verify", file, "--target", "cpu-vnni", "--shape", "x=4x32") == 1
    assert "in float  'second' (Conv)" in capsys.readouterr().out
    assert status("verify", tmp_path / "nothing.onnx", "--target", "cpu-vnni") == 2
    assert status("verify", file, "--target", "openvino", "--with", "/nowhere/python") == 2
    assert status("verify", file, "--target", "cpu-vnni", "--calib", tmp_path) == 2
    assert status("verify", file, "--target", "cpu-vnni", "--shape", "4x32") == 2
    assert "error[bad-option-value]" in capsys.readouterr().err


def test_no_answer_in_time_is_no_proof(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("verify", file, "--target", "cpu-vnni", "--limit", "0.001") == 1
    assert "inconclusive: no answer in 0.001 s" in capsys.readouterr().out
