from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimc.cli import main
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.pipeline.sensitivity.regions import RegionNoise, RegionNoises, noises_text, region_noises
from slimc.report.plots import draw_bar_chart

TEXT = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[4,8,3,3] random(2)
  %a: f32[N,8,6,6] = Conv(%x, %wa) @a
  %ra: f32[N,8,6,6] = Relu(%a) @ra
  %b: f32[N,8,4,4] = Conv(%ra, %wb) @b
  %rb: f32[N,8,4,4] = Relu(%b) @rb
  %y: f32[N,4,2,2] = Conv(%rb, %wc) @c
"""
SCORE = """
import numpy as np
def score(run):
    x = np.random.default_rng(1).standard_normal((8, 3, 8, 8), np.float32)
    return float(run({"x": x})[0].sum())
"""


def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((8, 3, 8, 8), np.float32)} for _ in range(10)]


def test_each_region_alone_does_less_than_all_of_them() -> None:
    told: list[tuple[int, int]] = []
    made = region_noises(
        parse_text(TEXT), "quant", "openvino", feeds(), watch=lambda *at: told.append(at)
    )
    assert {one.name for one in made.regions} == {"a", "b", "c"}
    noise = [one.noise for one in made.regions]
    assert noise == sorted(noise, reverse=True)
    assert 0 < noise[-1] <= noise[0] < made.whole < 2 * sum(noise)
    assert sum(map(made.share, made.regions)) == pytest.approx(1)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (made.samples, made.synthetic) == (16, False)
    assert all(one.macs > 0 for one in made.regions)
    again = region_noises(parse_text(TEXT), "quant", "openvino", feeds())
    assert noises_text(made) == noises_text(again)


def test_a_model_that_is_not_quantized_has_no_regions() -> None:
    for passes, target in (("", "openvino"), ("quant", "jetson-nano")):
        with pytest.raises(SlimcError) as raised:
            region_noises(parse_text(TEXT), passes, target, feeds())
        assert raised.value.name == "nothing-quantized"


@pytest.mark.parametrize("form", ["png", "svg"])
def test_bars_are_the_same_bytes_and_small_ones_are_one(form: str) -> None:
    regions = tuple(RegionNoise(f"conv{i}", (f"conv{i}",), 1 / (1 + i), 9) for i in range(60))
    made = RegionNoises("", "cpu", "quant", 0.5, 8, False, "", regions)
    first = draw_bar_chart(made, form, "title")  # type: ignore[arg-type]
    assert first == draw_bar_chart(made, form, "title")  # type: ignore[arg-type]
    if form == "svg":
        assert first.decode().count('id="ytick_') == 49


def slimc(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["sensitivity", *map(str, words)])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_the_command_shows_a_table_bars_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.txt").write_text(TEXT)
    (tmp_path / "score.py").write_text(SCORE)
    np.savez(tmp_path / "s.npz", x=np.concatenate([feed["x"] for feed in feeds()]))
    words = (tmp_path / "net.txt", "--passes", "quant", "--target", "openvino")
    words += ("--calib", tmp_path / "s.npz")
    more = ("--plot", tmp_path / "bars.svg", "-o", tmp_path / "r.json")
    status, out, err = slimc(capsys, *words, *more)
    assert (status, err) == (0, "")
    assert "one region alone in integers; all regions together" in out
    assert "region  " in out
    assert (tmp_path / "bars.svg").read_text().startswith("<?xml")
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["format"] == "slimc-region-noise-1"
    assert sum(row["share"] for row in found["regions"]) == pytest.approx(1, abs=1e-3)
    status, out, _ = slimc(capsys, *words, "--json", "--score", tmp_path / "score.py")
    assert status == 0
    assert json.loads(out)["score"] == "score.py"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--passes", "quant", "--ratios", "0.5"), "how channels are cut"),
        (("--passes", "quant", "--no-refit"), "how channels are cut"),
        (("--target", "cpu"), "widths matter alike on every target"),
    ],
    ids=str,
)
def test_options_without_effect_are_refused(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.txt").write_text(TEXT)
    status, _, err = slimc(capsys, tmp_path / "net.txt", *words)
    assert status == 2
    assert said in err
