from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimc.cli.main import main

MODEL = "graph (%x: f32[N,3,4,4]) -> (%y)\n  %y: f32[N,3,4,4] = Relu(%x) @r\n"


def ran(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(args)
    out = capsys.readouterr()
    return int(left.value.code or 0), out.out, out.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    path.write_text(MODEL)
    return path


def test_images_are_told_as_the_model_gets_them(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        image.fromarray(np.full((8, 8, 3), 255 * i, np.uint8)).save(folder / f"{i}.png")
    declared = "resize=4,scale=1/255,mean=0.5,std=0.5,layout=nchw"
    args = ["data", str(model), str(folder), "--preprocess", declared]
    status, out, _ = ran(args, capsys)
    assert status == 0
    assert out.splitlines()[-1].split() == ["x", "f32[2,3,4,4]", "-1", "1", "0", "1"]
    status, out, _ = ran([*args, "--json"], capsys)
    seen = json.loads(out)["inputs"]["x"]
    assert (status, seen["low"], seen["high"], seen["deviation"]) == (0, -1, 1, 1)
    place = tmp_path / "ranges.json"
    words = [str(model), "--calib", str(folder), "--preprocess", declared, "--dry-run"]
    assert ran([*words, "--passes", "quant", "--calib-cache", str(place)], capsys)[0] == 0


def test_arrays(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.full((3, 3, 4, 4), np.nan, np.float32))
    status, out, _ = ran(["data", str(model), str(tmp_path / "x.npy")], capsys)
    assert status == 0
    assert "'x' holds 144 elements that are NaN or infinite" in out


@pytest.mark.parametrize("args", [["data"], ["explain", "--pass", "prune"]])
def test_preprocessing_without_images(
    model: Path, args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = ran([args[0], str(model), *args[1:], "--preprocess", "layout=nchw"], capsys)
    assert status == 2
    assert "error[bad-preprocess]: there is no folder of images to prepare" in err
