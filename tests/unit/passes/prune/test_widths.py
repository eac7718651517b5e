from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csc_array

from slimc.analysis.importance import by_importance
from slimc.analysis.removal_cost import Cost
from slimc.passes.prune.widths import WidthRange, cut_evenly, cut_to_budget


def ramp(width: int, step: int = 1, least: int = 1, readers: int = 1) -> WidthRange:
    ranking = by_importance(np.linspace(0.5, 1.5, width), readers)
    return WidthRange(ranking.damage, step, least)


def chain(*widths: int) -> Cost:
    """The cost of layers between families of these widths: the sum of neighbours' products."""
    count = len(widths)
    usage = np.concatenate([np.eye(count, dtype=np.int64), np.zeros((1, count), np.int64)])
    terms = np.array([[i, i + 1] for i in range(count - 1)])
    ones = np.ones(count + 1, np.int64)
    return Cost(np.array([*widths, 1]), csc_array(usage), terms, ones[: len(terms)], ones)


@pytest.mark.parametrize(
    ("width", "step", "ratio", "kept"),
    [(64, 1, 0.5, 32), (64, 8, 0.3, 48), (12, 8, 0.5, 8), (8, 8, 0.5, 8), (3, 1, 0.9, 1)],
)
def test_an_even_cut_rounds_kept_widths_up(width: int, step: int, ratio: float, kept: int) -> None:
    cost = chain(width, width)
    lost = cut_evenly([ramp(width, step), ramp(width, step)], ratio, cost)
    assert (width - lost).tolist() == [kept, kept]


def test_the_least_width_is_kept() -> None:
    cost = chain(16, 16)
    ranges = [ramp(16, least=12), ramp(16, least=12)]
    assert cut_evenly(ranges, 0.5, cost).tolist() == [4, 4]
    assert cut_to_budget(ranges, cost, 0.9, cost).tolist() == [4, 4]


def test_a_budget_is_met_and_hardly_exceeded() -> None:
    cost = chain(64, 128, 256)
    ranges = [ramp(64), ramp(128), ramp(256)]
    lost = cut_to_budget(ranges, cost, 0.3, cost)
    before, after = cost.of(np.zeros(3, np.int64)), cost.of(lost)
    assert 0.69 * before < after <= 0.7 * before


def test_kept_widths_are_multiples_of_the_step() -> None:
    cost = chain(64, 100)
    lost = cut_to_budget([ramp(64, 8), ramp(100, 8)], cost, 0.5, cost)
    assert (64 - lost[0]) % 8 == 0
    assert (100 - lost[1]) % 8 == 0


def test_a_family_with_many_readers_is_spared() -> None:
    cost = chain(64, 64)
    lost = cut_to_budget([ramp(64), ramp(64, readers=8)], cost, 0.3, cost)
    assert lost[0] > lost[1]


def test_the_price_is_the_largest_convex_curve_below_the_damage() -> None:
    damage = np.array([0.0, 5, 5, 6, 6, 20])
    price = WidthRange(damage).price
    np.testing.assert_allclose(price, [0, 1.5, 3, 4.5, 6, 20])
    rng = np.random.default_rng(0)
    for _ in range(20):
        damage = np.concatenate([[0], np.cumsum(rng.exponential(size=12) ** 3)])
        price = WidthRange(damage).price
        assert (price <= damage + 1e-12).all()
        assert (np.diff(price, 2) >= -1e-9).all()
        for k in range(1, 13):  # every point is on the curve, or below a line between two that are
            lines = [
                damage[a] + (damage[b] - damage[a]) * (k - a) / (b - a)
                for a in range(k + 1)
                for b in range(max(k, a + 1), 13)
            ]
            assert price[k] == pytest.approx(min(lines))


def test_greedy_goes_over_a_steep_place_to_a_flat_one() -> None:
    steep = WidthRange(np.array([0.0, 2, 2, 2, 2, 2, 2, 2, 30]))
    even = WidthRange(np.arange(9.0))
    cost = chain(8, 8)
    lost = cut_to_budget([steep, even], cost, 0.8, cost)
    assert lost.tolist() == [7, 0]


@pytest.mark.parametrize(
    ("step", "least", "most", "allowed"),
    [
        (1, 1, 4, [4, 3, 2, 1]),
        (8, 1, 30, [24, 16, 8]),
        (8, 9, 30, [24, 16]),
        (8, 1, 1 << 62, [33, 32, 24, 16, 8]),
        (8, 33, 1 << 62, [33]),
    ],
)
def test_allowed_widths(step: int, least: int, most: int, allowed: list[int]) -> None:
    one = WidthRange(np.arange(34.0), step, least, most)
    assert one.allowed_widths() == allowed
    assert one.kept_at(0.0) == allowed[0]
    assert one.kept_at(0.999) == allowed[-1]


def test_a_family_above_what_it_may_keep_is_cut_whatever_the_budget() -> None:
    cost = chain(16, 16)
    ranges = [WidthRange(np.arange(17.0), most=8), WidthRange(np.arange(17.0))]
    assert cut_to_budget(ranges, cost, 0.1, cost).tolist() == [8, 0]
    assert cut_evenly(ranges, 0.25, cost).tolist() == [8, 4]


def test_a_step_that_saves_nothing_is_taken_together_with_the_next() -> None:
    cost = chain(16, 16)
    eights = Cost(cost.base, cost.usage, cost.terms, cost.weight, np.array([8, 8, 1]))
    lost = cut_to_budget([ramp(16), ramp(16)], eights, 0.4, eights)
    assert sorted(lost.tolist()) == [0, 8]


def test_what_the_last_step_saves_too_much_is_given_back() -> None:
    cost = chain(8, 8)
    cheap, dear = WidthRange(np.arange(9.0) / 100, 1, 6), WidthRange(np.arange(9.0), 8 // 2)
    lost = cut_to_budget([cheap, dear], cost, 0.5, cost)
    assert lost.tolist() == [0, 4]  # first two of the cheap ones went, then half of the others


def test_nothing_more_can_be_given_back() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        widths = rng.integers(4, 30, 4)
        ranges = [
            WidthRange(np.concatenate([[0], np.cumsum(rng.exponential(size=w))])) for w in widths
        ]
        cost = chain(*widths.tolist())
        goal = 0.6 * cost.of(np.zeros(4, np.int64))
        lost = cut_to_budget(ranges, cost, 0.4, cost)
        assert cost.of(lost) <= goal
        for number in np.flatnonzero(lost):
            fewer = lost.copy()
            fewer[number] -= 1
            assert cost.of(fewer) > goal


def test_a_last_step_that_saves_far_too_much_is_left_to_others() -> None:
    """The wide family's half is cheapest per saved cost, but a few units of the other do."""
    wide = WidthRange(np.array([0, 1.0, 2.0]), step=1)  # half of 1000
    fine = WidthRange(np.linspace(0, 4, 41), step=1)  # fortieths of 1000
    usage = csc_array(np.array([[1, 0], [0, 1], [0, 0]]))
    terms, ones = np.array([[0, 2], [1, 2]]), np.ones(3, np.int64)
    cost = Cost(np.array([2, 40, 1]), usage, terms, np.array([500, 25]), ones)
    lost = cut_to_budget([wide, fine], cost, 0.1, cost)
    assert lost.tolist() == [0, 8]
