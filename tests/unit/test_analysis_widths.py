from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csc_array

from slimc.analysis.ranking import by_importance
from slimc.analysis.removal_cost import Cost
from slimc.analysis.widths import Range, cut_evenly, cut_to_budget


def ramp(width: int, step: int = 1, least: int = 1, readers: int = 1) -> Range:
    ranking = by_importance(np.linspace(0.5, 1.5, width), readers)
    return Range(ranking.damage, step, least)


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
