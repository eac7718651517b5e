from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimc.cli import main

TEXT = """\
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %wb = constant f32[32,3] random(2)
  %a: f32[N,32] = MatMul(%x, %wa) @a
  %r: f32[N,32] = Relu(%a) @r
  %y: f32[N,3] = MatMul(%r, %wb) @b
"""
Slimc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def slimc(capsys: pytest.CaptureFixture[str]) -> Slimc:
    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


@pytest.fixture
def report(slimc: Slimc, tmp_path: Path) -> Path:
    model, path = tmp_path / "net.txt", tmp_path / "r.json"
    model.write_text(TEXT)
    assert slimc(model, "--passes", "prune{align=1}", "--report", path, "--dry-run")[0] == 0
    return path


def edited(report: Path, **indices: Any) -> Path:
    """Return a report with another index map."""
    found = json.loads(report.read_text())
    found["indices"] |= indices
    path = report.with_name("edited.json")
    path.write_text(json.dumps(found))
    return path


def test_the_map_is_written_beside_the_report(slimc: Slimc, report: Path) -> None:
    status, out, err = slimc("export-indices", report)
    path = report.with_name("r.indices.json")
    assert (status, err) == (0, "")
    assert out == f"written: {path}, the kept indices of 2 initializers\n"
    found = json.loads(path.read_text())
    assert set(found) == {"wa", "wb"}
    assert found["wa"]["1"] == found["wb"]["0"]
    assert found["wa"]["1"] == sorted(set(found["wa"]["1"]) & set(range(32)))


def test_json_goes_to_stdout_and_to_no_file(slimc: Slimc, report: Path) -> None:
    status, out, _ = slimc("export-indices", report, "--json")
    assert (status, set(json.loads(out))) == (0, {"wa", "wb"})
    assert not report.with_name("r.indices.json").exists()


def test_json_and_a_file_hold_the_same(slimc: Slimc, report: Path, tmp_path: Path) -> None:
    path = tmp_path / "i.json"
    _, out, err = slimc("export-indices", report, "-o", path, "--json")
    assert json.loads(out) == json.loads(path.read_text())
    assert "written" in err


def test_npz_holds_an_array_for_each_axis(slimc: Slimc, report: Path, tmp_path: Path) -> None:
    _, out, _ = slimc("export-indices", report, "--json")
    assert slimc("export-indices", report, "-o", tmp_path / "i.npz")[0] == 0
    with np.load(tmp_path / "i.npz") as arrays:
        assert set(arrays) == {"wa:1", "wb:0"}
        assert arrays["wa:1"].dtype == np.int64
        assert arrays["wa:1"].tolist() == json.loads(out)["wa"]["1"]


def test_names_with_slashes_survive_in_npz(slimc: Slimc, report: Path, tmp_path: Path) -> None:
    path = edited(report, kept={"/net/conv.weight": {"0": "0-2,5"}})
    assert slimc("export-indices", path, "-o", tmp_path / "i.npz")[0] == 0
    with np.load(tmp_path / "i.npz") as arrays:
        assert arrays["/net/conv.weight:0"].tolist() == [0, 1, 2, 5]


def test_what_is_missing_is_said(slimc: Slimc, report: Path) -> None:
    status, out, err = slimc("export-indices", edited(report, missing=["wc", "wd"]))
    assert status == 0
    assert "written" in out
    assert err == "missing: 2 initializers, the report's notes say why: wc, wd\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "it is no JSON report"),
        ("[]", "it is no JSON report"),
        ("{}", "it is no JSON report"),
        ('{"indices": {"kept": {"w": {"0": "a-b"}}, "missing": []}}', "it is no JSON report"),
        ('{"indices": {"kept": {}, "missing": []}}', "removed no channels"),
        ('{"indices": {"kept": {}, "missing": ["w"]}}', "not known"),
    ],
)
def test_one_clear_error_where_there_is_no_map(
    slimc: Slimc, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    status, out, err = slimc("export-indices", path)
    assert (status, out) == (2, "")
    assert "error[no-indices]" in err
    assert message in err
    assert "--report report.json" in err
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_is_not_there(slimc: Slimc, tmp_path: Path) -> None:
    status, _, err = slimc("export-indices", tmp_path / "r.json")
    assert (status, "error[file]" in err) == (2, True)


def test_other_files_than_json_and_npz_are_refused(slimc: Slimc, report: Path) -> None:
    status, _, err = slimc("export-indices", report, "-o", "indices.txt")
    assert (status, "error[bad-option-value]" in err) == (2, True)


def test_the_report_is_not_overwritten(slimc: Slimc, report: Path) -> None:
    before = report.read_text()
    status, _, err = slimc("export-indices", report, "-o", report)
    assert (status, "error[input-overwritten]" in err) == (2, True)
    assert report.read_text() == before


def test_help_has_an_example(slimc: Slimc) -> None:
    status, out, _ = slimc("export-indices", "--help")
    assert status == 0
    assert "slimc export-indices report.json -o indices.json" in " ".join(out.split())


def test_a_report_that_is_nested_without_end(slimc: Slimc, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"indices": ' + "[" * 100_000)
    status, _, err = slimc("export-indices", tmp_path / "r.json")
    assert (status, "error[no-indices]" in err) == (2, True)
