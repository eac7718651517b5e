"""What leaves a graph, what that saves, and a sentence for everything that stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import AxisOf, LabelOf
from slimc.analysis.latency import Speed, latency
from slimc.analysis.prune_groups import Family, channel_labels, role
from slimc.analysis.removal_cost import Cost, Tally, cost
from slimc.errors import SlimcError
from slimc.ir.arrays import Floats, Ints, Mask
from slimc.ir.types import Dim
from slimc.passes.prune.exact_widths import cut_exactly
from slimc.passes.prune.explanation import Explanation
from slimc.passes.prune.widths import WidthRange, cut_evenly, cut_to_budget
from slimc.remarks import Remark, applied, join_names, note, skipped


@dataclass(frozen=True, eq=False)
class Plan:
    """Units to remove. lost: how many per family; removed: per unit; costs: by quantity.

    ranges: per family, the widths it may have and the damage they do. refusals: by name, why
    families stay whole that cannot be narrower after all.
    """

    coupling: Coupling
    families: tuple[Family, ...]
    ranges: tuple[WidthRange, ...]
    lost: Ints
    removed: Mask
    costs: Mapping[str, Cost]
    refusals: Mapping[str, str] = field(default_factory=dict)

    def share(self, quantity: str) -> float:
        """Return the share of a quantity that leaves, 0..1."""
        before, after = self.before_and_after(quantity)
        return 1 - after / before if before else 0.0

    def before_and_after(self, quantity: str) -> tuple[float, float]:
        """Return a quantity before and after the removal."""
        cost = self.costs[quantity]
        return cost.of(np.zeros_like(self.lost)), cost.of(self.lost)

    def range_of(self, family: Family) -> WidthRange:
        """Return the widths that a family may have."""
        return self._ranges[family.name]

    @cached_property
    def _ranges(self) -> dict[str, WidthRange]:
        return dict(zip((f.name for f in self.families), self.ranges, strict=True))

    @cached_property
    def slow(self) -> tuple[str, ...]:
        """The names of the families whose narrowest width would save no latency."""
        tally = Tally(self.costs["latency"])
        return tuple(
            family.name
            for number, (family, range_) in enumerate(zip(self.families, self.ranges, strict=True))
            if range_.floor < range_.width and tally.saved(number, range_.width - range_.floor) <= 0
        )

    @cached_property
    def damage(self) -> Floats:
        """Per family, its share of the damage that the removal does: f64[families], 0..1."""
        damages = np.array(
            [r.damage[k] for r, k in zip(self.ranges, self.lost.tolist(), strict=True)]
        )
        total = float(damages.sum())
        return damages / total if total > 0 else np.zeros(len(damages))

    def is_cut(self, place: LabelOf) -> bool:
        """Tell whether a label loses indices."""
        return bool(self.removed[self.coupling.units_at(place)].any())


def check_shapes(plan: Plan, shape_of: Callable[[str], Sequence[Dim] | None]) -> None:
    """Compare the sizes that the units leave with the inferred ones of the sliced graph."""
    for place, _, extent in plan.coupling.space.places():
        if not isinstance(place, AxisOf) or place.node:
            continue
        shape = shape_of(place.value)
        expected = extent - int(plan.removed[plan.coupling.units_at(place)].sum())
        if shape is not None and shape[place.axis] != expected:
            raise SlimcError(
                "removal-inconsistent",
                f"'{place.value}' has {shape[place.axis]} indices on axis {place.axis} after "
                f"channels were removed, {expected} were expected",
                where="pass remove-channels",
                help="this is a bug of slimc: please report it with the model's text form",
            )


def collect_remarks(plan: Plan, explanation: Explanation, unchosen: str) -> tuple[Remark, ...]:
    """Say per family what it lost, and per untouched weighted node why it is untouched.

    unchosen: why a node is whole though channels of it may leave.
    """
    result: list[Remark] = []
    for family, lost in zip(plan.families, plan.lost.tolist(), strict=True):
        if lost:
            result.append(_cut_remark(explanation, family, lost))
    result += _refusal_remarks(plan, explanation)
    result += _body_remarks(plan.coupling)
    for node in explanation.weighted:
        if plan.coupling.bound_of(node) is None:
            result.append(skipped(node.name, explanation.describe_unknown(node)))
            continue
        labels = channel_labels(plan.coupling, node)
        if any(plan.is_cut(label) for label in labels):
            continue
        sentences = [explanation.describe_channels(label) for label in labels]
        pinned = [s for s in sentences if s.startswith("cannot")]
        if len(pinned) == len(sentences):
            result.append(skipped(node.name, "; ".join(pinned)))
        else:
            result.append(skipped(node.name, _whole_reason(plan, explanation, labels) or unchosen))
    return tuple(result)


def _refusal_remarks(plan: Plan, explanation: Explanation) -> Iterator[Remark]:
    """Say of refused families why they are whole, where no weighted node of theirs does."""
    for family in plan.families:
        if family.name in plan.refusals and not explanation.weighted_in(family):
            yield skipped(family.first_node, f"whole: {plan.refusals[family.name]}")


def _body_remarks(coupling: Coupling) -> list[Remark]:
    """Say of nodes with bodies how many weighted nodes these hold: they are left as they are."""
    result: list[Remark] = []
    for node in coupling.graph.nodes:
        inside = (n for body in node.bodies for n in body.walk())
        count = sum(coupling.ops.weighted(n) is not None for n in inside)
        if count:
            result.append(
                skipped(
                    node.name,
                    f"its branches hold {count} weighted nodes, which keep their channels",
                    "fix what decides the branch, then it is inlined: --bind INPUT=VALUE",
                )
            )
    return result


def _whole_reason(plan: Plan, explanation: Explanation, labels: Sequence[LabelOf]) -> str:
    """Say that the families of labels have no narrower width; nothing if one has."""
    families = [f for label in labels for f in explanation.families_at(label) if f.width > 1]
    if not families:
        return ""
    widest = families[0]
    if widest.name in plan.refusals:
        return f"whole: {plan.refusals[widest.name]}"
    range_ = plan.range_of(widest)
    if all(plan.range_of(f).floor == f.width for f in families):
        if range_.least > 1:
            return f"whole: {widest.width} units are the fewest that it keeps"
        return f"whole: {widest.width} units are the least multiple of {range_.step}"
    return ""


def _cut_remark(explanation: Explanation, family: Family, lost: int) -> Remark:
    others = [n for n in explanation.weighted_in(family) if n != family.first_node]
    tied = f", with {join_names(others)}" if others else ""
    text = f"width {family.width} -> {family.width - lost}{tied}"
    if family.soft:
        place = next(m.place for m in family.labels)
        text += f"; approximate: {explanation.why_soft(place)}"
    return applied(family.first_node, text)


def approximate_note(plan: Plan) -> Remark | None:
    """Return a note if some family that lost units does so only approximately."""
    names = [
        f.name for f, lost in zip(plan.families, plan.lost.tolist(), strict=True) if lost and f.soft
    ]
    if not names:
        return None
    return note(
        f"statistics run over removed channels of {join_names(names)}: the result is not the "
        "masked original but an approximation of it"
    )


def not_faster_note(plan: Plan) -> Remark | None:
    """Return a note on families that stay whole because the graph would be no faster."""
    if not plan.slow:
        return None
    return note(
        f"whole, since no narrower width is predicted to be faster: {join_names([*plan.slow])}"
    )


def family_table(plan: Plan) -> list[dict[str, Any]]:
    """Return one row per family: its widths, its members, how exact its removal is.

    damage: its share of what the chosen widths do to the graph, by the score.
    """
    return [
        {
            "name": family.name,
            "width": family.width,
            "kept": family.width - lost,
            "least": range_.floor,
            "multiple_of": range_.step,
            "damage": round(float(damage), 6),
            "approximate": family.soft,
            "members": [
                {
                    "node": m.place.node,
                    "role": role(plan.coupling, m.place),
                    "per_unit": m.count,
                }
                for m in family.labels
            ],
        }
        for family, lost, range_, damage in zip(
            plan.families, plan.lost.tolist(), plan.ranges, plan.damage, strict=True
        )
    ]


Budget = Literal["macs", "parameters", "bytes", "latency", "channels"]


def costs_of(
    coupling: Coupling,
    families: Sequence[Family],
    speed: Speed,
    multiple: int,
    integers: Collection[str] = (),
) -> Mapping[str, Cost]:
    """Return all that a budget may be of, as functions of the units removed per family.

    integers: kinds of nodes that latency counts as computing in integers.
    """
    return {
        "macs": cost(coupling, families, "macs"),
        "parameters": cost(coupling, families, "parameters"),
        "bytes": cost(coupling, families, "bytes"),
        "latency": latency(coupling, families, speed, multiple, integers),
    }


def choose_widths(
    ranges: Sequence[WidthRange],
    costs: Mapping[str, Cost],
    budget: Budget,
    ratio: float,
    how: Literal["greedy", "exact"] = "greedy",
) -> Ints:
    """Return the units each family loses: i64[families]."""
    if budget == "channels":
        return cut_evenly(ranges, ratio, costs["latency"])
    cut = cut_exactly if how == "exact" else cut_to_budget
    return cut(ranges, costs[budget], ratio, costs["latency"])
