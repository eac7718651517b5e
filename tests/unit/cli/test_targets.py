from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimc.cli import main


def slimc(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(
        'base = "jetson-orin"\nopset_max = 18\nplugins = {add = ["Mine_TRT"]}\n'
        "[schemes.int8]\nMatMul = false\nMul = {activations = 's8'}\n"
        '[rules]\nremove = ["aligned-channels"]\n'
    )
    return path


def test_a_line_for_each_target(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = slimc(capsys, "targets")
    assert "jetson-orin " in out
    assert "schemes: int8" in out
    rows = json.loads(slimc(capsys, "targets", "--json")[1])
    assert set(rows[0]) == {"name", "summary", "schemes", "chosen"}


def test_the_whole_table_of_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = slimc(capsys, "targets", "show", "jetson-orin")
    assert out.startswith("jetson-orin\n")
    for line in (
        "capability   8.7",
        "    Conv: data i8 -128..127 symmetric one scale; weights i8 -127..127 symmetric a scale",
        "placement    output=false, activation=after, bias=float, weights=integers, residual=skip,",
        "  L17  known-operators        the runtime has every operator",
    ):
        assert line in out
    assert "differs from" not in out


def test_what_a_file_changes(capsys: pytest.CaptureFixture[str], board: Path) -> None:
    _, out, _ = slimc(capsys, "targets", "show", board)
    assert out.endswith(
        "differs from jetson-orin:\n"
        "  summary: Jetson Orin, JetPack 6.1 and 6.2: INT8 where it pays, other layers in FP16 -> "
        "Jetson Orin, JetPack 6.1 and 6.2: INT8 where it pays, other layers in FP16; changed by "
        "board.toml\n"
        "  opset_max: 20 -> 18\n"
        "  schemes.int8.MatMul: a row -> none\n"
        "  schemes.int8.Mul: none -> a row\n"
        "  plugins: - -> Mine_TRT\n"
        "  rules: aligned-channels -> -\n"
    )
    found = json.loads(slimc(capsys, "targets", "show", board, "--json")[1])
    assert found["opset_max"] == 18
    assert ["opset_max", 20, 18] in found["differs"]


def test_there_is_one_spelling(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = slimc(capsys, "targets", "jetson")
    assert status == 2
    assert "help:  slimc targets show jetson" in err


def test_a_file_that_is_wrong_ends_with_2(
    capsys: pytest.CaptureFixture[str], board: Path, tmp_path: Path
) -> None:
    board.write_text('base = "jetson-orin"\nopset_maxx = 18\n')
    (tmp_path / "net.txt").write_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = Exp(%x)")
    status, _, err = slimc(capsys, tmp_path / "net.txt", "--target", board)
    assert status == 2
    assert "error[bad-target]: there is no such key" in err
    assert "did you mean 'opset_max'?" in err


def test_the_file_names_the_result(
    capsys: pytest.CaptureFixture[str], board: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.txt").write_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = Exp(%x)")
    assert slimc(capsys, tmp_path / "net.txt", "--target", board)[0] == 0
    assert (tmp_path / "net.board.onnx").is_file()
