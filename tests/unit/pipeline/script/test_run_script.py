from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from slimc.errors import PromiseError, SlimcError
from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.script.run_script import Scripted, run_script
from slimc.pipeline.script.surgeon_script import SurgeonScript

NET = parse_text("""\
graph (%x: f32[N,64]) -> (%y, %z)
  %w = constant f32[64,64] random(0)
  %a: f32[N,64] = MatMul(%x, %w) @fc
  %y: f32[N,64] = Relu(%a) @relu
  %z: f32[N,64] = Neg(%a) @neg
""")


@contextmanager
def scripted(tmp_path: Path, *lines: str, external: bool = False) -> Iterator[Scripted]:
    """Run a function of these lines on the network."""
    write(NET, tmp_path / "net.onnx", external=external)
    head = ["import numpy as np", "import onnx_graphsurgeon as gs", "def run(graph):"]
    (tmp_path / "script.py").write_text("\n".join([*head, *(f"    {line}" for line in lines)]))
    script = SurgeonScript.of(tmp_path / "script.py")
    with run_script(script, tmp_path / "net.onnx", OPS) as made:
        yield made


def said(made: Scripted) -> list[str]:
    return [remark.message for remark in made.remarks]


def test_what_is_the_same_holds(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.cleanup().toposort()") as made:
        made.hold()
        assert (made.apart, made.remarks, made.unchecked) == (0, (), "")
        assert [one.output for one in made.agreement] == ["y", "z"]


def test_weights_in_a_file_beside_the_model_come_along(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.cleanup()", external=True) as made:
        made.hold()
    assert list(tmp_path.glob("*.data"))


def test_a_script_may_fix_a_size(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.inputs[0].shape = [3, 64]") as made:
        made.hold()
        assert len(made.agreement) == 2


def test_what_changed_breaks_the_promise(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.nodes[1].op = 'Abs'") as made:
        assert made.apart > 0.1
        with pytest.raises(PromiseError, match="outputs are off by") as caught:
            made.hold()
    assert caught.value.name == "script-changed-values"


def test_an_output_that_is_gone_breaks_the_promise(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.outputs = graph.outputs[:1]", "graph.cleanup()") as made:
        assert said(made) == ["output 'z' is gone"]
        with pytest.raises(PromiseError, match="not compared: 'z'"):
            made.hold()


def test_an_output_that_is_a_value_still_is_compared(tmp_path: Path) -> None:
    lines = ("graph.nodes[1].op = 'Abs'", "graph.outputs = graph.outputs[1:]")
    with scripted(tmp_path, *lines) as made:
        assert [(one.output, one.max_abs > 0) for one in made.agreement] == [
            ("y", True), ("z", False)
        ]  # fmt: skip


def test_other_inputs_cannot_be_compared(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.inputs[0].name = 'image'") as made:
        assert said(made) == ["input 'x' is gone", "input 'image' is new"]
        assert made.unchecked == "outputs are not compared: the graph has other inputs"
        with pytest.raises(PromiseError, match="other inputs"):
            made.hold()


def test_what_does_not_run_is_told(tmp_path: Path) -> None:
    with scripted(tmp_path, "graph.inputs[0].shape = ['N', 65]") as made:
        assert made.unchecked.startswith("outputs are not compared: ")
        assert made.agreement == ()


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    lines = ("graph.nodes[1].inputs = [gs.Variable('nothing', np.float32)]",)
    with pytest.raises(SlimcError) as caught, scripted(tmp_path, *lines):
        pass
    assert caught.value.name == "value-undefined"


def test_plugins_are_told_and_what_is_behind_them(tmp_path: Path) -> None:
    lines = (
        "found = gs.Variable('found', np.float32, ['N', 64])",
        "last = gs.Variable('last', np.float32, ['N', 64])",
        "graph.nodes.append(gs.Node('Mine_TRT', 'mine', {}, [graph.outputs[0]], [found]))",
        "graph.nodes.append(gs.Node('Exp', 'exp', {}, [found], [last]))",
        "graph.outputs = [last]",
    )
    with scripted(tmp_path, *lines) as made:
        assert said(made)[-3:] == [
            "Mine_TRT is a plug-in: what it makes is not run here",
            "nor is what stands behind plug-ins: 'exp'",
            "unchecked outputs: 'last'",
        ]
        assert [(one.output, one.max_abs) for one in made.agreement] == [("y", 0)]


def test_samples_may_be_given(tmp_path: Path) -> None:
    write(NET, tmp_path / "net.onnx")
    (tmp_path / "script.py").write_text("def run(graph):\n    pass\n")
    np.save(tmp_path / "x.npy", np.ones((3, 64), np.float32))
    script = SurgeonScript.of(tmp_path / "script.py")
    with run_script(script, tmp_path / "net.onnx", OPS, tmp_path / "x.npy") as made:
        made.hold()
