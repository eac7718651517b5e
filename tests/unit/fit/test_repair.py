from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer, retype
from slimc.calib.data import Data
from slimc.fit import repair as module
from slimc.fit.repair import RepairResult
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.slice_axes import kept_of_values, slice_axes

TEXT = """
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,16] random(0)
  %ba = constant f32[16] random(1)
  %wb = constant f32[16,8] random(2)
  %wc = constant f32[8,3] random(3)
  %a = Gemm(%x, %wa, %ba) @a
  %r = Relu(%a) @ra
  %b = Gemm(%r, %wb) @b
  %q = Relu(%b) @rb
  %y = Gemm(%q, %wc) @c
"""


def samples(count: int, each: int = 8, columns: int = 6) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {"x": rng.standard_normal((each, columns)).astype(np.float32)} for _ in range(count // each)
    ]


def repaired(
    text: str = TEXT, feeds: Sequence[dict[str, np.ndarray]] | None = None, dead: str = ""
) -> tuple[Graph, RepairResult]:
    """Cut half of every family, and repair; dead: a value that is zero there."""
    graph = retype(parse_text(text), OPS)
    coupling = couple(graph, OPS, infer(graph, OPS, default_sizes(graph)))
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[: family.width // 2]] = True
    student = slice_axes(coupling, removed, "test").graph
    given = list(samples(128) if feeds is None else feeds)
    data = Data.from_feeds(given or (lambda: []), graph)
    kept, sizes = kept_of_values(coupling, removed), default_sizes(graph)
    return student, module.repair_layers(graph, student, kept, OPS, data, sizes)


def said(found: RepairResult) -> dict[str, str]:
    return {remark.node: remark.message for remark in found.remarks}


def test_every_layer_behind_a_cut_is_told_of() -> None:
    student, found = repaired()
    assert [row["node"] for row in found.table] == ["b", "c"]
    assert all(row["error_after"] < row["error_before"] for row in found.table)
    assert said(found)["b"].startswith("refitted with ridge")
    assert found.graph.constants["wa"] is student.constants["wa"], "nothing changed before it"


def test_layers_with_too_many_columns_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDEST", 7)
    student, found = repaired()
    assert [row["node"] for row in found.table] == ["c"]
    assert said(found)["b"] == "not repaired: 8 columns, 7 at most"
    assert found.graph.constants["wb"] is student.constants["wb"]


def test_few_samples_are_told() -> None:
    _, found = repaired(feeds=samples(16))
    assert said(found)[""] == "16 samples are few: the fit may overfit them"


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_results_leave_layers_as_they_are(count: int) -> None:
    student, found = repaired(feeds=samples(count, each=1))
    assert not found.table
    assert said(found)["b"] == "not repaired: too few results to fit and validate on"
    assert found.graph.constants["wb"] is student.constants["wb"]


def test_no_feeds_leave_the_graph_as_it_is() -> None:
    student, found = repaired(feeds=[])
    assert found.graph is student


def test_numbers_that_are_not_finite_are_left_out() -> None:
    feeds = samples(128)
    for feed in feeds[::3]:
        feed["x"][0, 0] = np.nan
        feed["x"][1, 2] = np.inf
    _, found = repaired(feeds=feeds)
    assert all(row["error_after"] < row["error_before"] for row in found.table)
    assert all(np.isfinite(c.array).all() for c in found.graph.constants.values())


def test_only_numbers_that_are_not_finite_leave_layers_as_they_are() -> None:
    feeds = samples(64)
    for feed in feeds:
        feed["x"][:] = np.nan
    student, found = repaired(feeds=feeds)
    assert not found.table
    assert found.graph.constants["wb"] is student.constants["wb"]


def test_channels_that_are_always_zero_are_harmless() -> None:
    text = TEXT.replace("%wa = constant f32[6,16] random(0)", "%wa = constant f32[6,16] fill(0)")
    text = text.replace("%ba = constant f32[16] random(1)", "%ba = constant f32[16] fill(-1)")
    _, found = repaired(text)
    assert all(np.isfinite(c.array).all() for c in found.graph.constants.values())


def test_a_product_with_a_factor_is_not_repaired() -> None:
    _, found = repaired(TEXT.replace("%b = Gemm(%r, %wb) @b", "%b = Gemm(%r, %wb) {alpha=0.5} @b"))
    assert said(found)["b"] == "not repaired: it computes more than a product with its weights"
    assert [row["node"] for row in found.table] == ["c"]


def test_a_bias_that_is_computed_is_not_repaired() -> None:
    text = TEXT.replace("%b = Gemm(%r, %wb) @b", "%k = constant f32[6,8] random(9)\n"
                        "  %e = Gemm(%x, %k) @e\n  %b = Gemm(%r, %wb, %e) @b")  # fmt: skip
    _, found = repaired(text)
    assert said(found)["b"] == "not repaired: it computes more than a product with its weights"


@pytest.mark.parametrize("kind", ["f16", "f64"])
def test_other_floats_stay_what_they_are(kind: str) -> None:
    feeds = [
        {"x": f["x"].astype(np.float16 if kind == "f16" else np.float64)} for f in samples(128)
    ]
    student, found = repaired(TEXT.replace("f32", kind), feeds)
    assert all(row["error_after"] < row["error_before"] for row in found.table)
    assert len(found.table) == 2
    for name, constant in student.constants.items():
        assert found.graph.constants[name].array.dtype == constant.array.dtype


def test_squares_that_overflow_leave_layers_as_they_are() -> None:
    wide = TEXT.replace("16", "256")
    huge = [{"x": feed["x"] * np.float32(1e24)} for feed in samples(128)]
    student, found = repaired(wide, huge)
    assert said(found)["b"] == "not repaired: squares of its inputs overflow"
    assert found.graph.constants["wb"] is student.constants["wb"]
