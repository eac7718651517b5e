from __future__ import annotations

import numpy as np
import pytest

from slimc.fit.moments import Moments
from slimc.passes.prune.reconstruction import reconstruct, remaining_error, zero_reconstruction

GONE = np.array([False, True, False, True, False])
ROWS = 4096


def drawn(seed: int, mixed: bool = True) -> np.ndarray:
    """Rows of five channels in two groups, of which the second and fourth follow from others."""
    random = np.random.default_rng(seed)
    x = random.normal(1, 1, (ROWS, 2, 5))
    if mixed:
        x[:, :, 1] = 2 * x[:, :, 0] + 0.5 * x[:, :, 2] + 3
        x[:, :, 3] = 0.7 * x[:, :, 4]
    return x


def moments(x: np.ndarray) -> Moments:
    made = Moments()
    made.add(x, np.zeros((*x.shape[:2], 0)))
    return made


def test_channels_that_follow_from_others_are_met() -> None:
    found = reconstruct(moments(drawn(0)), GONE, constant=True)
    assert np.allclose(found.b[:, 0], [2, 0.5, 0], atol=0.03)  # the ridge is 1 % of the variance
    assert np.allclose(found.c[:, 0], 3, atol=0.05)
    assert np.allclose(found.b[:, 1], [0, 0, 0.7], atol=1e-9)  # a scaled copy is exact
    assert np.allclose(found.c[:, 1], 0, atol=1e-9)


def test_without_a_constant_moments_are_about_zero() -> None:
    x = drawn(0)
    found = reconstruct(moments(x), GONE, constant=False)
    assert not found.c.any()
    assert np.allclose(found.b[:, 1], [0, 0, 0.7], atol=1e-9)
    h = x[:, 0].T @ x[:, 0] / ROWS
    best = h[np.ix_(GONE, ~GONE)] @ np.linalg.inv(h[np.ix_(~GONE, ~GONE)])
    assert np.allclose(found.b[0], best, atol=0.1)


@pytest.mark.parametrize("constant", [True, False])
def test_the_error_is_that_of_the_rows(constant: bool) -> None:
    x, seen = drawn(1, mixed=False), drawn(2)
    weight = np.random.default_rng(3).normal(0, 1, (2, 3, 2, 4))
    for found in (
        reconstruct(moments(seen), GONE, constant),
        zero_reconstruction(moments(seen), GONE),
    ):
        off = x[:, :, GONE] - np.einsum("grk,ngk->ngr", found.b, x[:, :, ~GONE]) - found.c
        wanted = np.square(np.einsum("gort,ngr->ngot", weight, off)).sum() / ROWS
        assert found.error(moments(x), weight) == pytest.approx(wanted, rel=1e-9)


def test_what_is_left_is_judged_on_the_other_half() -> None:
    weight = np.random.default_rng(3).normal(0, 1, (2, 3, 2, 1))
    alike = moments(drawn(0)), moments(drawn(1))
    assert remaining_error(alike, GONE, True, weight) < 0.01
    apart = [moments(drawn(seed, mixed=False)[:20] - 1) for seed in (0, 1)]
    assert remaining_error((apart[0], apart[1]), GONE, True, weight) > 1
