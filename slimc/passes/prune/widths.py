"""How many units each family keeps under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush

import numpy as np

from slimc.analysis.removal_cost import Cost, Tally
from slimc.ir.arrays import Floats, Ints

_COARSE = 64  # a family is cut in at most so many steps before the last, fine ones
_RETRIES = 8  # times that the last step is left out for others: few families are wide enough
_FINE = 1 << 62  # then by the least step that there is


@dataclass(frozen=True, eq=False)
class WidthRange:
    """What a family may lose, and what that costs.

    damage: f64[width + 1], of the loss of so many units; step: kept widths are multiples of it;
    least, most: units that stay.
    """

    damage: Floats
    step: int = 1
    least: int = 1
    most: int = _FINE

    @property
    def width(self) -> int:
        return len(self.damage) - 1

    @cached_property
    def start(self) -> int:
        """The largest allowed width: the whole family, unless that is more than it may keep."""
        if self.most >= self.width:
            return self.width
        return max(self.most // self.step * self.step, self.floor)

    @cached_property
    def floor(self) -> int:
        """The smallest allowed width."""
        return min(self.width, -(-max(1, self.least) // self.step) * self.step)

    @cached_property
    def price(self) -> Floats:
        """Return the largest convex curve below the damage: f64[width + 1].

        By it a family goes on over a steep place to a flat one behind it, at their mean price.
        """
        corners: list[int] = []
        for lost in range(self.width + 1):
            while len(corners) > 1 and self._is_above(corners[-2], corners[-1], lost):
                corners.pop()
            corners.append(lost)
        return np.interp(np.arange(self.width + 1), corners, self.damage[corners])

    def _is_above(self, a: int, b: int, c: int) -> bool:
        """Tell whether the damage at b is not below the line from a to c."""
        damage = self.damage
        return bool((damage[b] - damage[a]) * (c - a) >= (damage[c] - damage[a]) * (b - a))

    def next_kept(self, kept: int, fraction: int = _FINE) -> int:
        """Return the next smaller allowed width, about width / fraction below; `kept` if none."""
        decrease = max(1, self.width // fraction)
        below = max(self.floor, (kept - decrease) // self.step * self.step)
        return min(kept, below)

    def next_wider(self, kept: int) -> int:
        """Return the next larger allowed width; `kept` if there is none."""
        return min(self.start, (kept // self.step + 1) * self.step)

    def kept_at(self, ratio: float) -> int:
        """Return the width after a cut by `ratio`, rounded up to a multiple of the step."""
        target = max(self.floor, int(np.ceil(self.width * (1 - ratio) - 1e-9)))
        return min(self.start, -(-target // self.step) * self.step)

    def allowed_widths(self) -> list[int]:
        """Return all allowed widths, the largest first."""
        widths = [self.start]
        while (below := self.next_kept(widths[-1])) < widths[-1]:
            widths.append(below)
        return widths


def compute_losses(ranges: Sequence[WidthRange], kept: Sequence[int]) -> Ints:
    """Return the units that each family loses: i64[families]."""
    return np.array([r.width - k for r, k in zip(ranges, kept, strict=True)], np.int64)


def cut_evenly(ranges: Sequence[WidthRange], ratio: float, latency: Cost) -> Ints:
    """Return the units each family loses when every family is cut by `ratio`.

    A family whose cut by itself saves no latency stays whole.
    """
    tally = Tally(latency)
    kept = [
        r.kept_at(ratio) if tally.saved(number, r.width - r.kept_at(ratio)) > 0 else r.start
        for number, r in enumerate(ranges)
    ]
    return compute_losses(ranges, kept)


def cut_to_budget(ranges: Sequence[WidthRange], cost: Cost, ratio: float, latency: Cost) -> Ints:
    """Return the units each family loses until (1 - ratio) of the cost is left, as far as it goes.

    Greedy: the next units to go are those with the least damage per saved cost, where they save
    latency too. The last step may save more than is needed; for that, others are taken back. If the
    goal is met with less damage without that step, by others, it is not taken.
    """
    goal = (1 - ratio) * Tally(cost).total
    descent = _GreedyDescent(ranges, cost, latency)
    lost = descent.descend_to(goal)
    for _ in range(_RETRIES):
        if descent.last is None:
            break
        number, before = descent.last
        bounded = [*ranges[:number], replace(ranges[number], least=before), *ranges[number + 1 :]]
        alternative = _GreedyDescent(bounded, cost, latency)
        alternative_lost = alternative.descend_to(goal)
        if alternative.tally.total > goal or alternative.damage >= descent.damage:
            break
        ranges, descent, lost = bounded, alternative, alternative_lost
    return lost


class _GreedyDescent:
    """Families on their way down, one step after another."""

    def __init__(self, ranges: Sequence[WidthRange], cost: Cost, latency: Cost) -> None:
        self.ranges = ranges
        self.tally = Tally(cost)
        self.latency = self.tally if latency is cost else Tally(latency)
        self.kept = [r.width for r in ranges]
        self.last: tuple[int, int] | None = None  # the step that met the goal: family, width before
        for number, range_ in enumerate(ranges):
            self._take(number, range_.start)

    @property
    def damage(self) -> float:
        """Return what is lost so far, by the damage of each family."""
        pairs = zip(self.ranges, self.kept, strict=True)
        return sum(float(range_.damage[range_.width - kept]) for range_, kept in pairs)

    def descend_to(self, goal: float) -> Ints:
        for fraction in (_COARSE, _FINE):
            self._descend(goal, fraction)
        while (step := self._spared(goal)) is not None:
            self._take(*step)
        return compute_losses(self.ranges, self.kept)

    def _descend(self, goal: float, fraction: int) -> None:
        """Take the cheapest steps until the goal is met; a coarse one that would overshoot ends it.

        A step's price only rises while others are taken (there is less to save), so the cheapest of
        the prices as last seen is the cheapest if it holds when it is seen again.
        """
        steps: list[tuple[float, int, int]] = []
        for number in range(len(self.ranges)):
            self._offer(steps, number, fraction)
        while steps and self.tally.total > goal:
            _, number, _ = heappop(steps)
            self._offer(steps, number, fraction)
            if not steps or steps[0][1] != number:
                continue
            below = steps[0][2]
            saved = self.tally.saved(number, self.kept[number] - below)
            if fraction != _FINE and self.tally.total - saved < goal:
                return
            heappop(steps)
            if self.tally.total - saved <= goal:
                self.last = number, self.kept[number]
            self._take(number, below)
            self._offer(steps, number, fraction)

    def _spared(self, goal: float) -> tuple[int, int] | None:
        """Return the step back that spares most damage and still meets the goal: family, width."""
        steps: list[tuple[float, int, int]] = []
        for number, (range_, width) in enumerate(zip(self.ranges, self.kept, strict=True)):
            above = range_.next_wider(width)
            if above == width or self.tally.total - self.tally.saved(number, width - above) > goal:
                continue
            slower = self.latency.saved(number, width - above) > self.latency.saved(
                number, width - range_.start
            )
            if above == range_.start or slower:
                damage = range_.damage[range_.width - width] - range_.damage[range_.width - above]
                steps.append((float(damage), -number, above))
        if not steps:
            return None
        _, number, above = max(steps)
        return -number, above

    def _take(self, number: int, below: int) -> None:
        lost = self.kept[number] - below
        self.tally.take(number, lost)
        if self.latency is not self.tally:
            self.latency.take(number, lost)
        self.kept[number] = below

    def _offer(self, steps: list[tuple[float, int, int]], number: int, fraction: int) -> None:
        """Add the next step of a family that saves something, with its damage per saved cost."""
        range_, width = self.ranges[number], self.kept[number]
        below = range_.next_kept(width, fraction)
        while True:
            saved = self.tally.saved(number, width - below)
            if saved > 0 and self.latency.saved(number, width - below) > 0:
                break
            further = range_.next_kept(below, fraction)
            if further == below:
                return
            below = further
        damage = float(range_.price[range_.width - below] - range_.price[range_.width - width])
        heappush(steps, (damage / saved, number, below))
