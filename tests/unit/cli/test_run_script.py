from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimc.cli import main
from slimc.io.read import read

NET = """\
graph (%x: f32[N,4], %s: f32[4]) -> (%y, %z)
  %w = constant f32[4,4] random(0)
  %a: f32[N,4] = MatMul(%x, %w) @fc
  %y: f32[N,4] = Relu(%a) @relu
  %z: f32[N,4] = Mul(%a, %s) @scale
"""
SCRIPTS = {
    "neg": "def run(graph):\n    graph.nodes[1].op = 'Neg'\n",
    "keep": "def run(graph):\n    graph.cleanup()\n",
    "bake": """\
import numpy as np
import onnx_graphsurgeon as gs
def run(graph):
    graph.nodes[2].inputs[1] = gs.Constant("s_const", np.ones(4, np.float32))
    graph.inputs = graph.inputs[:1]
""",
    "plug": """\
import numpy as np
import onnx_graphsurgeon as gs
def run(graph):
    made = gs.Variable("found", np.int32, [1, 4])
    graph.nodes.append(gs.Node("Detect_TRT", "detect", {}, [graph.outputs[0]], [made]))
    graph.outputs = [made, graph.outputs[1]]
""",
}


@pytest.fixture
def slimc(capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "net.txt").write_text(NET)
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(text)

    def call(script: str, *words: str) -> tuple[int, str, str]:
        given = ["run-script", str(tmp_path / f"{script}.py"), str(tmp_path / "net.txt")]
        with pytest.raises(SystemExit) as left:
            main([*given, *words])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_of_several_functions_one_is_named(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    several = SCRIPTS["neg"].replace("run", "negate") + SCRIPTS["keep"].replace("run", "clean")
    (tmp_path / "several.py").write_text(several)
    status, _, err = slimc("several")
    assert status == 2
    assert "name one with --function: negate, clean" in err
    status, _, err = slimc("several", "--function", "negate")
    assert status == 0, err
    assert "(function negate)" in err
    assert read(tmp_path / "net.several.onnx").nodes[1].op == "Neg"


def test_of_several_results_one_is_named(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "saves.py").write_text(
        "import onnx\nmodel = onnx.load('model.onnx')\nonnx.save(model, 'a.onnx')\n"
        "model.graph.node[1].op_type = 'Neg'\nonnx.save(model, 'b.onnx')\n"
    )
    status, _, err = slimc("saves")
    assert status == 2
    assert "--result b.onnx" in err
    for name, op in (("a", "Relu"), ("b", "Neg")):
        status, _, err = slimc("saves", "--result", f"{name}.onnx")
        assert status == 0, err
        assert read(tmp_path / "net.saves.onnx").nodes[1].op == op


def test_a_mistake_in_passes_is_told_before_the_script_runs(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "log.py").write_text("raise SystemExit('it ran')\n")
    status, _, err = slimc("log", "--passes", "prune{ratio=2}", "--target", "cpu")
    assert status == 2
    assert "ratio is 2.0, it must be above 0 and below 1" in err
    assert "it ran" not in err


def test_what_a_script_changed_is_told(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, out, err = slimc("neg")
    assert status == 0
    assert err.startswith("running ")
    assert "(function run)" in err
    assert "nodes: 3 -> 3" in out
    assert [line.split() for line in out.splitlines()[2:4]] == [
        ["Neg", "0", "1"],
        ["Relu", "1", "0"],
    ]
    assert "  z         equal " in out
    assert "samples are made up" in out
    assert [node.op for node in read(tmp_path / "net.neg.onnx").nodes] == ["MatMul", "Neg", "Mul"]


def test_same_is_a_promise(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, _, err = slimc("neg", "--same")
    assert (status, list(tmp_path.glob("*.onnx"))) == (1, [])
    assert "error[script-changed-values]: outputs are off by" in err
    assert slimc("keep", "--same")[0] == 0


def test_an_input_may_become_a_constant(slimc) -> None:  # type: ignore[no-untyped-def]
    status, out, _ = slimc("bake")
    assert status == 0
    assert "note: input 's' is gone" in out
    assert "  y         equal " in out


def test_graphs_are_compared_up_to_plugins(slimc) -> None:  # type: ignore[no-untyped-def]
    status, out, _ = slimc("plug", "--json")
    found = json.loads(out)
    assert status == 0
    assert [one["output"] for one in found["agreement"]] == ["y", "z"]
    assert {one["max_abs"] for one in found["agreement"]} == {0}
    said = [one["message"] for one in found["remarks"]]
    assert "Detect_TRT is a plug-in: what it makes is not run here" in said
    assert "unchecked outputs: 'found'" in said


def test_what_a_script_made_is_compiled(slimc, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, out, _ = slimc("neg", "--target", "generic-onnx", "-o", str(tmp_path / "o.onnx"))
    assert status == 0
    assert "target: generic-onnx" in out
    assert len(read(tmp_path / "o.onnx").nodes) == 3


def test_passes_need_a_target(slimc) -> None:  # type: ignore[no-untyped-def]
    status, _, err = slimc("neg", "--passes", "quant")
    assert status == 2
    assert "passes need a target" in err
