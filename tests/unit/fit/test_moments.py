from __future__ import annotations

import numpy as np
import pytest

from slimc.fit.moments import RIDGE_OUTPUTS, Moments, SplitMoments, refit

RNG = np.random.default_rng(0)


def rows(count: int, groups: int = 2, p: int = 5, o: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a large mean, a linear map and noise."""
    mixing = RNG.standard_normal((p, p))
    x = RNG.standard_normal((count, groups, p)) @ mixing + 100
    w = RNG.standard_normal((groups, o, p))
    y = np.einsum("rgp,gop->rgo", x, w) + 0.1 * RNG.standard_normal((count, groups, o))
    return x.astype(np.float32), y.astype(np.float32)


def test_moments_are_those_of_numpy() -> None:
    x, y = rows(1000)
    moments = Moments()
    for part in np.array_split(np.arange(1000), 7):
        moments.add(x[part], y[part])
    for g in range(2):
        wide_x, wide_y = x[:, g].astype(np.float64), y[:, g].astype(np.float64)
        # f32 products of chunks of 143 rows; the pivot keeps the mean of 100 out of them
        np.testing.assert_allclose(moments.mean_x[g], wide_x.mean(0), rtol=1e-6)
        np.testing.assert_allclose(moments.xx[g], np.cov(wide_x.T, bias=True), rtol=0, atol=1e-4)
        cross = (wide_x - wide_x.mean(0)).T @ (wide_y - wide_y.mean(0)) / len(x)
        np.testing.assert_allclose(moments.xy[g], cross, rtol=0, atol=2e-3)
        np.testing.assert_allclose(moments.yy[g], wide_y.var(0), rtol=1e-4)


def test_the_diagonal_alone_is_that_of_all() -> None:
    x, y = rows(200)
    whole, alone = Moments(), Moments(diagonal=True)
    whole.add(x, y)
    alone.add(x, y)
    np.testing.assert_allclose(alone.xx, np.einsum("gpp->gp", whole.xx), rtol=1e-5)


def test_sums_of_two_sets_are_those_of_their_union() -> None:
    x, y = rows(300)
    split, whole = SplitMoments(), Moments()
    split.add(x, y, np.arange(300) % 5 == 4)
    whole.pivot = split.train.pivot
    whole.add(x, y)
    both = split.train + split.held
    assert (split.train.count, split.held.count, both.count) == (240, 60, 300)
    np.testing.assert_allclose(both.xx, whole.xx, rtol=0, atol=1e-3)
    np.testing.assert_allclose(both.mean_y, whole.mean_y, rtol=1e-6)


def test_the_error_is_that_of_the_rows() -> None:
    x, y = rows(500)
    moments = Moments()
    moments.add(x, y)
    w, b = RNG.standard_normal((2, 3, 5)), RNG.standard_normal((2, 3))
    apart = y - np.einsum("rgp,gop->rgo", x, w) - b
    assert moments.error(w, b) == pytest.approx(np.square(apart).mean(0).sum(), rel=1e-4)
    centred = apart - apart.mean(0)
    assert moments.error(w, None) == pytest.approx(np.square(centred).mean(0).sum(), rel=1e-3)


def split_of(x: np.ndarray, y: np.ndarray) -> SplitMoments:
    split = SplitMoments()
    split.add(x, y, np.arange(len(x)) % 5 == 4)
    return split


@pytest.mark.parametrize("free_bias", [True, False])
def test_refit_finds_the_map(free_bias: bool) -> None:
    x, y = rows(2000)
    split = split_of(x - 100, y - y.mean(0) if free_bias else y - 100 * 0)
    if not free_bias:
        w = np.linalg.lstsq((x[:, 0] - 100).astype(np.float64), y[:, 0], rcond=None)[0].T
        y = y.copy()
        y[:, 0] = (x[:, 0] - 100) @ w.T
        y[:, 1] = (x[:, 1] - 100) @ w.T
        split = split_of(x - 100, y)
    fit = refit(split.train, split.held, np.zeros((2, 3, 5)), np.zeros((2, 3)), free_bias=free_bias)
    assert fit.ridge == 1e-3  # the least of the choices: the rows are many, the noise is small
    assert fit.after < 0.01 < fit.before
    assert free_bias or not fit.b.any()


def test_refit_leaves_weights_that_nothing_beats() -> None:
    x = RNG.standard_normal((50, 1, 40)).astype(np.float32)
    w = RNG.standard_normal((1, 2, 40))
    y = np.einsum("rgp,gop->rgo", x, w).astype(np.float32)
    split = split_of(x, y)
    fit = refit(split.train, split.held, w, np.zeros((1, 2)), ridges=(1e-3,))
    assert fit.after <= fit.before
    np.testing.assert_allclose(fit.w, w, atol=1e-4)


def test_refit_falls_back_to_the_bias_where_rows_are_few() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((20, 1, 200)).astype(np.float32)
    w = rng.standard_normal((1, 1, 200))
    y = (np.einsum("rgp,gop->rgo", x, w) + 7 + 5 * rng.standard_normal((20, 1, 1))).astype(
        np.float32
    )
    split = split_of(x, y)
    fit = refit(split.train, split.held, w, np.zeros((1, 1)), ridges=(1e-6,))
    assert fit.ridge == 0.0
    np.testing.assert_array_equal(fit.w, w)
    assert fit.b[0, 0] == pytest.approx(7, abs=4)  # the mean of 20 rows with noise of 5


def test_refit_keeps_zeros_where_weights_are_not_free() -> None:
    x, y = rows(2000)
    split = split_of(x, y)
    free = np.arange(5) % 2 == np.zeros((2, 3, 1), int)
    fit = refit(split.train, split.held, np.zeros((2, 3, 5)), np.zeros((2, 3)), free=free)
    assert not fit.w[~free].any()
    assert fit.description == "refitted with ridge 0.001"
    kept = x[:, 0][:, free[0, 0]].astype(np.float64)
    kept, made = kept - kept.mean(0), y[:, 0] - y[:, 0].mean(0)
    wanted = np.linalg.lstsq(kept, made, rcond=None)[0].T
    np.testing.assert_allclose(fit.w[0][:, free[0, 0]], wanted, rtol=0.02, atol=0.02)


def test_rows_held_out_may_stay_unseen() -> None:
    x, y = rows(500)
    split = split_of(x, y)
    zero = np.zeros((2, 3, 5)), np.zeros((2, 3))
    seen, unseen = (
        refit(split.train, split.held, *zero, use_held=again) for again in (True, False)
    )
    assert seen.after == unseen.after
    assert not np.array_equal(seen.w, unseen.w)


def test_moments_of_some_outputs_are_those_of_their_columns() -> None:
    x, y = rows(200, o=6)
    whole, alone = Moments(), Moments()
    whole.add(x, y)
    alone.add(x, y[:, :, ::2])
    some = whole.select_outputs(slice(None, None, 2))
    np.testing.assert_allclose(some.xy, alone.xy, rtol=0, atol=1e-6)
    np.testing.assert_allclose(some.yy, alone.yy, rtol=1e-6)
    w, b = RNG.standard_normal((2, 3, 5)), RNG.standard_normal((2, 3))
    assert some.error(w, b) == pytest.approx(alone.error(w, b), rel=1e-6)


def test_of_many_outputs_some_choose_the_ridge_and_all_are_fitted() -> None:
    x, y = rows(1000, groups=1, o=2 * RIDGE_OUTPUTS)
    split = SplitMoments()
    split.add(x, y, np.arange(1000) % 5 == 4)
    w, b = np.zeros((1, 2 * RIDGE_OUTPUTS, 5)), np.zeros((1, 2 * RIDGE_OUTPUTS))
    found = refit(split.train, split.held, w, b, use_held=False)
    assert found.ridge
    assert np.abs(found.w).min(axis=2).all()
    # what is told is the error of all outputs, not of those that chose
    wanted = split.held.error(found.w, found.b) / split.held.yy.sum()
    assert found.after == pytest.approx(wanted)
    assert found.after < 0.01 * found.before
