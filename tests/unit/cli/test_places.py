"""No command replaces a file that it reads, or writes two things to one place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import slimc
from slimc.cli import main
from slimc.ir.text import parse_text

TEXT = """\
graph (%x: f32[2,64]) -> (%y)
  %w = constant f32[64,64] random(0)
  %y: f32[2,64] = MatMul(%x, %w) @product
"""
SCORE = "def score(run):\n    return 1.0\n"
SCRIPT = "def modify(graph):\n    return graph\n"
Slimc = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold all kinds of files; the weights of `net.onnx` lie in `w.onnx`."""
    monkeypatch.chdir(tmp_path)
    slimc.save(parse_text(TEXT), "net.onnx", external=True)
    model = onnx.load("net.onnx", load_external_data=False)
    (place,) = (e for e in model.graph.initializer[0].external_data if e.key == "location")
    Path(place.value).rename("w.onnx")
    place.value = "w.onnx"
    Path("net.onnx").write_bytes(model.SerializeToString())
    Path("calib").mkdir()
    np.savez("calib/a.npz", x=np.zeros((2, 64), np.float32))
    texts = {
        "r.yaml": "passes: quant\ntarget: cpu\n",
        "score.py": SCORE,
        "script.py": SCRIPT,
        "plugin.py": "STAGES = {}\n",
        "t.toml": 'base = "base.toml"\n',
        "base.toml": 'base = "cpu"\n',
        "machine.json": "{}",
    }
    for name, text in texts.items():
        Path(name).write_text(text)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Slimc:
    def call(command: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(command.split())
        return int(left.value.code or 0), capsys.readouterr().err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("net.onnx -o w.onnx", "-o"),
        ("net.onnx --report calib/../machine.json --profile machine.json", "--report"),
        ("net.onnx -o r.yaml --recipe r.yaml", "-o"),
        ("net.onnx -o score.py --score score.py --max-drop 1% --passes quant", "-o"),
        ("net.onnx -o calib/a.npz --calib calib", "-o"),
        ("net.onnx -o calib/a.npz --calib calib/a.npz", "-o"),
        ("net.onnx -o plugin.py --plugin plugin.py", "-o"),
        ("net.onnx -o t.toml --target t.toml", "-o"),
        ("net.onnx -o base.toml --target t.toml", "-o"),
        ("net.onnx --calib-cache machine.json --sensitivity machine.json", "--calib-cache"),
        ("lint net.onnx --fix -o w.onnx", "-o"),
        ("run-script script.py net.onnx -o w.onnx", "-o"),
        ("run-script script.py net.onnx -o script.py", "-o"),
        ("sensitivity net.onnx -o w.onnx", "-o"),
        ("sensitivity net.onnx --score score.py -o score.py", "-o"),
        ("sensitivity net.onnx --passes quant -o w.onnx", "-o"),
        ("profile net.onnx -o w.onnx", "-o"),
        ("profile net.onnx --check w.onnx -o w.onnx", "-o"),
        ("profile net.onnx --from machine.json -o machine.json", "-o"),
        ("export-indices machine.json -o machine.json", "-o"),
    ],
)
def test_what_is_read_is_not_written_over(
    folder: Path, run: Slimc, command: str, option: str
) -> None:
    before = contents(folder)
    status, err = run(command)
    assert (status, err.partition(":")[0]) == (2, "error[input-overwritten]")
    assert f"option {option}\n" in err
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("net.onnx -o r.json --report r.json", "-o and --report"),
        ("net.onnx -o o.onnx --report ./o.onnx.data.txt --dump d", ""),
        ("net.onnx --calib-cache c.json --report c.json", "--report and --calib-cache"),
        ("net.onnx -o c.json --calib-cache c.json", "-o and --calib-cache"),
        ("net.onnx --report d/before-remove-channels.txt --dump d", "--report and --dump"),
        ("net.onnx -o o.onnx --report o.trtexec.txt --target jetson-orin-dla", "-o and --report"),
        ("sensitivity net.onnx -o s.svg --plot s.svg", "-o and --plot"),
        ("sensitivity net.onnx --plot s.svg --plot s.svg", "--plot"),
        ("sensitivity net.onnx --passes quant -o s.svg --plot s.svg", "-o and --plot"),
    ],
)
def test_two_things_are_not_written_to_one_place(
    folder: Path, run: Slimc, command: str, options: str
) -> None:
    (folder / "d").mkdir()
    before = contents(folder)
    status, err = run(command)
    if not options:  # names that only look alike
        assert (status, err) == (0, "")
        return
    assert (status, err.partition(":")[0]) == (2, "error[output-overwritten]")
    assert f"option {options}\n" in err
    assert contents(folder) == before


