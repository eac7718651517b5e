from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.importance import Ranking
from slimc.analysis.sensitivity_curves import Curve, Point
from slimc.passes.prune.measured_damage import calibrate, fit_monotone

ORDER = np.arange(8)
RANKING = Ranking(ORDER, np.array([0, 1, 2, 4, 8, 16, 32, 64, 128.0]))


def curve(*errors: tuple[int, float]) -> Curve:
    """A curve of 8 units from (kept, error)."""
    return Curve("f", 8, tuple(Point(1 - kept / 8, kept, error) for kept, error in errors))


def test_measured_errors_are_met_and_the_rankings_own_damage_leads_between() -> None:
    made = calibrate(RANKING, curve((6, 0.2), (4, 0.5), (2, 0.9)))
    assert made.order is ORDER
    np.testing.assert_allclose(made.damage[[0, 2, 4, 6]], [0, 0.2, 0.5, 0.9])
    assert made.damage[1] == pytest.approx(0.1)
    assert made.damage[3] == pytest.approx(0.2 + 0.3 * (4 - 2) / (8 - 2))


def test_behind_the_last_point_it_goes_on_in_proportion() -> None:
    made = calibrate(RANKING, curve((4, 0.5)))
    np.testing.assert_allclose(made.damage[4:], 0.5 * RANKING.damage[4:] / 8)


def test_damage_never_falls_whatever_is_measured() -> None:
    made = calibrate(RANKING, curve((6, 0.4), (4, 0.2), (2, -0.1)))
    assert (np.diff(made.damage) >= 0).all()
    assert made.damage[0] == 0
    assert calibrate(RANKING, curve((6, -0.5), (4, 0.0), (2, 0.1))).damage[4] == 0


def test_where_the_ranking_is_flat_the_count_leads() -> None:
    flat = Ranking(ORDER, np.zeros(9))
    made = calibrate(flat, curve((4, 0.4)))
    np.testing.assert_allclose(made.damage, 0.1 * np.arange(9))


def test_without_points_nothing_changes() -> None:
    assert calibrate(RANKING, curve()) is RANKING
    assert calibrate(RANKING, curve((8, 0.0))) is RANKING


def test_monotone_is_nearest_in_least_squares() -> None:
    assert fit_monotone([1, 3, 2, 4]) == [1, 2.5, 2.5, 4]
    assert fit_monotone([3, 2, 1]) == [2, 2, 2]
    assert fit_monotone([]) == []
    given = np.random.default_rng(0).normal(size=9)
    found = np.array(fit_monotone(given))
    assert (np.diff(found) >= 0).all()
    for other in np.sort(np.random.default_rng(1).normal(size=(200, 9)), axis=1):
        assert np.square(found - given).sum() <= np.square(other - given).sum()
