"""Every golden graph, canonicalised: its values stay, and doing it again changes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from slimc.analysis.shapes import default_sizes, retype
from slimc.calib.data import Data
from slimc.execute.compare import differences
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text, to_text
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.canonical.canonicalize import CANONICAL, Canonicalize
from slimc.passes.context import Context
from slimc.targets import TARGETS
from slimc.testing.golden import load_golden

GOLDEN = Path(__file__).parents[3] / "golden"
FOLDERS = [one.name.replace("-", "_") for one in (*CANONICAL, Canonicalize)]
FILES = [path for folder in FOLDERS for path in sorted((GOLDEN / folder).glob("*.golden"))]
TOLERANCE = {"f16": 1e-2}  # weights are rounded to f16 once more


def context(graph: Graph) -> Context:
    sizes = default_sizes(graph)
    target = TARGETS["generic-onnx"]
    assert not callable(target)
    return Context(OPS, target, Data.synthesize(graph, sizes, 0, 1), sizes)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_values_stay_and_a_second_run_changes_nothing(path: Path) -> None:
    golden = load_golden(path)
    graph = retype(parse_text(golden.input), OPS)
    ctx = context(graph)
    after = Canonicalize().run(graph, ctx).graph
    verify(after)
    assert after.form is Form.CANONICAL
    again = Canonicalize().run(after, ctx)
    assert to_text(again.graph) == to_text(after)
    assert not [r for r in again.remarks if r.kind == "applied"]
    if "values" in golden.head:  # others are random, or no runtime has them
        largest = max(differences(graph, after, ctx.data).values())
        assert largest <= next(
            (t for word, t in TOLERANCE.items() if word in path.read_text()), 1e-5
        )


def test_ten_thousand_nodes_take_seconds() -> None:
    ops = ("Tanh(%v{0})", "Mul(%v{0}, %one)", "Add(%v{0}, %c)", "Identity(%v{0})")
    lines = [f"  %v{i + 1}: f32[N,4] = {ops[i % 4].format(i)} @n{i}" for i in range(10_000)]
    constants = ["  %one = constant f32[] 1", "  %c = constant f32[4] random(0)"]
    graph = parse_text("\n".join(["graph (%v0: f32[N,4]) -> (%v10000)", *constants, *lines]))
    start = time.process_time()
    after = Canonicalize().run(graph, context(graph)).graph
    assert time.process_time() - start < 60  # about 5 s
    assert len(after.nodes) == 5_000
