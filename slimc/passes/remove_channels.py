"""Remove channels: whole units of coupled slices, the least important first, under a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import numpy as np

from slimc.analysis.channels import Coupling, couple
from slimc.analysis.cost import macs, parameters
from slimc.analysis.families import families, step
from slimc.analysis.pins import Explanation
from slimc.analysis.removal_cost import Tally, cost
from slimc.analysis.removal_plan import Plan, approximate, check_shapes, family_table, remarks
from slimc.analysis.shapes import default_sizes, infer
from slimc.analysis.widths import Range, cut_evenly, cut_to_budget
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.family_names import named, units_beyond
from slimc.passes.rankings import WEIGHT_SCORES, chosen_score, rank
from slimc.remarks import Remark, note
from slimc.rewrite.kept import ranges
from slimc.rewrite.mask_axes import mask_axes
from slimc.rewrite.slice_axes import Kept, kept_of_values, slice_axes


@dataclass(frozen=True)
class RemoveChannels(Pass):
    """Remove the least important channels, all that is tied to them, and refit what stays.

    What must leave together follows from the axis signatures of the operators. The result equals
    the original graph with those channels masked (`expected`), except where statistics run over
    removed channels, which is said.
    Source: Li et al., ICLR 2017 (score); Fang et al., CVPR 2023 (groups).
    """

    name: ClassVar[str] = "remove-channels"
    promise: ClassVar[Promise] = "approximate"

    ratio: float = option(0.3, "share of the budget's quantity to remove, between 0 and 1")
    budget: Literal["macs", "parameters", "channels"] = option(
        "macs", "what the ratio is of: macs, parameters, or channels (every family by the ratio)"
    )
    score: str = option(
        "auto",
        "what makes a channel important: magnitude, magnitude-l1, geometric-median, random, "
        "or a plug-in's; auto: magnitude",
    )
    align: int = option(0, "kept widths are multiples of it; 0: the multiple the target likes")
    keep: tuple[str, ...] = option((), "nodes to leave as they are (names, with * and ?)")
    min_channels: int = option(1, "fewest channels that a family keeps")
    give_back: tuple[str, ...] = option(
        (), "families that stay whole after all; the others lose what they lose without it"
    )

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        _check_options(self, graph)
        sizes = {**default_sizes(graph), **ctx.sizes}
        coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, sizes), _kept(self, graph))
        plan = self._plan(coupling, self.align or ctx.align, ctx)
        said = _remarks(self, plan, chosen_score(self.score, ctx))
        tables: dict[str, Any] = {"families": family_table(plan)}
        if not plan.removed.any():
            return PassResult(graph, said, tables)
        sliced = slice_axes(coupling, plan.removed, self.name)
        facts = infer(sliced.graph, ctx.ops, sizes)
        check_shapes(plan, facts.shape)
        tables["macs"] = [
            sum(macs(graph, ctx.ops, coupling.facts).values()),
            sum(macs(sliced.graph, ctx.ops, facts).values()),
        ]
        tables["parameters"] = [parameters(graph), parameters(sliced.graph)]
        tables["kept"] = {name: _compact(kept) for name, kept in sliced.kept.items()}
        tables["copies"] = {new: old for new, old in sliced.origin.items() if new != old}
        expected = mask_axes(coupling, plan.removed, self.name)
        kept = kept_of_values(coupling, plan.removed)
        return PassResult(sliced.graph, said, tables, expected, kept)

    def narrowed(self, graph: Graph, ctx: Context, widths: Mapping[str, int]) -> Graph:
        """Return the graph with these widths of families: shapes as in the result, other units."""
        sizes = {**default_sizes(graph), **ctx.sizes}
        coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, sizes), _kept(self, graph))
        return slice_axes(coupling, units_beyond(coupling, widths), self.name).graph

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say for each weighted node which channels may leave, or what pins them, and how."""
        sizes = {**default_sizes(graph), **ctx.sizes}
        coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, sizes), _kept(self, graph))
        said = Explanation(coupling, families(coupling))
        return tuple(note(text, n.name) for n in said.weighted for text in said.explain(n))

    def _plan(self, coupling: Coupling, align: int, ctx: Context) -> Plan:
        """Choose how many units each family loses, and which."""
        found = tuple(f for f in families(coupling))
        costs = {q: cost(coupling, found, q) for q in ("macs", "parameters")}
        steps = [step(coupling, family, align) for family in found]
        rankings = rank(coupling, found, self.score, ctx)
        ranges = [
            Range(r.damage, n, self.min_channels, r.width)
            for r, n in zip(rankings, steps, strict=True)
        ]
        if self.budget == "channels":
            tallies = [Tally(c) for c in costs.values()]
            saves = [any(t.saved(i, 1) for t in tallies) for i in range(len(found))]
            lost = np.where(saves, cut_evenly(ranges, self.ratio), 0)
        else:
            lost = cut_to_budget(ranges, costs[self.budget], self.ratio)
        lost = np.where(named(found, self.give_back, "give_back"), 0, lost)
        removed = np.zeros(len(coupling.pinned), bool)
        for family, ranking, count in zip(found, rankings, lost.tolist(), strict=True):
            removed[family.units[ranking.order[:count]]] = True
        return Plan(coupling, found, tuple(steps), lost, removed, costs)


