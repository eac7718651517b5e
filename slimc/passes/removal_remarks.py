"""What remove-channels says of a plan: of every family and node, and of the budget."""

from __future__ import annotations

from slimc.analysis.pins import Explanation
from slimc.analysis.removal_plan import Plan, approximate, not_faster, remarks
from slimc.passes.rankings import WEIGHT_SCORES
from slimc.remarks import Remark, note


def plan_remarks(
    plan: Plan, budget: str, ratio: float, score: str, given_back: int
) -> tuple[Remark, ...]:
    """Say what leaves and why the rest stays. given_back: how many families stay after all."""
    unchosen = f"whole: the {budget} budget chose others"
    unchosen += ", or its family is given back" if given_back else ""
    made = remarks(plan, Explanation(plan.coupling, plan.families), unchosen)
    notes = [
        approximate(plan),
        _shortfall(plan, budget, ratio, given_back),
        not_faster(plan),
        _folded(plan, score),
    ]
    return (*(n for n in notes if n is not None), *made)


def _shortfall(plan: Plan, budget: str, ratio: float, given_back: int) -> Remark | None:
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


def _folded(plan: Plan, score: str) -> Remark | None:
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
