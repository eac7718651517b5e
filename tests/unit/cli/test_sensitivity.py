"""`slimc sensitivity` from outside: the file, how it goes on, pictures, mistakes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slimc.cli import main

TEXT = """\
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[4,8] random(2)
  %a = Conv(%x, %wa) @a
  %ra = Relu(%a) @ra
  %b = Conv(%ra, %wb) @b
  %rb = Relu(%b) @rb
  %p = GlobalAveragePool(%rb) @p
  %f = Flatten(%p) @f
  %y = Gemm(%f, %wc){transB=1} @c
"""
SCORE = """\
import numpy as np

def score(run):
    (y,) = run({"x": np.ones((1, 3, 8, 8), np.float32)})
    return -float(np.abs(y).sum())
"""
FOURTH_FAILS = """\
    with open(log, "a+") as file:
        file.write("x")
        file.seek(0)
        1 / (len(file.read()) - 4)
"""
Out = tuple[int, str, str]
Slimc = Callable[..., Out]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "net.txt").write_text(TEXT)
    x = np.random.default_rng(0).standard_normal((16, 3, 8, 8), np.float32)
    np.savez(tmp_path / "s.npz", x=x)
    return tmp_path / "net.txt"


@pytest.fixture
def slimc(capsys: pytest.CaptureFixture[str], model: Path) -> Slimc:
    def call(*words: object, command: str = "sensitivity", calib: str = "s.npz") -> Out:
        first = [command, "--criterion", "magnitude", "--no-refit"] if command else []
        with pytest.raises(SystemExit) as left:
            main([*first, str(model), "--calib", str(model.parent / calib), *map(str, words)])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_a_table_the_most_sensitive_first_and_a_file(slimc: Slimc, model: Path) -> None:
    status, out, err = slimc()
    assert (status, err) == (0, "")
    lines = out.splitlines()
    said = "output error on 16 samples, channels ordered by magnitude; one family cut alone"
    assert lines[0] == said
    assert lines[2].split() == ["family", "channels", "-25", "%", "-50", "%", "-75", "%"]
    means = [np.mean([float(word) for word in line.split()[2:]]) for line in lines[3:5]]
    assert means[0] > means[1] > 0
    made = model.with_name("net.sensitivity.json")
    assert lines[-1] == f"6 points: {made}"
    found = json.loads(made.read_text())
    assert [(one["name"], one["width"]) for one in found["families"]] == [("a", 8), ("b", 8)]
    assert (found["score"], found["metric"], found["samples"]) == ("magnitude", "output error", 16)


def test_going_on_makes_what_one_run_makes(slimc: Slimc, model: Path) -> None:
    score, log = model.with_name("score.py"), model.with_name("log")
    score.write_text(SCORE.replace("(run):\n", f"(run):\n    log = {str(log)!r}\n{FOURTH_FAILS}"))
    part, whole = model.with_name("part.json"), model.with_name("whole.json")
    status, _, err = slimc("--score", score, "-o", part)
    assert status == 2  # the third cut, after the model itself and two cuts
    assert "with 2 of 8 units; option --score" in err
    assert part.read_text().count('"ratio"') == 2
    status, out, _ = slimc("--score", score, "-o", part)
    assert status == 0
    assert out.splitlines()[-1] == f"6 points, 2 of them taken over from an earlier run: {part}"
    slimc("--score", score, "-o", whole)
    assert part.read_bytes() == whole.read_bytes()
    assert "8 points, 6 of them" in slimc("--score", score, "-o", part, "--ratios", "0.1,0.5")[1]
    assert not list(model.parent.glob(".*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--criterion", "magnitude-l1"], "channels ordered by magnitude, not magnitude-l1"),
        (["--samples", 4], "16 samples for a point, not 4"),
        (["--seed", 1], "seed 0, not 1"),
        (["--refit"], "output error, not output error with readers refitted"),
        (["--shape", "x=1x3x8x8"], "another model, or other --bind and --shape"),
    ],
)
def test_a_file_of_another_measurement_is_not_mixed(
    slimc: Slimc, model: Path, words: list[object], said: str
) -> None:
    slimc()
    before = model.with_name("net.sensitivity.json").read_bytes()
    status, out, err = slimc(*words)
    assert (status, out) == (2, "")
    assert err.startswith("error[curves-mismatch]")
    assert said in err
    assert "name another file with -o" in err
    assert model.with_name("net.sensitivity.json").read_bytes() == before


def test_other_samples_are_another_measurement(slimc: Slimc, model: Path) -> None:
    slimc()
    np.savez(model.with_name("t.npz"), x=np.ones((16, 3, 8, 8), np.float32))
    status, _, err = slimc(calib="t.npz")
    assert status == 2
    assert "other samples" in err


def test_a_score_of_ones_own(slimc: Slimc, model: Path) -> None:
    path = model.with_name("score.py")
    path.write_text(SCORE)
    status, out, err = slimc("--score", path)
    assert (status, err) == (0, "")
    assert out.startswith("score of score.py")
    path.write_text(SCORE + "\n")
    assert "score of score.py" in slimc("--score", path)[2]
    for text, said in [
        ("", "it defines no function 'score'"),
        ("def score(run):\n    return float('nan')\n", "returned nan"),
        ("def score(run):\n    return run({})\n", "no array for input 'x'"),
        ("def score(run):\n    return 1 / 0\n", "raised ZeroDivisionError"),
        ("1 / 0", "raised ZeroDivisionError"),
    ]:
        path.write_text(text)
        status, out, err = slimc("--score", path, "-o", model.with_name("o.json"))
        assert (status, out) == (2, "")
        assert said in err


def test_with_samples_data_orders_the_channels_and_readers_are_refitted(
    slimc: Slimc, model: Path
) -> None:
    bare = slimc("--criterion", "obs", "-o", model.with_name("bare.json"))[1]
    status, out, _ = slimc("--criterion", "auto", "--refit")
    assert status == 0
    said = "output error with readers refitted on 3 samples, channels ordered by obs"
    assert out.startswith(said)  # every fifth of 16: no moment is summed of these
    errors = [
        [float(word) for line in text.splitlines()[3:5] for word in line.split()[2:]]
        for text in (out, bare)
    ]
    assert np.mean(errors[0]) < np.mean(errors[1])
    assert slimc("--criterion", "auto", "--refit")[1].endswith(
        f"6 points, 6 of them taken over from an earlier run: "
        f"{model.with_name('net.sensitivity.json')}\n"
    )


def test_json_alone_is_on_stdout(slimc: Slimc, model: Path) -> None:
    status, out, err = slimc("--json")
    assert (status, err) == (0, "")
    assert out == model.with_name("net.sensitivity.json").read_text()


def test_pictures_by_their_suffix(slimc: Slimc, model: Path) -> None:
    png, svg = model.with_name("p.png"), model.with_name("p.svg")
    status, out, _ = slimc("--plot", png, "--plot", svg)
    assert status == 0
    assert out.endswith(f"written: {png}\nwritten: {svg}\n")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in svg.read_bytes()
    first = png.read_bytes(), svg.read_bytes()
    slimc("--plot", png, "--plot", svg)
    assert (png.read_bytes(), svg.read_bytes()) == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plot", "p.pdf"], "ends neither in .png nor in .svg"),
        (["--ratios", "a"], "'a' is no list of numbers"),
        (["--ratios", "0.5,1"], "each must lie between 0 and 1"),
        (["--ratios", "nan"], "each must lie between 0 and 1"),
        (["--criterion", "magnitud"], "did you mean 'magnitude'?"),
        (["--samples", "0"], "--samples"),
        (["--score", "none.py"], "there is no such Python file"),
        (["--bind", "z=1"], "has no input 'z'"),
        (["-o", "none/x.json"], "none"),
    ],
)
def test_mistakes_are_one_clear_text(slimc: Slimc, words: list[str], said: str) -> None:
    status, out, err = slimc(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_folder_that_is_not_there_is_told_before_any_work(slimc: Slimc, model: Path) -> None:
    for option, name in (("-o", "made.json"), ("--plot", "made.png")):
        status, _, err = slimc(option, model.with_name("nowhere") / name)
        assert status == 2
        assert err.startswith("error[unwritable]")
        assert f"option {option}" in err
    assert not model.with_name("net.sensitivity.json").exists()


def test_the_model_is_never_overwritten(slimc: Slimc, model: Path) -> None:
    status, _, err = slimc("-o", model)
    assert (status, model.read_text()) == (2, TEXT)
    assert err.startswith("error[input-overwritten]")


def test_a_broken_file_is_one_error(slimc: Slimc, model: Path) -> None:
    made = model.with_name("net.sensitivity.json")
    for content in (b"{", b"\xff\xfe", b"[]"):
        made.write_bytes(content)
        status, _, err = slimc()
        assert status == 2
        assert err.startswith("error[bad-curves]")
        assert made.read_bytes() == content


def test_a_model_whose_channels_are_pinned(slimc: Slimc, model: Path) -> None:
    model.write_text("graph (%x: f32[N,3,8,8]) -> (%y)\n  %y: f32[N,3,8,8] = Relu(%x) @r\n")
    status, _, err = slimc()
    assert status == 2
    assert err.startswith("error[no-free-channels]")


def test_pictures_without_their_library_are_refused_before_any_work(
    slimc: Slimc, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    before = set(model.parent.iterdir())
    for words in ((), ("--passes", "quant", "--target", "cpu")):
        status, _, err = slimc("--plot", model.with_name("p.svg"), *words)
        assert status == 2
        assert err.startswith("error[plots-missing]")
        assert "pip install 'slimc[plots]'" in err
    assert set(model.parent.iterdir()) == before


def test_channel_removal_chooses_by_the_file(slimc: Slimc, model: Path) -> None:
    slimc()
    made = model.with_name("net.sensitivity.json")
    words = ["--passes", "prune{ratio=0.4,align=1,score=magnitude}", "--dry-run", "--json"]
    kept = {}
    for hard in ("a", "b"):
        found = json.loads(made.read_text())
        for family in found["families"]:
            for point in family["points"]:
                point["error"] = 0.9 if family["name"] == hard else 0.001
        made.write_text(json.dumps(found))
        status, out, err = slimc(*words, "--sensitivity", made, command="")
        assert (status, err) == (0, "")
        report = json.loads(out)
        assert "chosen by measured curves: output error on 16 samples" in str(report["notes"])
        (table,) = (p["facts"]["families"] for p in report["passes"] if "families" in p["facts"])
        kept[hard] = {row["name"]: row["kept"] for row in table}
    assert kept["a"]["a"] > kept["a"]["b"]
    assert kept["b"]["b"] > kept["b"]["a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no pass of this compile removes channels"),
        (["--passes", "prune{steps=2}"], "the first of 2 rounds of removal only"),
        (["--passes", "prune{budget=channels}"], "cuts all families alike"),
        (["--passes", "prune{compare=outputs}"], "measures curves of its own"),
        (["--passes", "prune{score=random}"], "channels ordered by magnitude, not random"),
        (["--passes", "prune{score=magnitude}", "--seed", 1], "seed 0, not 1"),
        (["--passes", "prune{score=magnitude}", "--shape", "x=2x3x8x8"], "another model"),
        (["--passes", "prune", "--sensitivity", "none.json"], "error[bad-curves]"),
    ],
)
def test_curves_that_do_not_fit_are_one_error(
    slimc: Slimc, model: Path, words: list[object], said: str
) -> None:
    slimc()
    made = model.with_name("net.sensitivity.json")
    status, out, err = slimc("--sensitivity", made, *words, "--dry-run", command="")
    assert (status, out) == (2, "")
    assert said in err
