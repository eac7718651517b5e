from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.importance import by_importance


def test_the_least_important_go_first_and_equal_ones_in_order() -> None:
    assert by_importance(np.array([2.0, 1, 3, 1]), 1).order.tolist() == [1, 3, 0, 2]


def test_damage_is_the_share_times_readers_over_the_square_of_what_is_left() -> None:
    damage = by_importance(np.array([1.0, 2, 1]), 2).damage
    first, second = 2 * 0.25 / (2 / 3) ** 2, 2 * 0.25 / (1 / 3) ** 2
    last = 2 * 0.5 / (1 / 3) ** 2  # the last unit counts as if it were left: the damage is finite
    np.testing.assert_allclose(damage, np.cumsum([0, first, second, last]))


@pytest.mark.parametrize("importance", [[0.0, 0, 0], [5.0], [1e-300, 1e300]])
def test_damage_starts_at_zero_never_falls_and_is_finite(importance: list[float]) -> None:
    ranking = by_importance(np.array(importance), 1)
    assert ranking.width == len(importance)
    assert ranking.damage.shape == (len(importance) + 1,)
    assert ranking.damage[0] == 0
    assert (np.diff(ranking.damage) >= 0).all()
    assert np.isfinite(ranking.damage).all()


def test_the_scale_of_importance_does_not_matter() -> None:
    importance = np.random.default_rng(0).uniform(0, 1, 9)
    one, two = by_importance(importance, 1), by_importance(100 * importance, 1)
    np.testing.assert_allclose(one.damage, two.damage)
