from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csc_array

from slimc.analysis.removal_cost import Cost
from slimc.errors import SlimcError
from slimc.passes.prune.cost_tables import expand_cost
from slimc.passes.prune.exact_widths import cut_exactly
from slimc.passes.prune.widths import WidthRange, cut_to_budget


def some_cost(rng: np.random.Generator, widths: list[int], factors: int = 2) -> Cost:
    """A cost with sizes of one family, of two, and fixed ones, and terms of some of them."""
    count = len(widths)
    usage = np.zeros((2 * count + 1, count), np.int64)
    base = np.ones(2 * count + 1, np.int64)
    for number, width in enumerate(widths):
        usage[number, number] = 1 + number % 2
        base[number] = width * (1 + number % 2)
        usage[count + number, [number, (number + 1) % count]] = 1
        base[count + number] = width + widths[(number + 1) % count]
    fixed = 2 * count
    terms = [[number, fixed] for number in range(count)]
    terms += [[a, b] for a in range(count) for b in range(count) if rng.random() < 0.5]
    terms += [[count + number, number] for number in range(count)]
    weight = rng.uniform(0.5, 2, len(terms))
    return Cost(base, csc_array(usage), np.array(terms), weight, np.ones(len(base), np.int64))


def some_range(rng: np.random.Generator, width: int, step: int = 1) -> WidthRange:
    return WidthRange(np.concatenate([[0.0], np.cumsum(rng.exponential(size=width))]), step)


def damage(ranges: list[WidthRange], lost: np.ndarray) -> float:
    return float(sum(r.damage[k] for r, k in zip(ranges, lost, strict=True)))


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_does_less_damage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = [int(w) for w in rng.integers(2, 8, 2 + seed % 2)]
    ranges, cost = [some_range(rng, w) for w in widths], some_cost(rng, widths)
    goal = 0.6 * cost.of(np.zeros(len(widths), np.int64))
    every = (np.array(lost) for lost in product(*(range(w) for w in widths)))
    best = min(damage(ranges, lost) for lost in every if cost.of(lost) <= goal)
    chosen = cut_exactly(ranges, cost, 0.4, cost)
    assert cost.of(chosen) <= goal
    assert damage(ranges, chosen) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_it_is_never_worse_than_greedy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = [int(w) for w in 8 * rng.integers(2, 12, 5)]
    ranges, cost = [some_range(rng, w, step=4) for w in widths], some_cost(rng, widths)
    goal = 0.5 * cost.of(np.zeros(5, np.int64))
    exact, greedy = (cut(ranges, cost, 0.5, cost) for cut in (cut_exactly, cut_to_budget))
    assert cost.of(exact) <= goal
    assert cost.of(greedy) <= goal
    assert damage(ranges, exact) <= damage(ranges, greedy)
    assert all((w - lost) % 4 == 0 for w, lost in zip(widths, exact, strict=True))
    assert np.array_equal(exact, cut_exactly(ranges, cost, 0.5, cost))


def test_what_greedy_does_not_reach_is_cut_as_far_as_it_goes() -> None:
    rng = np.random.default_rng(0)
    ranges = [WidthRange(some_range(rng, 8).damage, least=6) for _ in range(2)]
    cost = some_cost(rng, [8, 8])
    assert cut_exactly(ranges, cost, 0.9, cost).tolist() == [2, 2]


def test_tables_sum_to_the_cost() -> None:
    rng = np.random.default_rng(0)
    widths = [5, 6, 7]
    cost = some_cost(rng, widths)
    lost = [np.arange(0, w, 2) for w in widths]
    found = expand_cost(cost, lost)
    for at in product(*(range(len(one)) for one in lost)):
        total = found.constant + sum(float(found.single[f][i]) for f, i in enumerate(at))
        total += sum(float(t[at[f], at[g]]) for (f, g), t in found.pairs.items())
        removed = np.array([one[i] for one, i in zip(lost, at, strict=True)])
        assert total == pytest.approx(cost.of(removed))


def test_rounded_sizes_are_exact_for_one_family_and_never_too_low_for_two() -> None:
    usage = csc_array(np.array([[1, 0], [1, 1], [0, 0]]))
    sizes = np.array([16, 32, 1])
    terms, weight = np.array([[0, 2], [1, 2]]), np.ones(2)
    cost = Cost(sizes, usage, terms, weight, np.array([8, 8, 1]))
    lost = [np.arange(16), np.arange(16)]
    found = expand_cost(cost, lost)
    assert not found.pairs
    for i, k in product(range(16), range(16)):
        total = found.constant + found.single[0][i] + found.single[1][k]
        assert total >= cost.of(np.array([i, k]))
        if i % 8 == k % 8 == 0:
            assert total == cost.of(np.array([i, k]))


def test_products_of_three_families_are_refused() -> None:
    usage = csc_array(np.concatenate([np.eye(3, dtype=np.int64), np.zeros((1, 3), np.int64)]))
    ones = np.ones(4, np.int64)
    cost = Cost(np.array([4, 4, 4, 1]), usage, np.array([[0, 1, 2]]), ones[:1], ones)
    with pytest.raises(SlimcError) as caught:
        expand_cost(cost, [np.arange(4)] * 3)
    assert caught.value.name == "too-many-choices"
    assert "choose=greedy" in caught.value.help


def test_too_many_pairs_are_refused() -> None:
    usage = csc_array(np.concatenate([np.eye(2, dtype=np.int64), np.zeros((1, 2), np.int64)]))
    ones = np.ones(3, np.int64)
    cost = Cost(np.array([300, 300, 1]), usage, np.array([[0, 1]]), ones[:1], ones)
    with pytest.raises(SlimcError, match="more than 40000 pairs"):
        expand_cost(cost, [np.arange(300)] * 2)
