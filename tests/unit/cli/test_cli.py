"""The command line from outside: exit status, stdout, stderr, files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slimc.cli import main
from slimc.io.read import read
from slimc.io.write import write
from slimc.ir.text import parse_text

TEXT = """\
graph (%x: f32[N,3,8,8]) -> (%y)
  %w = constant f32[4,3,3,3] random(0)
  %b = constant f32[4] random(1)
  %c: f32[N,4,6,6] = Conv(%x, %w, %b) @conv
  %y: f32[N,4,6,6] = Relu(%c) @relu
"""
TRUNK = """\
graph (%x: f32[1,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[5,8,1,1] random(2)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @a
  %r = Relu(%a) @r
  %b = Conv(%r, %wb) {pads=[1, 1, 1, 1]} @b
  %s = Add(%b, %r) @s
  %y = Conv(%s, %wc) @c
"""
Out = tuple[int, str, str]
Slimc = Callable[..., Out]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def slimc(capsys: pytest.CaptureFixture[str]) -> Slimc:
    def call(*words: object) -> Out:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_the_default_file_stands_beside_the_model(slimc: Slimc, model: Path) -> None:
    status, out, err = slimc(model)
    assert (status, err) == (0, "")
    made = model.with_name("net.generic-onnx.onnx")
    assert out.endswith(f"written: {made}\n")
    assert "samples are made up" in out.splitlines()[0]
    assert read(made).outputs == ("y",)


def test_dry_run_writes_no_model_but_the_report(slimc: Slimc, model: Path, tmp_path: Path) -> None:
    status, out, _ = slimc(model, "--dry-run", "--report", tmp_path / "r.json")
    assert (status, list(tmp_path.glob("*.onnx"))) == (0, [])
    assert "nothing written" in out
    assert json.loads((tmp_path / "r.json").read_text())["target"] == "generic-onnx"


def test_json_alone_is_on_stdout(slimc: Slimc, model: Path) -> None:
    status, out, err = slimc(model, "--json", "--print-after", "nothing")
    assert (status, out) == (2, "")
    first = json.loads(slimc("show", model, "--json")[1])
    assert first["inputs"] == {"x": "f32[N,3,8,8]"}
    status, out, err = slimc(model, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["before"]["nodes"] == 2


def test_options_reach_the_compile(slimc: Slimc, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", x=np.ones((4, 3, 8, 8), np.float32))
    (tmp_path / "r.yaml").write_text("passes: ''\ntarget: generic-onnx\nseed: 3\n")
    words = ["-o", tmp_path / "o.onnx", "--calib", tmp_path / "s.npz", "--time-passes"]
    status, out, _ = slimc(model, *words, "--recipe", tmp_path / "r.yaml", "--details")
    assert status == 0
    assert "made up" not in out
    assert "its checks" in out
    assert (tmp_path / "o.onnx").exists()


def test_shapes_and_inputs_can_be_fixed(slimc: Slimc, model: Path, tmp_path: Path) -> None:
    assert slimc(model, "-o", tmp_path / "o.onnx", "--shape", "x=1x3x8x8")[0] == 0
    assert str(read(tmp_path / "o.onnx").types["x"]) == "f32[1,3,8,8]"
    text = "bind-inputs{shapes=[x=2x3x8x8]}"
    assert slimc(model, "-o", tmp_path / "o.onnx", "--passes", text)[0] == 0
    assert str(read(tmp_path / "o.onnx").types["x"]) == "f32[2,3,8,8]"
    (tmp_path / "two.txt").write_text(
        "graph (%x: f32[N,2], %k: f32[2]) -> (%y)\n  %y: f32[N,2] = Mul(%x, %k)\n"
    )
    status, _, _ = slimc(tmp_path / "two.txt", "-o", tmp_path / "o.onnx", "--bind", "k=2,3")
    assert status == 0
    assert read(tmp_path / "o.onnx").inputs == ("x",)


def test_graphs_after_passes_can_be_printed(slimc: Slimc, model: Path) -> None:
    first = json.loads(slimc(model, "--json")[1])["passes"][0]["text"]
    status, out, _ = slimc(model, "--dry-run", "--print-after", first, "--stop-after", first)
    assert status == 0
    assert f"# after {first}\ngraph (%x: f32[N,3,8,8]) -> (%y)\n" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "generic-onx"], "did you mean 'generic-onnx'?"),
        (["--passes", "nonsense"], "there is no pass or stage 'nonsense'"),
        (["--passes", "a{"], "error[text-syntax]"),
        (["--targe", "cpu"], "--target"),
        (["--bind", "x"], "'x' is not of the form name=value"),
        (["--bind", "z=1"], "has no input 'z'"),
        (["--report", "r.pdf"], "ends neither in .json nor in .txt"),
        (["--recipe", "none.yaml"], "error[bad-recipe]"),
        (["--plugin", "none.py"], "error[bad-plugin]"),
        (["--calib", "none"], "none"),
        (["--stop-after", "nothing"], "none of the passes"),
    ],
)
def test_mistakes_are_one_clear_text(
    slimc: Slimc, model: Path, words: list[str], said: str
) -> None:
    status, out, err = slimc(model, *words)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not list(model.parent.glob("*.onnx"))


def test_the_model_is_never_overwritten(slimc: Slimc, model: Path) -> None:
    for option in ("-o", "--report"):
        status, _, err = slimc(model, option, model)
        assert status == 2
        assert err.startswith("error[input-overwritten]")
        assert f"option {option}" in err
        assert model.read_text() == TEXT


def test_a_folder_that_is_not_there_is_told_before_any_work(slimc: Slimc, model: Path) -> None:
    before = set(model.parent.iterdir())
    for option, name in (("-o", "made.onnx"), ("--report", "report.json")):
        status, _, err = slimc(model, option, model.with_name("nowhere") / name)
        assert status == 2
        assert err.startswith("error[unwritable]")
        assert "does not exist" in err
        assert f"option {option}" in err
    assert set(model.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shw"], "did you mean 'show'?"),
        (["none.onnx"], "none.onnx"),
        (["--passes", "prune"], "Missing argument 'MODEL'"),
        (["none.onnx", "--passes", "prune{ratio=1.5}"], "ratio is 1.5, it must be above 0 and"),
        (["none.onnx", "--passes", "quant{percentile=20}"], "it must be above 50 and at most 100"),
        (["explain", "none.onnx", "--pass", "prune{ratio=0}"], "ratio is 0.0, it must be above 0"),
        (["passes", "nonsense"], "there is no pass"),
        (["targets", "show", "nonsense"], "there is no target"),
        (["targets", "jetson"], "slimc targets show jetson"),
        (["ops", "Convv"], "did you mean 'Conv'?"),
        (["show", "none.onnx"], "none.onnx"),
    ],
)
def test_mistakes_in_commands(slimc: Slimc, words: list[str], said: str) -> None:
    status, out, err = slimc(*words)
    assert (status, out) == (2, "")
    assert said in err


def test_help_has_examples_and_options(slimc: Slimc) -> None:
    for words in ([], ["--help"]):
        status, out, err = slimc(*words)
        text = out + err
        assert status in (0, 2)
        assert "--passes TEXT" in text
        assert "slimc model.onnx --passes prune,quant --target jetson" in text
    assert "slimc diff" in slimc("diff", "--help")[1]
    assert slimc("--version")[1].startswith("slimc, version")


def test_show_diff_and_data(slimc: Slimc, model: Path, tmp_path: Path) -> None:
    assert "Conv" in slimc("show", model)[1]
    table = slimc("show", model, "--as", "table")[1].splitlines()
    assert table[1].split() == ["conv", "Conv", "f32[N,4,6,6]", "3.89", "k"]
    full = slimc("show", model, "--as", "text", "--full")[1]
    (tmp_path / "again.txt").write_text(full)
    status, out, _ = slimc("diff", model, tmp_path / "again.txt")
    assert status == 0
    assert "no operator changed" in out
    assert "equal" in out
    assert "16 samples in 8 feeds" in slimc("data", model)[1]


def test_diff_tells_how_weights_are_stored_and_that_samples_are_made_up(
    slimc: Slimc, model: Path, tmp_path: Path
) -> None:
    slimc(model, "--passes", "quant", "-o", tmp_path / "q.onnx")
    out = slimc("diff", model, tmp_path / "q.onnx")[1]
    assert ["conv,", "operand", "1", "f32[4,3,3,3]", "i8[4,3,3,3]"] in [
        line.split() for line in out.splitlines()
    ]
    assert "samples are made up" in out
    np.savez(tmp_path / "stack.npz", x=np.ones((4, 3, 8, 8), np.float32))
    told = slimc("diff", model, tmp_path / "q.onnx", "--calib", tmp_path / "stack.npz")[1]
    assert "samples are made up" not in told


def test_bench_gives_the_ratio(slimc: Slimc, model: Path, tmp_path: Path) -> None:
    slimc(model, "-o", tmp_path / "o.onnx")
    words = ("bench", model, tmp_path / "o.onnx", "--rounds", 9)
    out = slimc(*words)[1]
    assert out.count("o.onnx is ") == 2
    assert out.endswith("9 rounds in turn on x f32[2,3,8,8]\n")
    found = json.loads(slimc(*words, "--threads", 1, "--json")[1])
    alike = slimc("bench", tmp_path / "o.onnx", tmp_path / "o.onnx", "--rounds", 6)[1]
    assert f"{tmp_path / 'o.onnx'} is " in alike
    (run,) = found["runs"]
    assert (found["rounds"], run["threads"]) == (9, 1)
    low, high = run["ratio"]["bounds"]
    assert 0.05 < low <= run["ratio"]["median"] <= high < 20
    assert run["models"][0]["quartile_seconds"][0] <= run["models"][0]["median_seconds"]


def test_sizes_that_one_of_two_models_fixes_hold_for_both(
    slimc: Slimc, model: Path, tmp_path: Path
) -> None:
    """At 2 samples of 64 x 64, which are made up for open sizes, the second model cannot run."""
    model.write_text(TEXT.replace("N,3,8,8", "N,3,H,W").replace("N,4,6,6", "N,4,P,Q"))
    fixed = tmp_path / "fixed.onnx"
    assert slimc(model, "--shape", "x=1x3x8x8", "-o", fixed)[0] == 0
    for pair in ((model, fixed), (fixed, model)):
        status, out, _ = slimc("diff", *pair, "--json")
        found = json.loads(out)
        assert (status, found["before"]["macs"], found["after"]["macs"]) == (0, 3888, 3888)
        assert found["agreement"]
        status, out, _ = slimc("bench", *pair, "--rounds", 6, "--threads", 1, "--json")
        assert (status, json.loads(out)["feed"]) == (0, "x f32[1,3,8,8]")
    assert slimc("verify", fixed, "--target", "cpu", "--against", model)[0] == 0


def test_bench_reads_weights_beside_the_file(slimc: Slimc, tmp_path: Path) -> None:
    write(parse_text(TEXT), tmp_path / "o.onnx", external=True)
    status, out, _ = slimc("bench", tmp_path / "o.onnx", "--rounds", 6, "--threads", 2)
    assert status == 0
    assert "2 threads" in out
    assert "times as fast" not in out


def test_the_graph_of_ties_is_written(slimc: Slimc, tmp_path: Path) -> None:
    model, graph = tmp_path / "trunk.txt", tmp_path / "ties.graphml"
    model.write_text(TRUNK)
    status, out, _ = slimc("explain", model, "--graph", graph)
    assert (status, out) == (0, f"written: {graph}\n")
    assert graph.read_bytes().startswith(b"<?xml")
    status, out, err = slimc("explain", model, "--graph", graph, "--pass", "prune{keep=c}")
    assert status == 0, err
    assert "'s' alone ties 'a', 'b' to 'c' (Conv), which is kept: a projection there" in out
    status, out, err = slimc("explain", model, "--graph", graph, "--pass", "prune", "--json")
    assert json.loads(out)
    assert err == f"written: {graph}\n"
    before = graph.read_bytes()
    for words, said in (
        ((), "there is nothing to explain"),
        (("--graph", tmp_path / "ties.png"), "does not end in .graphml"),
        (("--graph", tmp_path / "nowhere" / "ties.graphml"), "error[unwritable]"),
        (("--graph", graph, "--pass", "prune", "--node", "none"), "nothing is said of a node"),
    ):
        status, out, err = slimc("explain", model, *words)
        assert (status, out) == (2, "")
        assert said in err
    assert graph.read_bytes() == before


def test_the_version_and_the_help_load_no_heavy_package() -> None:
    heavy = ("matplotlib", "networkx", "onnxruntime", "scipy", "torch")
    code = (
        "import sys; from slimc.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"finally: assert not [name for name in {heavy} if name in sys.modules], 'heavy'"
    )
    for word in ("--version", "--help", "passes"):
        ended = subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout


def test_lists(slimc: Slimc) -> None:
    assert "generic-onnx" in slimc("targets")[1]
    assert json.loads(slimc("targets", "--json")[1])
    assert "runtime      any" in slimc("targets", "show", "generic-onnx")[1]
    assert json.loads(slimc("passes", "--json")[1])["passes"]
    assert slimc("passes")[0] == 0
    assert "n!" in slimc("ops", "MaxPool")[1] or "axes" in slimc("ops", "MaxPool")[1]
