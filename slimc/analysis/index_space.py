"""Numbers for the indices of axes and labels, what ties them, what pins them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

from slimc.ir.arrays import Ints, Mask


@dataclass(frozen=True, order=True)
class AxisOf:
    """An axis of a value; of a constant, the axis of one use of it (`node` reads it there).

    Two nodes that read one constant may want different slices of it, so each use has its own axes.
    """

    value: str
    axis: int
    node: str = ""
    operand: int = -1


@dataclass(frozen=True, order=True)
class LabelOf:
    """A label of the signature of one node."""

    node: str
    label: str


Place = AxisOf | LabelOf


class IndexSpace:
    """A number for every index of every place; ties between them and reasons that pin them.

    Filled by `channels.couple`, read-only afterwards. The components of the ties are the units.
    """

    def __init__(self) -> None:
        self.start: dict[Place, int] = {}
        self.extent: dict[Place, int] = {}
        self.count = 0
        self.reasons: list[str] = []
        self._ties: list[np.ndarray] = []
        self._pins: list[tuple[np.ndarray, int]] = []
        self._soft: list[tuple[np.ndarray, int]] = []

    def add(self, place: Place, extent: int) -> None:
        """Give numbers to the indices of a place; a place that has some keeps them."""
        if place not in self.start:
            self.start[place], self.extent[place] = self.count, extent
            self.count += extent

    def of(self, place: Place) -> Ints:
        """Return the numbers of the indices of a place."""
        start = self.start[place]
        return np.arange(start, start + self.extent[place])

    def tie(self, a: Ints, b: Ints) -> None:
        """Let a[k] and b[k] leave together."""
        self._ties.append(np.stack([a, b]))

    def pin(self, indices: Ints, reason: str) -> None:
        """Let no index of these leave."""
        self.reasons.append(reason)
        self._pins.append((indices, len(self.reasons) - 1))

    def soften(self, indices: Ints, reason: str) -> None:
        """Mark indices whose removal is approximate."""
        self.reasons.append(reason)
        self._soft.append((indices, len(self.reasons) - 1))

    def solve(self) -> Ints:
        """Return the unit of every index: the components of the ties, numbered by first index."""
        from scipy.sparse.csgraph import connected_components

        _, unit = connected_components(_matrix(self._ties, self.count), directed=False)
        _, first = np.unique(unit, return_index=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first, kind="stable")] = np.arange(len(first))
        return rank[unit]

    def pinned_units(self, unit: Ints) -> Mask:
        """Return, per unit, whether it is pinned."""
        return self._marked(unit, self._pins)

    def soft_units(self, unit: Ints) -> Mask:
        """Return, per unit, whether its removal is approximate."""
        return self._marked(unit, self._soft)

    def reason_at(self, *, soft: bool = False) -> Ints:
        """Return, per index, the number of the first reason that pins it itself, or -1."""
        found = np.full(self.count, -1)
        for indices, reason in reversed(self._soft if soft else self._pins):
            found[indices] = reason
        return found

    def toward(self, marked: Mask) -> np.ndarray:
        """Return, per index, the next one on a shortest chain of ties to a marked index.

        A marked index is followed by itself, an index that reaches none by -1.
        """
        from scipy.sparse.csgraph import breadth_first_order

        ends = np.flatnonzero(marked)
        ties = [*self._ties, np.stack([np.full(len(ends), self.count), ends])]
        graph = _matrix(ties, self.count + 1)
        _, previous = breadth_first_order(graph, self.count, directed=False)
        following = np.where(previous[:-1] < 0, -1, previous[:-1])
        following[ends] = ends
        return following

    def place_ties(self) -> np.ndarray:
        """Return the ties between places: i64[n,3], two numbers of places and how many indices."""
        number = np.repeat(np.arange(len(self.start)), list(self.extent.values()))
        if not self._ties:
            return np.zeros((0, 3), np.int64)
        ties, counts = np.unique(
            number[np.concatenate(self._ties, axis=1)], axis=1, return_counts=True
        )
        return np.concatenate([ties, counts[None]]).T

    def places(self) -> Iterator[tuple[Place, int, int]]:
        """Yield every place with the first of its numbers and their count, in that order."""
        for place, start in self.start.items():
            yield place, start, self.extent[place]

    def _marked(self, unit: Ints, marks: list[tuple[Ints, int]]) -> Mask:
        found = np.zeros(int(unit.max(initial=-1)) + 1, bool)
        for indices, _ in marks:
            found[unit[indices]] = True
        return found


def _matrix(ties: list[Ints], count: int) -> csr_array:
    from scipy.sparse import coo_array

    a, b = np.concatenate(ties, axis=1) if ties else np.zeros((2, 0), np.int64)
    return coo_array((np.ones(len(a), np.int32), (a, b)), shape=(count, count)).tocsr()
