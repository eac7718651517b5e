from __future__ import annotations

import numpy as np
import pytest

from slimc import compile
from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.repair_weights import RepairWeights
from slimc.targets.target import Target

GRAPH = parse_text("""
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %wb = constant f32[32,16] random(1)
  %wc = constant f32[16,3] random(2)
  %a = Gemm(%x, %wa) @a
  %r = Relu(%a) @ra
  %b = Gemm(%r, %wb) @b
  %q = Relu(%b) @rb
  %y = Gemm(%q, %wc) @c
""")
CUT = "remove-channels{ratio=0.5,budget=channels,score=magnitude}"
FEEDS = [
    {"x": np.random.default_rng(i).standard_normal((8, 6)).astype(np.float32)} for i in range(17)
]


def context() -> Context:
    target = Target("somewhere", "onnxruntime", "a target of the tests")
    return Context(OPS, target, Data.from_feeds(FEEDS, GRAPH), {"N": 8})


def error(passes: str, data: list[dict[str, np.ndarray]] | None = FEEDS[:16]) -> float:
    made = compile(GRAPH, passes, data=data).graph
    feed = FEEDS[16]
    return float(np.square(run(made, feed)["y"] - run(GRAPH, feed)["y"]).sum())


def test_outputs_are_nearer() -> None:
    assert error(f"{CUT},repair-weights") < 0.7 * error(CUT)


def test_rounds_are_repaired_between() -> None:
    steps = CUT.replace("}", ",steps=2}")
    assert error(f"{steps},repair-weights") < 0.7 * error(CUT)


def test_without_samples_it_is_said() -> None:
    report = compile(GRAPH, f"{CUT},repair-weights").report
    said = [r.message for one in report.passes for r in one.remarks]
    assert "there are no samples: weights are repaired on random fields" in said


def test_the_report_has_a_row_per_layer() -> None:
    report = compile(GRAPH, f"{CUT},repair-weights", data=FEEDS[:16]).report
    (facts,) = [one.facts for one in report.passes if one.text.startswith("repair-weights")]
    assert [row["node"] for row in facts["layers"]] == ["b", "c"]
    assert all(row["error_after"] <= row["error_before"] for row in facts["layers"])


def test_nothing_is_done_where_nothing_left() -> None:
    result = RepairWeights().run(GRAPH, context())
    assert result.graph is GRAPH
    assert [r.message for r in result.remarks] == [
        "no channels have left, so there is nothing to repair"
    ]


def test_samples_must_be_some() -> None:
    with pytest.raises(SlimcError, match="samples is 0"):
        RepairWeights(samples=0).run(GRAPH, context())
