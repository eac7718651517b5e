from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slimc.pipeline.mixed_precision import Option, choose_schemes


def random_regions(seed: int, count: int = 6) -> list[list[Option]]:
    rng = np.random.default_rng(seed)
    return [
        [
            Option("float", 0.0, 32.0 * size),
            Option("int8", float(rng.exponential()), 8.0 * size),
            Option("int4", float(rng.exponential() * 4), 4.0 * size),
        ][: 2 + int(rng.integers(2))]
        for size in rng.uniform(1, 50, count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_choice_within_the_budget_makes_less_noise(seed: int) -> None:
    regions = random_regions(seed)
    budget = 0.3 * sum(one[0].cost for one in regions)
    chosen = choose_schemes(regions, budget)
    assert chosen is not None
    picked = [one[i] for one, i in zip(regions, chosen, strict=True)]
    assert sum(option.cost for option in picked) <= budget
    least = min(
        sum(option.noise for option in some)
        for some in product(*regions)
        if sum(option.cost for option in some) <= budget
    )
    assert sum(option.noise for option in picked) == pytest.approx(least, rel=1e-5)


def test_what_no_choice_reaches_is_none_and_what_all_reach_is_float() -> None:
    regions = random_regions(0)
    assert choose_schemes(regions, 1e-3) is None
    assert choose_schemes(regions, 1e6) == [0] * len(regions)


def test_of_equal_noise_the_cheaper_is_taken() -> None:
    regions = [[Option("float", 0.0, 4.0), Option("int8", 0.0, 1.0)]]
    assert choose_schemes(regions, 10.0) == [1]
