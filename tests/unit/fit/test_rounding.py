from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from slimc.fit.rounding import Lattice, exact_inverse_factor, inverse_factor, round_columns
from slimc.ir.types import DType

RNG = np.random.default_rng(0)


def covariance(columns: int, groups: int = 1) -> np.ndarray:
    """Return H of correlated columns, as neighbouring pixels are."""
    mix = np.eye(columns) + 0.8 * np.eye(columns, k=1) + 0.3 * RNG.standard_normal((columns,) * 2)
    x = RNG.standard_normal((groups, 4 * columns, columns)) @ mix
    return x.transpose(0, 2, 1) @ x / (4 * columns)


def lattice(w: np.ndarray, high: int) -> Lattice:
    scale = np.abs(w).max(axis=2, keepdims=True) / high
    return Lattice(np.broadcast_to(scale, w.shape), np.zeros(w.shape), -high, high)


def cost(w: np.ndarray, q: np.ndarray, h: np.ndarray) -> float:
    return float(np.einsum("gop,gpq,goq->", w - q, h, w - q))


@pytest.mark.parametrize(("groups", "outs", "columns"), [(1, 8, 40), (1, 4, 300), (6, 1, 25)])
def test_columns_are_rounded_with_less_error_of_products(
    groups: int, outs: int, columns: int
) -> None:
    w = RNG.standard_normal((groups, outs, columns))
    h = covariance(columns, groups)
    grid = lattice(w, 7)
    q = round_columns(w, grid, h)
    np.testing.assert_allclose(q, grid.nearest(q), atol=1e-12)  # numbers of the grid
    assert cost(w, q, h) < 0.7 * cost(w, grid.nearest(w), h)


def test_nothing_is_gained_where_columns_are_independent() -> None:
    w = RNG.standard_normal((1, 3, 20))
    grid = lattice(w, 7)
    q = round_columns(w, grid, np.eye(20)[None])
    np.testing.assert_allclose(q, grid.nearest(w))


def test_few_columns_are_rounded_to_the_best_neighbours() -> None:
    w = RNG.standard_normal((3, 2, 4))
    h = covariance(4, 3)
    grid = lattice(w, 3)
    q = round_columns(w, grid, h)
    step, at = grid.scale, np.floor(w / grid.scale)
    for g, o in product(range(3), range(2)):
        tried = [
            np.clip(at[g, o] + choice, -3, 3) * step[g, o] for choice in product((0, 1), repeat=4)
        ]
        errors = [(w[g, o] - one) @ h[g] @ (w[g, o] - one) for one in tried]
        made = (w[g, o] - q[g, o]) @ h[g] @ (w[g, o] - q[g, o])
        assert made == pytest.approx(min(errors), rel=1e-9)


def test_columns_that_are_never_used_do_no_harm() -> None:
    w = RNG.standard_normal((1, 3, 16))
    q = round_columns(w, lattice(w, 7), np.zeros((1, 16, 16)))
    assert np.isfinite(q).all()


def test_numbers_of_a_float_type_are_a_grid_too() -> None:
    w = RNG.standard_normal((1, 3, 40))
    h = covariance(40)
    grid = replace(lattice(w, 448), dtype=DType.F8E4M3FN)
    q = round_columns(w, grid, h)
    steps = (q / grid.scale).astype(np.float32)
    np.testing.assert_allclose(steps, steps.astype(DType.F8E4M3FN.numpy).astype(np.float32))
    assert cost(w, q, h) < cost(w, grid.nearest(w), h)


@pytest.mark.parametrize("columns", [8, 40])
def test_only_zero_stands_where_weights_are_not_free(columns: int) -> None:
    w = RNG.standard_normal((2, 5, columns))
    free = RNG.random(w.shape) < 0.5
    grid = replace(lattice(w * free, 7), free=free)
    h = covariance(columns, 2)
    q = round_columns(w * free, grid, h)
    assert not q[~free].any()
    assert cost(w * free, q, h) <= cost(w * free, grid.nearest(w * free), h)


def test_a_group_without_data_is_damped_by_the_others() -> None:
    h = covariance(9, groups=2)
    h[1] = -1e-10 * np.eye(9)  # what is left of zeros that sums were subtracted from
    factor = inverse_factor(h)
    assert np.isfinite(factor).all()
    np.testing.assert_array_equal(factor[0], inverse_factor(h[:1])[0])


@pytest.mark.parametrize("columns", [4, 80])
def test_the_exact_factor_is_upper_and_its_square_the_inverse(columns: int) -> None:
    h = covariance(columns, groups=2) + 0.1 * np.eye(columns)
    factor = exact_inverse_factor(h)
    np.testing.assert_array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(
        factor.transpose(0, 2, 1) @ factor, np.linalg.inv(h), rtol=0, atol=1e-9
    )
