from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.cost import macs, parameters, size_bytes
from slimc.analysis.coupling import couple
from slimc.analysis.importance import by_importance
from slimc.analysis.latency import Speed
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.plan import Budget, Plan, choose_widths, costs_of, family_table
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.prune.widths import WidthRange
from slimc.targets.target import Target

GRAPH = parse_text("""
graph (%x: f32[1,3,32,32]) -> (%y)
  %wa = constant f32[32,3,3,3] random(0)
  %wb = constant f32[48,32,3,3] random(1)
  %wc = constant f32[64,48,3,3] random(2)
  %wd = constant f32[5,64,1,1] random(3)
  %a = Conv(%x, %wa) @a
  %r = Relu(%a) @r
  %b = Conv(%r, %wb) {strides=[2, 2]} @b
  %c = Conv(%b, %wc) @c
  %p = GlobalAveragePool(%c) @p
  %y = Conv(%p, %wd) @d
""")
SPEED = Speed(macs=1e10, bytes=1e9, node_seconds=1e-6)
BUDGETS: list[Budget] = ["macs", "parameters", "bytes", "latency"]


def context(speed: Speed = SPEED) -> Context:
    target = Target("here", "none", "a target of the tests", align_float=8, speed=speed)
    return Context(OPS, target, Data.synthesize(GRAPH, {}))


@pytest.mark.parametrize("choose", ["greedy", "exact"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_every_budget_is_met_and_reported(budget: Budget, choose: str) -> None:
    one = RemoveChannels(ratio=0.3, budget=budget, choose=choose, score="magnitude")  # type: ignore[arg-type]  # parametrized
    result = one.run(GRAPH, context())
    before, after = result.facts[budget]
    assert 0.5 * before < after <= 0.7 * before
    facts = infer(result.graph, OPS)
    assert result.facts["macs"][1] == sum(macs(result.graph, OPS, facts).values())
    assert result.facts["parameters"][1] == parameters(result.graph)
    assert result.facts["bytes"][1] == size_bytes(result.graph)


@pytest.mark.parametrize("budget", [*BUDGETS, "channels"])
def test_nothing_is_cut_that_saves_no_latency(budget: Budget) -> None:
    coupling = couple(GRAPH, OPS, infer(GRAPH, OPS))
    found = families(coupling)
    ranges = [WidthRange(by_importance(np.ones(f.width), 1).damage, 8) for f in found]
    costs = dict(costs_of(coupling, found, SPEED, 8))
    (unread,) = [i for i, f in enumerate(found) if f.name == "b"]
    usage = costs["latency"].usage.tolil()
    usage[:, unread] = 0  # as if no kernel were faster without channels of b
    cost = costs["latency"]
    blind = type(cost)(cost.base, usage.tocsc(), cost.terms, cost.weight, cost.multiple)
    lost = choose_widths(ranges, {**costs, "latency": blind}, budget, 0.4)
    assert lost[unread] == 0
    assert lost.any()


def test_a_family_that_gains_nothing_is_whole_and_that_is_said() -> None:
    # Memory is free here, so what only moves values gains nothing.
    graph = parse_text("""
graph (%x: f32[2,1]) -> (%y)
  %w = constant f32[1,16] random(0)
  %a = Mul(%x, %w) @a
  %y = ReduceSum(%a) {keepdims=0, noop_with_empty_axes=0} @y
""")
    free = context(Speed(macs=1e10, bytes=float("inf"), node_seconds=1e-6))
    result = RemoveChannels(budget="parameters").run(graph, free)
    assert result.graph is graph
    text = "note: whole, since no narrower width is predicted to be faster: 'a'"
    assert text in [str(remark) for remark in result.remarks]


def test_the_table_says_how_the_damage_is_shared() -> None:
    result = RemoveChannels(ratio=0.4, score="magnitude").run(GRAPH, context())
    rows = result.facts["families"]
    assert sum(row["damage"] for row in rows) == pytest.approx(1, abs=1e-5)
    for row in rows:
        assert (row["damage"] > 0) == (row["kept"] < row["width"])
        assert row["least"] <= row["kept"]


def test_a_family_at_its_least_width_is_said_to_be() -> None:
    result = RemoveChannels(ratio=0.4, widths=("b:48-",), score="magnitude").run(GRAPH, context())
    row = next(row for row in result.facts["families"] if row["name"] == "b")
    assert row["kept"] == row["least"] == 48
    every = RemoveChannels(ratio=0.4, min_channels=64, score="magnitude").run(GRAPH, context())
    said = [str(remark) for remark in every.remarks]
    assert "skipped @a: whole: 32 units are the fewest that it keeps" in said


def test_shares_are_of_what_was_there() -> None:
    coupling = couple(GRAPH, OPS, infer(GRAPH, OPS))
    found = families(coupling)
    ranges = tuple(WidthRange(by_importance(np.ones(f.width), 1).damage) for f in found)
    costs = costs_of(coupling, found, SPEED, 1)
    nothing = np.zeros(len(found), np.int64)
    plan = Plan(coupling, found, ranges, nothing, np.zeros(len(coupling.pinned), bool), costs)
    assert all(plan.share(quantity) == 0 for quantity in BUDGETS)
    assert [row["damage"] for row in family_table(plan)] == [0.0] * len(found)
