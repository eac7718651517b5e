from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import slimc
from slimc.calib.table import CalibrationTable, CalibrationTables, StoredTables, ValueRange
from slimc.errors import SlimcError
from slimc.report.text import report_text

TABLE = CalibrationTable({"x": ValueRange(-0.1, 1 / 3)}, "k")
GRAPH = slimc.parse_text("""
graph (%x: f32[N,8]) -> (%y)
  %w = constant f32[8,8] random(0)
  %y: f32[N,8] = MatMul(%x, %w) @product
""")
FEEDS = [{"x": np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)}]


def never() -> CalibrationTable:
    raise AssertionError("it is there")


@pytest.mark.parametrize("name", ["ranges.json", "folder", "new/ranges.json"])
def test_what_was_made_is_found(tmp_path: Path, name: str) -> None:
    first = StoredTables(tmp_path / name)
    assert first.table("k", lambda: TABLE) == TABLE
    assert "calibrated and stored" in first.summary()
    second = StoredTables(tmp_path / name)
    assert second.table("k", never) == TABLE
    assert "an earlier compile" in second.summary()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_file_keeps_the_last_table_and_a_folder_all(tmp_path: Path) -> None:
    other = CalibrationTable({"x": ValueRange(0, 1)}, "other")
    for place, makes in ((tmp_path / "one.json", [TABLE]), (tmp_path / "many", [])):
        StoredTables(place).table("k", lambda: TABLE)
        StoredTables(place).table("other", lambda: other)
        made: list[CalibrationTable] = []
        StoredTables(place).table("k", lambda kept=made: kept.append(TABLE) or TABLE)
        assert made == makes


@pytest.mark.parametrize("text", ["{}", "[1]", '{"passes": []}', "not json", "\xff"])
def test_another_file_is_not_overwritten(tmp_path: Path, text: str) -> None:
    place = tmp_path / "report.json"
    place.write_bytes(text.encode("latin-1"))
    with pytest.raises(SlimcError) as caught:
        StoredTables(place).table("k", lambda: TABLE)
    assert caught.value.name == "bad-calibration-table"
    assert place.read_bytes() == text.encode("latin-1")


def test_a_model_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(SlimcError, match=r"neither a folder nor a \.json file"):
        StoredTables(tmp_path / "model.onnx")


def test_without_a_place_each_is_made() -> None:
    made: list[int] = []
    tables = CalibrationTables()
    for _ in range(2):
        tables.table("k", lambda: made.append(1) or TABLE)
    assert (len(made), tables.summary()) == (2, "")


def test_the_same_model_comes_with_and_without(tmp_path: Path) -> None:
    def compiled(place: Path | None, passes: str = "quant") -> slimc.Compiled:
        return slimc.compile(GRAPH, passes, "generic-onnx", FEEDS, calib_cache=place)

    place = tmp_path / "ranges.json"
    plain, made, found = compiled(None), compiled(place), compiled(place)
    outputs = {one.report.digests["output"] for one in (plain, made, found)}
    assert len(outputs) == 1
    assert "calibrated and stored" in report_text(made.report)
    assert "an earlier compile" in report_text(found.report)
    assert "calibrated" not in report_text(plain.report)
    key = json.loads(place.read_text())["key"]
    compiled(place, "quant{calibrator=minmax}")
    assert json.loads(place.read_text())["key"] != key
