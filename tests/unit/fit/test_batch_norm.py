from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer, retype
from slimc.calib.data import Data
from slimc.execute.ort import run
from slimc.fit import repair as module
from slimc.fit.batch_norm import StatisticsFit
from slimc.fit.repair import RepairResult
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.slice_axes import kept_of_values, slice_axes

TEXT = """
graph (%x: f32[N,3,4,4]) -> (%y)
  %wa = constant f32[8,3,1,1] random(0)
  %ba = constant f32[8] fill(2.0)
  %wb = constant f32[6,8,1,1] random(1)
  %s = constant f32[6] fill(1.0)
  %o = constant f32[6] fill(0.0)
  %m = constant f32[6] fill(0.5)
  %v = constant f32[6] fill(1.5)
  %a = Conv(%x, %wa, %ba) @a
  %r = Relu(%a) @ra
  %b = Conv(%r, %wb) @b
  %q = Relu(%b) @rb
  %y = BatchNormalization(%q, %s, %o, %m, %v) @norm
"""


def drawn(seed: int, count: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 4, 4)).astype(np.float32)


def repaired(text: str = TEXT, count: int = 100) -> tuple[Graph, Graph, RepairResult]:
    graph = retype(parse_text(text), OPS)
    coupling = couple(graph, OPS, infer(graph, OPS, default_sizes(graph)))
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[: family.width // 2]] = True
    student = slice_axes(coupling, removed, "test").graph
    data = Data.from_feeds([{"x": x} for x in np.array_split(drawn(0, count), 4)], graph)
    kept, sizes = kept_of_values(coupling, removed), default_sizes(graph)
    return graph, student, module.repair_layers(graph, student, kept, OPS, data, sizes)


def error(one: Graph, other: Graph) -> float:
    feed = {"x": drawn(1)}
    return float(np.square(run(one, feed)["y"] - run(other, feed)["y"]).mean())


def test_statistics_follow_what_no_weights_could(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDEST", 0)
    teacher, student, found = repaired()
    (row,) = found.table
    assert (row["node"], row["ridge"]) == ("norm", None)
    assert row["error_after"] < row["error_before"]
    assert any(r.node == "norm" and "re-estimated" in r.message for r in found.remarks)
    assert error(teacher, found.graph) < 0.7 * error(teacher, student)
    feed = {"x": drawn(0)}
    q, old = (run(g, feed, ["q"])["q"].mean(axis=(0, 2, 3)) for g in (student, teacher))
    moved = found.graph.constants["m"].array - student.constants["m"].array
    np.testing.assert_allclose(moved, q - old, atol=0.3)  # of four samples of five
    assert found.graph.constants["s"] is student.constants["s"]


def test_statistics_stay_where_weights_are_repaired() -> None:
    teacher, student, found = repaired()
    assert [row["node"] for row in found.table] == ["b", "norm"]
    assert all(row["error_after"] <= row["error_before"] for row in found.table)
    assert error(teacher, found.graph) < error(teacher, student)


def test_statistics_that_others_read_are_named() -> None:
    text = TEXT.replace("%y = Batch", "%p = Batch") + "  %y = Add(%p, %e) @more\n"
    text = text.replace(
        "%m = constant f32[6]", "%k = constant i64[2] [1, 2]\n  %m = constant f32[6]"
    )
    text = text.replace("%y = Add", "%e = Unsqueeze(%m, %k) @spread\n  %y = Add")
    _, _, found = repaired(text)
    assert ("norm", "not repaired: other nodes share its statistics") in [
        (r.node, r.message) for r in found.remarks
    ]


def test_too_few_samples_are_told() -> None:
    _, student, found = repaired(count=4)
    assert ("norm", "not repaired: too few samples to validate on") in [
        (r.node, r.message) for r in found.remarks
    ]
    assert found.graph.constants["m"] is student.constants["m"]


def test_a_choice_whose_error_is_no_number_is_not_taken() -> None:
    changed = {"mean": np.ones(2)}
    assert StatisticsFit.best([{}, changed], [2.0, float("nan")], 4.0) == StatisticsFit(
        {}, 0.5, 0.5
    )
    assert StatisticsFit.best([{}, changed], [float("nan")] * 2, 4.0).constants == {}
