"""How many units each family keeps under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimc.analysis.removal_cost import Cost

_CHUNKS = 64  # a family is cut in at most so many steps before the last, fine ones


@dataclass(frozen=True, eq=False)
class Range:
    """What a family may lose: its units in the order they go, and how many may stay at least."""

    scores: np.ndarray  # ascending
    readers: int  # contractions that read its channels
    step: int  # kept widths are multiples of it
    least: int  # units that stay

    @property
    def width(self) -> int:
        return len(self.scores)

    def next_kept(self, kept: int, fraction: int) -> int:
        """Return the next smaller allowed width, about width / fraction below; `kept` if none."""
        wanted = max(1, self.width // fraction)
        below = (kept - wanted) // self.step * self.step if wanted < kept else 0
        below = max(below, 0)
        if below < self.least:
            below = -(-self.least // self.step) * self.step
        return below if 0 < below < kept else kept

    def kept_at(self, ratio: float) -> int:
        """Return the width after a cut by `ratio`, rounded up to a multiple of the step."""
        wanted = max(self.least, int(np.ceil(self.width * (1 - ratio) - 1e-9)), 1)
        return min(self.width, -(-wanted // self.step) * self.step)


def cut_evenly(ranges: Sequence[Range], ratio: float) -> np.ndarray:
    """Return the units each family loses when every family is cut by `ratio`."""
    return np.array([r.width - r.kept_at(ratio) for r in ranges], np.int64)


def cut_to_budget(ranges: Sequence[Range], cost: Cost, ratio: float) -> np.ndarray:
    """Return the units each family loses until (1 - ratio) of the cost is left, as far as it goes.

    Greedy: the next units to go are those with the least damage per saved cost. The damage of a
    unit is its score as a share of its family, once for every contraction that then reads less (a
    residual trunk has many), over the square of the share of the family that is left, so that none
    is emptied while others are whole. Chosen by accuracy: of two small trained classifiers at -30 %
    MACs, without any repair, 0.68 and 0.29 are left; without the readers 0.29 and 0.06, with every
    family cut by the same ratio 0.24 and 0.21 (at -25 % and -22 %).
    """
    removed = np.zeros(len(ranges), np.int64)
    goal = (1 - ratio) * cost.of(removed)
    for fraction in (_CHUNKS, 1 << 62):
        removed = _descend(ranges, cost, goal, removed, fraction)
    return removed


def _descend(
    ranges: Sequence[Range], cost: Cost, goal: float, removed: np.ndarray, fraction: int
) -> np.ndarray:
    """Take cheapest steps until the goal is met; a coarse step that would overshoot ends it."""
    fine = fraction > _CHUNKS
    now = cost.of(removed)
    while now > goal:
        best = _cheapest(ranges, cost.slope(removed), removed, fraction)
        if best is None:
            break
        trial = removed.copy()
        trial[best[0]] = ranges[best[0]].width - best[1]
        after = cost.of(trial)
        if after < goal and not fine:
            break
        removed, now = trial, after
    return removed


def _cheapest(
    ranges: Sequence[Range], slope: np.ndarray, removed: np.ndarray, fraction: int
) -> tuple[int, int] | None:
    """Return (family, kept) of the step with the least damage per saved cost."""
    best: tuple[int, int] | None = None
    least = np.inf
    for number, one in enumerate(ranges):
        if slope[number] <= 0:
            continue
        lost = int(removed[number])
        kept = one.next_kept(one.width - lost, fraction)
        if kept == one.width - lost:
            continue
        share = float(one.scores[lost : one.width - kept].sum()) / one.width
        damage = one.readers * share / (kept / one.width) ** 2
        price = damage / (slope[number] * (one.width - lost - kept))
        if price < least:
            best, least = (number, kept), price
    return best
