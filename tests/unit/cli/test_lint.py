"""`slimc lint` from the command line: exit status, text, JSON, mended files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimc.cli.main import main
from slimc.execute.ort import run
from slimc.io.read import read
from slimc.io.write import write
from slimc.ir.text import parse_text

UNSIGNED = """graph (%x: f32[2,32]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %w.q = constant u8[32,32] random(0, 1..255)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %w.z = constant u8[32] fill(128)
  %q: u8[2,32] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[2,32] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[32,32] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=1} @dqw
  %y: f32[2,32] = MatMul(%a, %w) @product"""
FLOAT = "graph (%x: f32[2,32]) -> (%y)\n  %y: f32[2,32] = Relu(%x) @act"
TARGET = ("--target", "jetson-orin")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write(parse_text(UNSIGNED), path)
    return path


def slimc(*words: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return int(str(done.value.code))


def test_errors_are_status_1(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slimc("lint", file, *TARGET) == 1
    text = capsys.readouterr().out
    assert "error L02 int8-only" in text
    assert "nodes: 'q', 'dq', 'dqw'" in text
    assert "integer layers: 0 of 1 intended, among 1 contractions, by the rules" in text


def test_a_sound_file_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(parse_text(FLOAT), tmp_path / "float.onnx")
    assert slimc("lint", tmp_path / "float.onnx", *TARGET) == 0
    assert "jetson-orin: 0 error, 0 silent, 0 perf, 1 info" in capsys.readouterr().out


def test_strict_takes_silent_findings_for_errors(tmp_path: Path) -> None:
    text = UNSIGNED.replace("u8", "i8").replace("1..255", "-9..9").replace("128", "0")
    text = text.replace("f32[] 0.02", "f32[1] [0.02]").replace("i8[] 0", "i8[1] [0]")
    write(parse_text(text), tmp_path / "list.onnx")
    assert slimc("lint", tmp_path / "list.onnx", *TARGET) == 0
    assert slimc("lint", tmp_path / "list.onnx", *TARGET, "--strict") == 1


def test_json_has_every_finding(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slimc("lint", file, *TARGET, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["target"] == "jetson-orin"
    assert found["counts"]["error"] == sum(f["severity"] == "error" for f in found["findings"])
    assert {"code", "rule", "severity", "node", "message", "help"} == set(found["findings"][0])
    assert found["contractions"] == {
        "all": 1,
        "quantized": ["product"],
        "lost": ["product"],
        "stored": [],
    }


def test_an_unreadable_file_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    assert slimc("lint", tmp_path / "bad.onnx", *TARGET) == 2
    assert "error[model-unreadable]" in capsys.readouterr().err


def test_fix_writes_a_mended_file_and_leaves_the_input(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file.read_bytes()
    out = tmp_path / "mended.onnx"
    assert slimc("lint", file, *TARGET, "--fix", "-o", out) == 0
    assert file.read_bytes() == before
    text = capsys.readouterr().out
    assert "mended (3 times): u8 around 128 became i8 around 0" in text
    assert f"written: {out}" in text
    assert slimc("lint", out, *TARGET) == 0
    feed = {"x": np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(read(out), feed)["y"], run(read(file), feed)["y"], atol=1e-5)


def test_fix_with_nothing_to_mend_says_so_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(parse_text(FLOAT), tmp_path / "float.onnx")
    assert slimc("lint", tmp_path / "float.onnx", *TARGET, "--fix") == 0
    assert "nothing to mend: nothing written" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]


def test_fix_says_in_json_what_it_did(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slimc("lint", file, "--target", "jetson", "--fix", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"] == str(file.with_name("model.jetson.onnx"))
    assert [fix["rule"] for fix in found["fixes"]] == ["int8-only"]
    assert found["fixes"][0]["apart"] == 0
    assert found["counts"]["error"] == 0


@pytest.mark.parametrize("words", [("-o", "x.onnx"), ("--calib", "samples")])
def test_options_of_fix_alone_are_an_error(
    words: tuple[str, ...], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slimc("lint", file, *TARGET, *words) == 2
    assert "no effect without --fix" in capsys.readouterr().err


def test_the_input_is_never_written_over(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert slimc("lint", file, *TARGET, "--fix", "-o", file) == 2
    assert "input-overwritten" in capsys.readouterr().err
