"""The public names, as a program uses them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

import slimc
from slimc.execute.ort import Session

TEXT = """\
graph (%x: f32[N,3,8,8]) -> (%y)
  %w = constant f32[8,3,3,3] random(0)
  %v = constant f32[8,8,3,3] random(1, -0.1..0.1)
  %a: f32[N,8,6,6] = Conv(%x, %w) @first
  %b: f32[N,8,6,6] = Relu(%a) @relu
  %y: f32[N,8,4,4] = Conv(%b, %v) @second
"""


def test_load_compile_save(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(TEXT)
    graph = slimc.load(tmp_path / "m.txt")
    feeds = [
        {"x": np.random.default_rng(i).standard_normal((4, 3, 8, 8), np.float32)} for i in range(4)
    ]
    made = slimc.compile(graph, "prune{ratio=0.3},quant", "cpu-vnni", data=feeds)
    made.save(tmp_path / "m.onnx")
    again = slimc.load(tmp_path / "m.onnx")
    assert Session(again).run(feeds[0])["y"].shape == (4, 8, 4, 4)
    report = made.report
    assert report.after.macs < 0.8 * report.before.macs
    assert (report.integer_intended, report.integer_achieved) == (1, 1)  # sums of 27 stay float
    assert report.digests["data"] == slimc.compile(graph, data=feeds).report.digests["data"]
    assert "integer layers: 1 of 1 intended, among 2 contractions" in slimc.report_text(report)


def test_save_writes_a_graph(tmp_path: Path) -> None:
    slimc.save(slimc.parse_text(TEXT), tmp_path / "m.onnx")
    assert slimc.load(tmp_path / "m.onnx").outputs == ("y",)


def test_every_public_name_exists_once() -> None:
    assert len(set(slimc.__all__)) == len(slimc.__all__)
    assert all(hasattr(slimc, name) for name in slimc.__all__)


def test_the_version_is_that_of_the_project() -> None:
    project = Path(slimc.__file__).parents[1] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == slimc.__version__


def test_sensitivity_leads_channel_removal() -> None:
    graph = slimc.parse_text(TEXT)
    x = np.random.default_rng(0).standard_normal((8, 3, 8, 8), np.float32)
    measured = slimc.sensitivity(graph, [{"x": x}], ratios=(0.5,))
    (curve,) = measured.curves.curves
    assert (curve.family, curve.points[0].kept, measured.taken_over) == ("first", 4, 0)
    made = slimc.compile(graph, "prune{ratio=0.3,align=1}", data=[{"x": x}], curves=measured.curves)
    assert made.report.after.macs < 0.8 * made.report.before.macs
