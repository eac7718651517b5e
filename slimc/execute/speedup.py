"""How many times as fast one model is as another, by runs taken in turn."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, inf

import numpy as np

from slimc.ir.arrays import Floats

MARGIN = 0.02  # two loads of one model differ by as much: where its arrays lie in memory
_SURE = 0.95  # share of measurements whose bounds hold the true median


@dataclass(frozen=True)
class Speedup:
    """Seconds of the first model over those of the second, round by round.

    quartiles: of the rounds; bounds: what the median lies between, in 95 % of measurements;
    seconds: the median of each model.
    """

    median: float
    quartiles: tuple[float, float]
    bounds: tuple[float, float]
    seconds: tuple[float, float]
    rounds: int

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{self.median:.3g} times as fast ({low:.3g} to {high:.3g})"


def speedup(first: Floats, second: Floats) -> Speedup:
    """Compare the seconds of paired rounds. first, second: f64[rounds].

    The bounds are order statistics of the ratios: whatever their distribution, the median lies
    between the k-th least and the k-th largest of n in 1 - 2 P(B(n, 1/2) < k) of all cases. So a
    few rounds that something else disturbed do not move them.
    Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1.
    """
    ratios = np.sort(first / second)
    rounds = len(ratios)
    k = _bound_rank(rounds)
    bounds = (float(ratios[k - 1]), float(ratios[rounds - k])) if k else (0.0, inf)
    lower, middle, upper = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    seconds = (float(np.median(first)), float(np.median(second)))
    return Speedup(middle, (lower, upper), bounds, seconds, rounds)


def _bound_rank(rounds: int) -> int:
    """Return the largest k with 2 P(B(rounds, 1/2) < k) <= 1 - _SURE; 0: there are too few."""
    below, k = 0, 0
    while 2 * (below := below + comb(rounds, k)) <= (1 - _SURE) * 2**rounds:
        k += 1
    return k
