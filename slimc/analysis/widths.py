"""How many units each family keeps under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from slimc.analysis.removal_cost import Cost, Tally

_CHUNKS = 64  # a family is cut in at most so many steps before the last, fine ones
_SINGLE = 1 << 62  # then by the least step that there is


@dataclass(frozen=True, eq=False)
class Range:
    """What a family may lose, and what that costs.

    damage: f64[width + 1], of the loss of so many units; step: kept widths are multiples of it;
    least, most: units that stay.
    """

    damage: np.ndarray
    step: int
    least: int
    most: int

    @property
    def width(self) -> int:
        return len(self.damage) - 1

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

    Greedy: the next units to go are those with the least damage per saved cost.
    """
    tally = Tally(cost)
    goal = (1 - ratio) * tally.total
    kept = [r.width for r in ranges]
    for fraction in (_CHUNKS, _SINGLE):
        _descend(ranges, tally, goal, kept, fraction)
    return np.array([r.width - k for r, k in zip(ranges, kept, strict=True)], np.int64)


def _descend(
    ranges: Sequence[Range], tally: Tally, goal: float, kept: list[int], fraction: int
) -> None:
    """Take the cheapest steps until the goal is met; a coarse one that would overshoot is the last.

    A step's price only rises while others are taken (there is less to save), so the cheapest of
    the prices as last seen is the cheapest if it holds when it is seen again.
    """
    steps: list[tuple[float, int]] = []
    for number in range(len(ranges)):
        _offer(steps, ranges, tally, kept, number, fraction)
    while steps and tally.total > goal:
        _, number = heappop(steps)
        _offer(steps, ranges, tally, kept, number, fraction)
        if not steps or steps[0][1] != number:
            continue
        below = ranges[number].next_kept(kept[number], fraction)
        lost = kept[number] - below
        if fraction != _SINGLE and tally.total - tally.saved(number, lost) < goal:
            return
        heappop(steps)
        tally.take(number, lost)
        kept[number] = below
        _offer(steps, ranges, tally, kept, number, fraction)


def _offer(
    steps: list[tuple[float, int]],
    ranges: Sequence[Range],
    tally: Tally,
    kept: list[int],
    number: int,
    fraction: int,
) -> None:
    """Add the next step of a family with its damage per saved cost, if it saves anything."""
    one, now = ranges[number], kept[number]
    below = one.next_kept(now, fraction)
    saved = tally.saved(number, now - below) if below < now else 0
    if saved > 0:
        damage = float(one.damage[one.width - below] - one.damage[one.width - now])
        heappush(steps, (damage / saved, number))
