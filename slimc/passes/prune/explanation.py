"""Sentences on what a weighted node may lose, or what pins it through which path."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slimc.analysis.coupling import Coupling, said
from slimc.analysis.index_space import AxisOf, LabelOf, Place
from slimc.analysis.prune_groups import Family, channel_labels, role, weighted_nodes
from slimc.ir.arrays import Ints
from slimc.ir.graph import Node
from slimc.remarks import LISTED, join_names


@dataclass(frozen=True, eq=False)
class Explanation:
    """Answers why for every weighted node of a coupling."""

    coupling: Coupling
    families: tuple[Family, ...]

    @cached_property
    def weighted(self) -> tuple[Node, ...]:
        """Return the nodes whose weights are constants or computed from such, in graph order."""
        return weighted_nodes(self.coupling)

    def explain(self, node: Node) -> tuple[str, ...]:
        """Say for each kind of channel of a weighted node what may leave, or what pins it."""
        if self.coupling.bound_of(node) is None:
            return (f"'{node.name}' {self.describe_unknown(node)}",)
        labels = channel_labels(self.coupling, node)
        return tuple(f"'{node.name}' {self.describe_channels(place)}" for place in labels)

    def describe_unknown(self, node: Node) -> str:
        """Say why nothing is known of the channels of a node."""
        why = self.coupling.facts.opaque.get(node.name, "the sizes of its axes are not known")
        return f"cannot lose channels: {why}"

    def describe_channels(self, place: LabelOf) -> str:
        """Say what of a label "can" leave, or why it "cannot"."""
        units = self.coupling.units_at(place)
        what = role(self.coupling, place)
        free = int((~self.coupling.pinned[units]).sum())
        if not free:
            return f"cannot lose {what}: {self.why_pinned(place)}"
        families = self.families_at(place)
        amount = what if free == len(units) else f"{free} of its {len(units)} {what}"
        if all(f.width == 1 for f in families):
            many = f"all {free} leave together" if free > 1 else "there is but one"
            return f"cannot lose {what}: {many}"
        members = dict.fromkeys(n for f in families for n in self.weighted_in(f))
        others = [name for name in members if name != place.node]
        tied = f" together with {join_names(others)}" if others else ""
        widths = ", ".join(f"'{f.name}' ({f.width} wide)" for f in families[:LISTED])
        soft = f"; approximate: {self.why_soft(place)}" if any(f.soft for f in families) else ""
        return f"can lose {amount}{tied}, as family {widths}{soft}"

    def weighted_in(self, family: Family) -> tuple[str, ...]:
        """Return the names of the weighted nodes whose channels a family is, in graph order."""
        return self._weighted_by_family[family.name]

    def families_at(self, place: Place) -> tuple[Family, ...]:
        """Return the families that have indices in a place."""
        units = self.coupling.units_at(place)
        indices = dict.fromkeys(self._family_of[units].tolist())
        return tuple(self.families[i] for i in indices if i >= 0)

    def why_pinned(self, place: Place) -> str:
        """Say what pins a place, and through which nodes it is reached."""
        pinned = np.flatnonzero(self.coupling.pinned[self.coupling.units_at(place)])
        start = self.coupling.space.start[place] + int(pinned[0])
        return self._path(start, self.coupling.toward_pin, self._pin_reason)

    def why_soft(self, place: Place) -> str:
        """Say what makes the removal of indices of a place approximate."""
        soft = np.flatnonzero(self.coupling.soft[self.coupling.units_at(place)])
        start = self.coupling.space.start[place] + int(soft[0])
        return self._path(start, self.coupling.toward_soft, self._soft_reason)

    def _path(self, start: int, toward: np.ndarray, reason_at: Ints) -> str:
        chain = [start]
        while toward[chain[-1]] != chain[-1]:
            chain.append(int(toward[chain[-1]]))
        places = list(dict.fromkeys(self._place_of(i) for i in chain))
        reason = self.coupling.space.reasons[reason_at[chain[-1]]]
        nodes = dict.fromkeys(p.node for p in places[1:] if isinstance(p, LabelOf))
        through = [said(self.coupling.graph.by_name[n]) for n in nodes]
        through = [t for t in through if not reason.startswith(t)]
        axes = [p for p in places if isinstance(p, AxisOf)]
        subject = f"axis {axes[0].axis} of value '{axes[0].value}'" if axes else "it"
        via = f" through {join_names(through, quoted=True)}" if through else ""
        return f"{subject} reaches {reason}{via}"

    def _place_of(self, index: int) -> Place:
        return self._places[bisect_right(self._starts, index) - 1]

    @cached_property
    def _places(self) -> list[Place]:
        return [p for p, _, extent in self.coupling.space.places() if extent]

    @cached_property
    def _starts(self) -> list[int]:
        return [start for _, start, extent in self.coupling.space.places() if extent]

    @cached_property
    def _pin_reason(self) -> Ints:
        return self.coupling.space.reason_at()

    @cached_property
    def _soft_reason(self) -> Ints:
        return self.coupling.space.reason_at(soft=True)

    @cached_property
    def _weighted_by_family(self) -> dict[str, tuple[str, ...]]:
        weighted = {node.name for node in self.weighted}
        return {f.name: tuple(n for n in f.nodes if n in weighted) for f in self.families}

    @cached_property
    def _family_of(self) -> Ints:
        indices = np.full(len(self.coupling.pinned), -1)
        for number, family in enumerate(self.families):
            indices[family.units] = number
        return indices
