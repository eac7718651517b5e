"""What remove-channels says of a plan: of every family and node, of the budget, in numbers."""

from __future__ import annotations

from typing import Any

from slimc.analysis.cost import macs, parameters, size_bytes
from slimc.analysis.shapes import Facts
from slimc.passes.prune.explanation import Explanation
from slimc.passes.prune.plan import (
    Plan,
    approximate_note,
    collect_remarks,
    family_table,
    not_faster_note,
)
from slimc.passes.prune.rankings import WEIGHT_SCORES
from slimc.passes.prune.slice_axes import Sliced
from slimc.remarks import Remark, note
from slimc.rewrite.kept import Kept, ranges


def plan_remarks(
    plan: Plan, budget: str, ratio: float, score: str, given_back: int
) -> tuple[Remark, ...]:
    """Say what leaves and why the rest stays. given_back: how many families stay after all."""
    unchosen = f"whole: the {budget} budget chose others"
    if budget == "channels":  # every family is asked, for itself
        unchosen = f"whole: {ratio:.0%} of its channels are no whole step, or save no time"
    unchosen += ", or its family is given back" if given_back else ""
    group_remarks = collect_remarks(plan, Explanation(plan.coupling, plan.families), unchosen)
    notes = [
        approximate_note(plan),
        _shortfall_note(plan, budget, ratio, given_back),
        not_faster_note(plan),
        _folded_note(plan, score),
    ]
    return (*(n for n in notes if n is not None), *group_remarks)


def removal_tables(plan: Plan, sliced: Sliced, facts: Facts) -> dict[str, Any]:
    """Return families, [before, after] of every quantity, and the kept indices of each constant.

    facts: of the sliced graph.
    """
    coupling, ops = plan.coupling, plan.coupling.ops
    graph = coupling.opened.whole
    return {
        "families": family_table(plan),
        "macs": [
            sum(macs(graph, ops, coupling.facts).values()),
            sum(macs(sliced.graph, ops, facts).values()),
        ],
        "parameters": [parameters(graph), parameters(sliced.graph)],
        "bytes": [size_bytes(graph), size_bytes(sliced.graph)],
        "latency": list(plan.before_and_after("latency")),
        "kept": {name: _kept_ranges(kept) for name, kept in sliced.kept.items()},
        "copies": {new: old for new, old in sliced.origin.items() if new != old},
    }


def _kept_ranges(kept: Kept) -> dict[str, str]:
    """Return the kept indices per axis as ranges: {"0": "0-3,5"}."""
    return {str(axis): ranges(k) for axis, k in enumerate(kept) if k is not None}


def _shortfall_note(plan: Plan, budget: str, ratio: float, given_back: int) -> Remark | None:
    """Say how far a budget was reached, if not wholly."""
    if not any(family.width > 1 for family in plan.families):
        return note("no channel may leave; the reasons follow")
    if budget == "channels":
        return None
    share = plan.share(budget)
    if share >= ratio:
        return None
    why = "every family that may lose channels is at its least useful width"
    if given_back:
        why = f"families given back: {given_back}"
    return note(f"{share:.1%} of the {budget} could be removed, {ratio:.1%} were asked: {why}")


def _folded_note(plan: Plan, score: str) -> Remark | None:
    """Say that sizes of weights mislead where a normalisation was folded into them."""
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
