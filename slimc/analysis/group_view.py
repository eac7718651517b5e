"""A family as a score sees it: the weights that make its units, and those that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.importance import Ranking
from slimc.analysis.index_space import Place
from slimc.analysis.prune_groups import Family, indices_of
from slimc.analysis.removal_cost import constant_uses
from slimc.ir.graph import Node
from slimc.ops.axes import labels_of


@dataclass(frozen=True)
class WeightAxis:
    """An axis of a constant weight that has a family's channels.

    summed: the node sums over the axis, so the weight reads the channels; else it makes them.
    """

    node: Node
    operand: int
    axis: int
    summed: bool


@dataclass(frozen=True, eq=False)
class FamilyView:
    """All that a score may look at: a family, its weights and the coupling of the whole graph.

    axes: where the weights are. seed: of this family, for scores that draw numbers.
    """

    family: Family
    coupling: Coupling
    axes: tuple[WeightAxis, ...]
    seed: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """The family's name, which is that of its first weighted node."""
        return self.family.name

    @property
    def width(self) -> int:
        """The number of units."""
        return self.family.width

    @property
    def made(self) -> tuple[np.ndarray, ...]:
        """Per weight that makes the units, its slices: [width, elements per unit]."""
        return tuple(self._slices(at) for at in self.axes if not at.summed)

    @property
    def read(self) -> tuple[np.ndarray, ...]:
        """Per weight that reads the units, its slices: [width, elements per unit]."""
        return tuple(self._slices(at) for at in self.axes if at.summed)

    def _slices(self, at: WeightAxis) -> np.ndarray:
        place = self.coupling.axis(at.node, at.operand, at.axis)
        order = indices_of(self.coupling, self.family, place).reshape(-1)
        array = self.coupling.graph.constants[at.node.inputs[at.operand]].array
        return np.take(np.moveaxis(array, at.axis, 0), order, axis=0).reshape(self.width, -1)


def views(coupling: Coupling, families: Sequence[Family], seed: int) -> Iterator[FamilyView]:
    """Yield the view of each family, in order."""
    found: list[list[WeightAxis]] = [[] for _ in families]
    at = _families_at(families)
    for node, operand, value in constant_uses(coupling):
        if not _is_weight(coupling, node, operand):
            continue
        for axis in range(len(coupling.graph.constants[value].shape)):
            for number in at.get(coupling.axis(node, operand, axis), ()):
                summed = _is_summed(coupling, node, operand, axis)
                found[number].append(WeightAxis(node, operand, axis, summed))
    for number, (family, axes) in enumerate(zip(families, found, strict=True)):
        yield FamilyView(family, coupling, tuple(axes), (seed, number))


def _families_at(families: Sequence[Family]) -> dict[Place, list[int]]:
    found: dict[Place, list[int]] = {}
    for number, family in enumerate(families):
        for member in family.members:
            found.setdefault(member.place, []).append(number)
    return found


def _is_weight(coupling: Coupling, node: Node, operand: int) -> bool:
    """Tell whether a constant operand is multiplied with in a contraction (a bias is not)."""
    row = coupling.ops.get(node.kind)
    if row is None or coupling.bound_of(node) is None:
        return False
    if row.weighted is not None:
        return operand == row.weighted.weight
    return any(operand in group for group in row.macs)


def _is_summed(coupling: Coupling, node: Node, operand: int, axis: int) -> bool:
    """Tell whether a contraction sums over an axis of its weight: it reads those channels."""
    bound = coupling.facts.bounds[node.name]
    axes = bound.inputs[operand] or ()
    return any(name not in labels_of(*bound.outputs) for name in labels_of((axes[axis],)))


Score = Callable[[FamilyView], "np.ndarray | Ranking"]