def _check_options(options: RemoveChannels, graph: Graph) -> None:
    if not 0 < options.ratio < 1:
        raise SlimcError(
            "bad-option-value",
            f"ratio is {options.ratio}, it must lie between 0 and 1",
            where="pass remove-channels",
            help="ratio=0.3 removes 30 % of the budget's quantity",
        )
    for key, least in (("align", 0), ("min_channels", 1)):
        if getattr(options, key) < least:
            raise SlimcError(
                "bad-option-value",
                f"{key} is {getattr(options, key)}, it must be at least {least}",
                where="pass remove-channels",
            )
    if graph.records:
        raise SlimcError(
            "already-quantized",
            "channels cannot leave a graph whose scales are already chosen",
            where="pass remove-channels",
            help="put prune before quant: --passes prune,quant",
        )


def _kept(options: RemoveChannels, graph: Graph) -> frozenset[str]:
    """Return the names of the nodes that `keep` matches; a pattern without a match is an error."""
    names = [node.name for node in graph.nodes]
    found: set[str] = set()
    for pattern in options.keep:
        matches = [n for n in names if fnmatchcase(n, pattern)]
        if not matches:
            near = get_close_matches(pattern, names, 1)
            raise SlimcError(
                "unknown-node",
                f"no node is named '{pattern}'",
                where="option keep of pass remove-channels",
                help=f"did you mean '{near[0]}'?"
                if near
                else "slimc show lists the names of nodes",
            )
        found.update(matches)
    return frozenset(found)


def _remarks(options: RemoveChannels, plan: Plan, score: str) -> tuple[Remark, ...]:
    explanation = Explanation(plan.coupling, plan.families)
    unchosen = f"whole: the {options.budget} budget chose others"
    unchosen += ", or its family is given back" if options.give_back else ""
    made = list(remarks(plan, explanation, unchosen))
    notes = [approximate(plan), _shortfall(options, plan), _folded(score, plan)]
    return (*(n for n in notes if n is not None), *made)


def _shortfall(options: RemoveChannels, plan: Plan) -> Remark | None:
    """Say how far a budget of MACs or parameters was reached, if not wholly."""
    if not any(family.width > 1 for family in plan.families):
        return note("no channel may leave; the reasons follow")
    if options.budget == "channels":
        return None
    share = plan.share(options.budget)
    if share >= options.ratio:
        return None
    why = "every family that may lose channels is at its least width"
    if options.give_back:
        why = f"families given back: {len(options.give_back)}"
    return note(
        f"{share:.1%} of the {options.budget} could be removed, {options.ratio:.1%} were asked: "
        f"{why}"
    )


def _folded(score: str, plan: Plan) -> Remark | None:
    """Say that norms of weights mislead where a normalisation was folded into them."""
    folded = [
        node.name
        for node in plan.coupling.graph.nodes
        if node.origin is not None and node.origin.made_by == "fold-batch-norm"
    ]
    if score not in WEIGHT_SCORES or not folded:
        return None
    return note(
        f"BatchNormalization is folded into {len(folded)} nodes: the size of their weights says "
        "little of the importance of their channels"
    )


def _compact(kept: Kept) -> dict[str, str]:
    """Return the kept indices per axis as ranges: {"0": "0-3,5"}."""
    return {str(axis): ranges(k) for axis, k in enumerate(kept) if k is not None}