def test_a_graph_left_by_a_failed_pass_is_not_left_over_itself(folder: Path, run: Slimc) -> None:
    (folder / "d").mkdir()
    (folder / "d" / "before-fuse-bias.txt").write_text(TEXT)
    status, err = run("d/before-fuse-bias.txt --passes fuse-bias --dump d -o o.onnx")
    assert (status, "error[input-overwritten]" in err, "--dump" in err) == (2, True, True)


def test_data_that_another_model_left_under_the_name_of_the_output(
    folder: Path, run: Slimc
) -> None:
    (folder / "w.onnx").rename(folder / "big.onnx.data")
    model = onnx.load("net.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = "big.onnx.data" if entry.key == "location" else entry.value
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    status, err = run("net.onnx -o big.onnx")
    assert (status, "error[input-overwritten]" in err) == (2, True)
    assert "'big.onnx.data' would overwrite an input: a data file of 'net.onnx'" in err


@pytest.mark.parametrize("option", ["-o", "--report", "--calib-cache"])
def test_a_pipe_is_not_replaced(folder: Path, run: Slimc, option: str) -> None:
    os.mkfifo(folder / "pipe.json")
    status, err = run(f"net.onnx {option} pipe.json")
    assert (status, "error[unwritable]" in err, f"option {option}" in err) == (2, True, True)
    assert (folder / "pipe.json").is_fifo()


def test_a_link_is_written_through(folder: Path, run: Slimc) -> None:
    (folder / "made").mkdir()
    (folder / "latest.onnx").symlink_to("made/v2.onnx")
    assert run("net.onnx -o latest.onnx") == (0, "")
    assert (folder / "latest.onnx").is_symlink()
    assert slimc.load(folder / "made" / "v2.onnx").outputs == ("y",)


def test_the_calibration_cache_is_read_and_written(folder: Path, run: Slimc) -> None:
    command = "net.onnx --passes quant --target cpu --calib calib --calib-cache c.json -o o.onnx"
    assert run(command) == (0, "")
    made = contents(folder)
    assert run(command) == (0, "")
    assert contents(folder) == made


def test_python_keeps_what_it_knows_of(folder: Path) -> None:
    before = contents(folder)
    made = slimc.compile("net.onnx", data="calib")
    for name in ("net.onnx", "w.onnx", "calib/a.npz"):
        with pytest.raises(slimc.SlimcError, match="input-overwritten"):
            made.save(name)
    with pytest.raises(slimc.SlimcError, match="input-overwritten"):
        slimc.save(slimc.load("net.onnx"), "w.onnx")
    assert contents(folder) == before


@pytest.mark.parametrize("spelling", ["evil.py", "evil.py/", "evil.py/.", "./x/../evil.py"])
def test_a_recipe_runs_no_target(folder: Path, run: Slimc, spelling: str) -> None:
    (folder / "x").mkdir()
    (folder / "evil.py").write_text("open('ran', 'w')\n")
    (folder / "r.yaml").write_text(f"target: {spelling}\n")
    status, err = run("net.onnx --recipe r.yaml")
    assert (status, "error[bad-recipe]" in err, "runs no code" in err) == (2, True, True)
    assert not (folder / "ran").exists()
    status, err = run("net.onnx --recipe r.yaml --target evil.py")  # the user's own word
    assert (folder / "ran").exists()


def test_a_recipe_runs_no_target_by_its_base(folder: Path, run: Slimc) -> None:
    (folder / "evil.py").write_text("open('ran', 'w')\n")
    (folder / "own.toml").write_text('base = "evil.py/."\n')
    (folder / "r.yaml").write_text("target: own.toml\n")
    assert run("net.onnx --recipe r.yaml")[0] == 2
    assert not (folder / "ran").exists()
