from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.testing.golden import (
    GoldenError,
    check_golden,
    diff,
    extract_nodes,
    load_golden,
    same_text,
)

PLUGIN = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.remarks import applied


@dataclass(frozen=True)
class RenameOperator(Pass):
    """Replace every operator of one kind by another."""

    name: ClassVar[str] = "rename-operator"
    old: str = option("Relu", help="which")
    new: str = option("LeakyRelu", help="into what")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        edit = Editor(graph)
        found = [node.name for node in graph.nodes if node.op == self.old]
        if not found:
            raise SlimcError("bad-option-value", f"no {self.old} here", "nowhere", "look again")
        for name in found:
            edit.update(name, op=self.new)
        return PassResult(edit.finish(), tuple(applied(name, "renamed") for name in found))


PASSES = (RenameOperator,)
'''
GIVEN = """\
A Relu becomes something else.
pipeline: rename-operator{new=%s}
values: same within 1e-6
plugin: plugin.py
--- input
graph (%%x: f32[N,4]) -> (%%y)
  %%y: f32[N,4] = Relu(%%x) @act
"""


def golden(folder: Path, new: str = "HardSwish", text: str | None = None) -> Path:
    (folder / "plugin.py").write_text(PLUGIN)
    path = folder / "a.golden"
    path.write_text(GIVEN % new if text is None else text)
    return path


def test_an_empty_golden_fails_until_it_is_updated(tmp_path: Path) -> None:
    path = golden(tmp_path, "Relu")
    with pytest.raises(GoldenError, match="has no expected result"):
        check_golden(path)
    check_golden(path, update=True)
    assert path.read_text() == GIVEN % "Relu" + (
        "--- output\n"
        "graph (%x: f32[N,4]) -> (%y)\n"
        "  %y: f32[N,4] = Relu(%x) @act\n"
        "--- remarks\n"
        "applied @act: renamed\n"
    )
    check_golden(path)


def test_a_stale_golden_fails_with_a_diff(tmp_path: Path) -> None:
    path = golden(tmp_path, "Relu")
    check_golden(path, update=True)
    path.write_text(path.read_text().replace("applied @act: renamed", "applied @act: moved"))
    with pytest.raises(GoldenError) as caught:
        check_golden(path)
    assert "-applied @act: moved\n+applied @act: renamed" in str(caught.value)


def test_wrong_values_fail_even_in_an_update(tmp_path: Path) -> None:
    path = golden(tmp_path, "Neg")
    with pytest.raises(GoldenError, match="values differ: output 'y' is off by"):
        check_golden(path, update=True)
    assert "--- output" not in path.read_text()


def test_a_refusal_is_golden_too(tmp_path: Path) -> None:
    text = (GIVEN % "Relu").replace("new=Relu", "old=Conv")
    path = golden(tmp_path, text=text)
    check_golden(path, update=True)
    tail = (
        "--- error\nerror[bad-option-value]: no Conv here\n  where: nowhere\n  help:  look again\n"
    )
    assert path.read_text() == text + tail


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pipeline: rename", "# rename", "there is no line `pipeline: ...`"),
        ("A Relu becomes something else.\n", "", "the first line must be a sentence"),
        ("plugin: plugin.py", "plug: plugin.py", "did you mean 'plugin'"),
        ("--- input", "model: m.onnx\n--- input", "give either"),
        ("values: same", "values: equal", "cannot read `values:"),
    ],
)
def test_malformed_files_say_so(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = golden(tmp_path, text=(GIVEN % "Relu").replace(old, new))
    with pytest.raises(GoldenError, match=re.escape(message)):
        check_golden(path)


def test_the_head_is_read(tmp_path: Path) -> None:
    found = load_golden(golden(tmp_path))
    assert found.head["values"] == "same within 1e-6"
    assert found.input.startswith("graph (%x")
    assert found.expected == ""


def test_pytest_collects_and_updates(tmp_path: Path) -> None:
    path = golden(tmp_path, "Relu")
    installed = any(e.value == "slimc.testing" for e in entry_points(group="pytest11"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    command += [] if installed else ["-p", "slimc.testing"]

    def pytest_here(*more: str) -> tuple[int, str]:
        run = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        return run.returncode, run.stdout

    status, text = pytest_here()
    assert (status, "has no expected result" in text) == (1, True)
    assert pytest_here("--update-golden")[0] == 0
    assert pytest_here()[0] == 0
    path.write_text(path.read_text().replace("@act: renamed", "@act: moved"))
    status, text = pytest_here()
    assert (status, "+applied @act: renamed" in text) == (1, True)


def test_numbers_agree_up_to_their_last_digits() -> None:
    assert same_text("scale=0.0213457 zero=3", "scale=0.0213459 zero=3")
    assert same_text("fill(1)", "fill(0.999999)")
    assert not same_text("scale=0.0213", "scale=0.0214")
    assert not same_text("f32[4,3]", "f32[4,4]")
    assert not same_text("%conv1", "%conv2")
    assert not same_text("a", "a b")
    assert diff("x 0.1234567\ny", "x 0.1234568\nz").splitlines()[-3:] == [
        " x 0.1234567",
        "-y",
        "+z",
    ]


def test_of_a_model_the_report_is_golden(tmp_path: Path) -> None:
    graph = parse_text((GIVEN % "Relu").partition("--- input\n")[2])
    write(graph, tmp_path / "m.onnx")
    head = (GIVEN % "HardSwish").partition("--- input")[0].replace("values: same", "values: masked")
    path = golden(tmp_path, text=head.replace("1e-6", "10") + "model: m.onnx\n")
    check_golden(path, update=True)
    assert path.read_text().partition("--- report\n")[2] == (
        "rename-operator{new=HardSwish}: 1 applied\n"
        "nodes: 1 -> 1\nparameters: 0 -> 0\nMACs: 0 -> 0\n"
    )
    check_golden(path)
    path.write_text(path.read_text().replace("model:", "show: act\nmodel:"))
    check_golden(path, update=True)
    assert "--- output\ngraph (%x: f32[N,4]) -> (%y)" in path.read_text()


def test_a_region_of_a_big_graph_is_a_graph() -> None:
    graph = parse_text(
        "graph (%x) -> (%z)\n  %w = constant f32[] 2\n  %a = Abs(%x) @body/abs\n"
        "  %b = Mul(%a, %w) @head/mul\n  %c = Neg(%b) @head/neg\n  %z = Relu(%c) @tail\n"
    )
    part = extract_nodes(graph, ["head/*"])
    assert (part.inputs, part.outputs, list(part.constants)) == (("a",), ("c",), ["w"])
    with pytest.raises(GoldenError, match="no node matches"):
        extract_nodes(graph, ["nothing"])
