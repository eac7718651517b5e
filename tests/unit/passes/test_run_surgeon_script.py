from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import slimc
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.passes.run_surgeon_script import surgeon_pass

GRAPH = parse_text("""\
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4] [1, 2, 3, 4]
  %a: f32[N,4] = Mul(%x, %w) @mul
  %y: f32[N,4] = Exp(%a) @act
""")


def rename(graph: Any) -> None:
    """Use Softplus for Exp."""
    for node in graph.nodes:
        if node.op == "Exp":
            node.op = "Softplus"


def fail(graph: Any) -> None:
    raise RuntimeError("no such layer")


def test_a_script_runs_as_a_pass() -> None:
    kind = surgeon_pass("use-softplus", rename, promise="approximate")
    assert (kind.__doc__, str(kind())) == ("Use Softplus for Exp.", "use-softplus")
    made = slimc.compile(GRAPH, [kind()])
    assert [node.op for node in made.graph.nodes] == ["Mul", "Softplus"]
    told = next(one for one in made.report.passes if one.text == "use-softplus")
    assert told.remarks[0].message == "script ran: 2 -> 2 nodes"


def test_a_script_that_changes_values_must_say_so() -> None:
    with pytest.raises(SlimcError) as caught:
        slimc.compile(GRAPH, [surgeon_pass("use-softplus", rename)()])
    assert caught.value.name == "pass-broke-values"


def test_a_script_that_fails_is_named() -> None:
    with pytest.raises(SlimcError, match="the script raised RuntimeError: no such layer") as caught:
        slimc.compile(GRAPH, [surgeon_pass("fail", fail)()])
    assert caught.value.name == "script-failed"
    assert (
        caught.value.where
        == f"pass fail, line {fail.__code__.co_firstlineno + 1} of {Path(__file__).name}"
    )
