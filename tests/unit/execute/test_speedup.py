from __future__ import annotations

from math import comb, inf

import numpy as np
import pytest

from slimc.execute.speedup import speedup


def test_the_ratio_is_of_pairs() -> None:
    drift = np.linspace(1, 5, 41)  # the machine slows down; both models alike
    found = speedup(2 * drift, drift)
    assert (found.median, found.bounds, found.quartiles) == (2, (2, 2), (2, 2))
    assert found.seconds == (6, 3)
    assert str(found) == "2 times as fast (2 to 2)"


def test_few_disturbed_rounds_do_not_move_the_bounds() -> None:
    first = np.full(40, 3.0)
    first[[3, 17, 30]] = 1000
    assert speedup(first, np.full(40, 2.0)).bounds == (1.5, 1.5)


@pytest.mark.parametrize("rounds", [6, 9, 40, 101])
def test_bounds_are_the_narrowest_of_95_percent(rounds: int) -> None:
    found = speedup(np.arange(1.0, rounds + 1), np.ones(rounds))
    k = int(found.bounds[0])
    assert found.bounds == (k, rounds + 1 - k)
    outside = [2 * sum(comb(rounds, i) for i in range(n)) / 2**rounds for n in (k, k + 1)]
    assert outside[0] <= 0.05 < outside[1]


def test_too_few_rounds_bound_nothing() -> None:
    assert speedup(np.ones(5), np.ones(5)).bounds == (0, inf)


def test_bounds_hold_the_median_in_most_measurements() -> None:
    rng = np.random.default_rng(0)
    noise = np.exp(rng.standard_cauchy((400, 31)) / 20)
    bounds = [speedup(1.3 * row, np.ones(31)).bounds for row in noise]
    assert sum(low <= 1.3 <= high for low, high in bounds) > 0.93 * len(bounds)
