"""Set the damage of a ranking to what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from slimc.analysis.curves import Curve
from slimc.analysis.ranking import Ranking


def calibrate(ranking: Ranking, curve: Curve) -> Ranking:
    """Return the ranking with the damage bent through the measured errors, its order as it is.

    The ranking's own damage d is the coordinate. With errors e_i after the loss of k_i units,
    made monotone and at least 0, and k_0 = e_0 = 0, between two points

        damage[k] = e_i + (e_j - e_i) (d[k] - d[k_i]) / (d[k_j] - d[k_i]),

    where d is flat between them with k itself for d; behind the last point it goes on in the
    proportion e/d of the last point. So the errors say how much, the ranking says where between.
    A curve without points changes nothing.
    """
    lost = {curve.width - point.kept: point.error for point in curve.points}
    lost = {k: lost[k] for k in sorted(lost) if 0 < k < ranking.width}
    if not lost:
        return ranking
    counts = np.array([0, *lost])
    errors = np.array([0.0, *(max(0.0, error) for error in monotone(list(lost.values())))])
    damage = np.zeros(ranking.width + 1)
    for i, (first, last) in enumerate(pairwise(counts.tolist())):
        way = _way(ranking.damage[first : last + 1])
        damage[first : last + 1] = errors[i] + (errors[i + 1] - errors[i]) * way
    last = int(counts[-1])
    damage[last:] = errors[-1] * _growth(ranking.damage, last)
    return Ranking(ranking.order, damage)


def monotone(errors: Sequence[float]) -> list[float]:
    """Return the never-falling numbers that are nearest in least squares.

    Neighbours that fall are pooled to their mean (pool adjacent violators).
    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972, section 1.2.
    """
    pools: list[tuple[float, int]] = []
    for error in errors:
        mean, count = float(error), 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), count + many
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def _way(damage: np.ndarray) -> np.ndarray:
    """Return how far each entry is on the way from the first to the last, 0..1."""
    rise = damage[-1] - damage[0]
    if rise <= 0:
        return np.linspace(0, 1, len(damage))
    way: np.ndarray = (damage - damage[0]) / rise
    return way


def _growth(damage: np.ndarray, last: int) -> np.ndarray:
    """Return by what factor the damage grows from entry `last` to each entry behind it, from 1."""
    if damage[last] <= 0:
        return np.arange(last, len(damage)) / last
    growth: np.ndarray = damage[last:] / damage[last]
    return growth
