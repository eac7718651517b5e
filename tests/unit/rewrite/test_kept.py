from __future__ import annotations

import numpy as np
import pytest

from slimc.rewrite.kept import compose, indices, ranges


@pytest.mark.parametrize(
    ("stay", "text"),
    [
        ((0, 1, 2, 3, 5), "0-3,5"),
        ((7,), "7"),
        ((0, 2, 4), "0,2,4"),
        ((10, 11), "10-11"),
        ((), ""),
    ],
)
def test_ranges_round_trip(stay: tuple[int, ...], text: str) -> None:
    assert ranges(stay) == text
    assert indices(text) == stay


def test_random_indices_round_trip() -> None:
    for seed in range(20):
        stay = tuple(np.flatnonzero(np.random.default_rng(seed).random(50) < 0.6).tolist())
        assert indices(ranges(stay)) == stay


def test_removals_compose_to_indices_before_the_first() -> None:
    array = np.arange(60).reshape(6, 10)
    first = {"v": ((0, 2, 3, 5), None)}
    then = {"v": ((1, 2), (0, 4, 9)), "w": ((3,),)}
    (v, w) = compose([first, then]).values()
    taken = array[[0, 2, 3, 5]][[1, 2]][:, [0, 4, 9]]
    np.testing.assert_array_equal(array[np.ix_(v[0] or (), v[1] or ())], taken)
    assert w == ((3,),)


def test_no_removal_keeps_nothing_in_mind() -> None:
    assert compose([]) == {}
