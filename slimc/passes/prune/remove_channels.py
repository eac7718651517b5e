"""Remove channels: whole units of coupled slices, the least important first, under a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import families, step, units_beyond
from slimc.analysis.shapes import infer
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.float_weights import check_float_weights
from slimc.passes.give_back import measured_facts
from slimc.passes.prune.explanation import Explanation
from slimc.passes.prune.mask_axes import mask_axes
from slimc.passes.prune.options import kept_nodes, mask_by_name, parse_bounds, parse_width
from slimc.passes.prune.plan import Plan, check_shapes, choose_widths, costs_of, family_table
from slimc.passes.prune.rankings import chosen_score, compares_outputs, rank, rank_by_outputs
from slimc.passes.prune.repair_weights import RepairWeights
from slimc.passes.prune.report import plan_remarks, removal_tables
from slimc.passes.prune.slice_axes import kept_of_values, slice_axes
from slimc.passes.prune.slow_removals import find_slow_removals, slow_removal_remarks
from slimc.passes.prune.widths import WidthRange
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.remarks import Remark, note

_FLOAT_HELP = "give the model in floats, and put prune before quant: --passes prune,quant"


@dataclass(frozen=True)
class RemoveChannels(Pass):
    """Remove the least important channels, and all that is tied to them.

    What must leave together follows from the axis signatures of the operators. The result equals
    the original graph with those channels masked (`expected`), except where statistics run over
    removed channels, which is said.
    Source: Fang et al., CVPR 2023 (groups); scores name theirs.
    """

    name: ClassVar[str] = "remove-channels"
    promise: ClassVar[Promise] = "approximate"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.CUTS_CHANNELS, Trait.REVERTS})

    ratio: float = option(
        0.3, "share of the budget's quantity to remove: 0.3 removes 30 %", above=0, below=1
    )
    budget: Literal["macs", "parameters", "bytes", "latency", "channels"] = option(
        "macs",
        "what the ratio is of: macs, parameters, bytes of weights, predicted latency, or channels "
        "(every family by the ratio)",
    )
    choose: Literal["greedy", "exact"] = option(
        "greedy",
        "how widths are chosen: by damage per saved cost, or exactly, by an integer program",
    )
    score: str = option(
        "auto",
        "what makes a channel important: obs, activation, magnitude, magnitude-l1, "
        "geometric-median, random, or a plug-in's; auto: obs, or "
        "magnitude where there are neither samples nor floating inputs",
    )
    compare: Literal["auto", "outputs", "score"] = option(
        "auto",
        "what makes families comparable: the error of the outputs when each is cut alone, or the "
        "score; auto: outputs, with samples and floating outputs",
    )
    steps: int = option(
        1,
        "rounds in which the ratio is reached; weights are repaired, and scored anew, between",
        least=1,
    )
    align: int = option(
        0,
        "kept widths are multiples of it, and predicted latency too; 0: the target's multiple",
        least=0,
    )
    keep: tuple[str, ...] = option((), "nodes to leave as they are (names, with * and ?)")
    min_channels: int = option(1, "fewest channels that a family keeps", least=1)
    widths: tuple[str, ...] = option(
        (), "fewest and most channels that a family keeps, by the nodes that make them: conv1:8-32"
    )
    give_back: tuple[str, ...] = option(
        (), "families that stay whole after all; the others lose what they lose without it"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.choose == "exact" and self.budget == "channels":
            raise self.bad_option(
                "choose=exact chooses nothing if every family is cut by the same ratio",
                "give another budget: macs, parameters, bytes or latency",
            )
        for text in self.widths:
            parse_width(text)

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        coupling = self.coupled(graph, ctx)
        plan = self._plan(coupling, ctx)
        score = chosen_score(self.score, ctx)
        remarks = plan_remarks(plan, self.budget, self.ratio, score, len(self.give_back))
        if not plan.removed.any():
            return PassResult(graph, remarks, {"families": family_table(plan)})
        sliced = slice_axes(coupling, plan.removed, self.name)
        facts = infer(sliced.graph, ctx.ops, ctx.sizes_of(graph))
        check_shapes(plan, facts.shape)
        return PassResult(
            sliced.graph,
            remarks,
            removal_tables(plan, sliced, facts),
            mask_axes(coupling, plan.removed, self.name),
            kept_of_values(coupling, plan.removed),
        )

    def parts(self) -> tuple[Pass, ...]:
        """Return rounds that remove equal shares of the first cost, with repairs between them."""
        if self.steps < 2:
            return (self,)
        once = replace(self, steps=1)
        passes: list[Pass] = []
        for done in range(self.steps):
            share = self.ratio / self.steps
            passes += [replace(once, ratio=share / (1 - share * done)), RepairWeights()]
        return tuple(passes[:-1])

    @property
    def ignores_curves(self) -> str:
        if self.compare == "outputs":
            return "compare=outputs measures curves of its own"
        if self.budget == "channels":
            return "budget=channels cuts all families alike, whatever was measured"
        return ""

    def revert_slow(
        self, before: Graph, result: PassResult, ctx: Context, timing: Timing
    ) -> tuple[Pass, PassResult]:
        """Time the removal, and give back the families whose removal does not pay."""
        narrowed = partial(self.narrowed, before, ctx)
        decision = find_slow_removals(result.facts["families"], narrowed, ctx, timing)
        pass_ = self
        if decision.given_back:
            pass_ = replace(self, give_back=(*self.give_back, *decision.given_back))
            result = pass_.run(before, ctx)
        whole = timing.compare(before, result.graph)
        remarks = (*slow_removal_remarks(whole, decision, ctx), *result.remarks)
        facts = measured_facts(whole, decision, timing.samples)
        return pass_, replace(result, remarks=remarks, facts={**result.facts, "measured": facts})

    def narrowed(self, graph: Graph, ctx: Context, widths: Mapping[str, int]) -> Graph:
        """Return the graph with these widths of families: shapes as in the result, other units."""
        coupling = self.coupled(graph, ctx)
        return slice_axes(coupling, units_beyond(coupling, widths), self.name).graph

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say for each weighted node which channels may leave, or what pins them, and how."""
        coupling = self.coupled(graph, ctx)
        explanation = Explanation(coupling, families(coupling))
        return tuple(
            note(text, n.name) for n in explanation.weighted for text in explanation.explain(n)
        )

    def coupled(self, graph: Graph, ctx: Context) -> Coupling:
        """Tie and pin the channels of a graph; the nodes of `keep` are pinned."""
        check_float_weights(
            graph, ctx.ops, "channels cannot leave", f"pass {self.name}", _FLOAT_HELP
        )
        facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
        return couple(graph, ctx.ops, facts, kept_nodes(graph, self.keep))

    def _plan(self, coupling: Coupling, ctx: Context) -> Plan:
        """Choose how many units each family loses, and which."""
        prune_groups, align = families(coupling), self.align or ctx.align
        steps = [step(coupling, family, align) for family in prune_groups]
        limits = parse_bounds(coupling, prune_groups, steps, self.widths, self.min_channels)
        by_outputs = self.compare == "outputs"
        if self.compare == "auto" and self.budget != "channels":
            by_outputs = compares_outputs(coupling, ctx)
        rank_groups = rank_by_outputs if by_outputs else rank
        rankings = rank_groups(coupling, prune_groups, self.score, ctx)
        free = tuple(
            WidthRange(
                ranking.damage, step, ranking.width if ranking.refusal else limit.least, limit.most
            )
            for ranking, step, limit in zip(rankings, steps, limits, strict=True)
        )
        costs = costs_of(coupling, prune_groups, ctx.target.speed, align, ctx.integers)
        lost = choose_widths(free, costs, self.budget, self.ratio, self.choose)
        lost = np.where(mask_by_name(prune_groups, self.give_back, "give_back"), 0, lost)
        removed = np.zeros(len(coupling.pinned), bool)
        for family, ranking, count in zip(prune_groups, rankings, lost.tolist(), strict=True):
            removed[family.units[ranking.order[:count]]] = True
        refusals = {
            f.name: r.refusal for f, r in zip(prune_groups, rankings, strict=True) if r.refusal
        }
        return Plan(coupling, prune_groups, free, lost, removed, costs, refusals)
