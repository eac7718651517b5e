from __future__ import annotations

import re
from pathlib import Path

import pytest

from slimc.errors import SlimcError
from slimc.pipeline.catalogue import catalogue

PASS = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from slimc.passes.base import Pass, PassResult, option

@dataclass(frozen=True)
class Mine(Pass):
    \"\"\"Do nothing.\"\"\"
    name: ClassVar[str] = "%s"
    rounds: int = option(1, help="how often")
    def run(self, graph, ctx):
        return PassResult(graph)
"""
OTHERS = """
PASSES = (Mine,)
STAGES = {"own-stage": (Mine,)}
from slimc.ops.op import Op, make_table
OPS = make_table(Op("my.domain.Twice", axes="*s -> *s"))
from slimc.targets.target import Target
TARGETS = {"my-board": Target("my-board", "none", "a board of mine")}
"""


def plugin(folder: Path, text: str) -> Path:
    path = folder / "plugin.py"
    path.write_text(text)
    return path


def test_a_plugin_adds_passes_stages_operators_and_targets(tmp_path: Path) -> None:
    names = catalogue().with_file(plugin(tmp_path, PASS % "do-nothing" + OTHERS))
    assert [str(p) for p in names.parse("do-nothing{rounds=2},own-stage")] == [
        "do-nothing{rounds=2}",
        "do-nothing",
    ]
    assert names.ops.get("my.domain.Twice") is not None
    assert names.target("my-board").summary == "a board of mine"
    assert "do-nothing" not in [p.name for p in catalogue().passes]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("x = 1", "bad-plugin", "it defines none of PASSES, STAGES, OPS, TARGETS, SCORES"),
        ("1 / 0", "bad-plugin", "it raised ZeroDivisionError: division by zero"),
        ("PASSES = (int,)", "bad-plugin", "expected a class derived from slimc.Pass"),
        ("OPS = {}", "bad-plugin", "expected an OpTable"),
        ("TARGETS = ('x',)", "bad-plugin", "expected a slimc.Target"),
        ("SCORES = (len,)", "bad-plugin", "expected SCORES as a mapping"),
        ("SCORES = {'mine': 3}", "bad-plugin", "expected a function as the score 'mine', found 3"),
        ("SCORES = {'magnitude': len}", "name-taken", "'magnitude' is taken"),
        (PASS % "do-nothing" + "PASSES = (Mine, Mine)", "name-taken", "'do-nothing' is taken"),
        (
            "from slimc.targets.target import Target\nTARGETS = [Target('generic-onnx', '', '')]",
            "name-taken",
            "'generic-onnx' is taken",
        ),
    ],
)
def test_bad_plugins_are_refused(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(SlimcError, match=re.escape(message)) as caught:
        catalogue().with_file(plugin(tmp_path, text))
    assert caught.value.name == name


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="there is no such Python file"):
        catalogue().with_file(tmp_path / "none.py")


def test_unknown_targets_get_a_suggestion() -> None:
    with pytest.raises(SlimcError) as caught:
        catalogue().target("generic-onx")
    assert caught.value.name == "unknown-target"
    assert "did you mean 'generic-onnx'?" in caught.value.help
