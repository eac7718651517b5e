from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slimc.calib.rounding import Lattice, lay_grid, round_columns
from slimc.ir.graph import Quantization
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


@pytest.mark.parametrize("high", [1, 7])
def test_a_grid_of_few_numbers_is_clipped(high: int) -> None:
    w = RNG.standard_normal((4, 200)).astype(np.float32)
    amax = np.abs(w).max(axis=1)
    wide = Quantization(
        DType.I8, (amax / high).astype(np.float32), np.zeros(4, np.int8), -high, high, 0
    )
    laid = lay_grid(wide, w, np.ones_like(w))

    def error(record: Quantization) -> float:
        return float(np.square(w - record.dequantize(record.quantize(w))).sum())

    assert error(laid) < error(wide)
    assert (laid.scale <= wide.scale).all()


def test_what_is_important_decides_the_clip() -> None:
    w = np.array([[0.1, -0.1, 0.09, 1.0]], np.float32)
    record = Quantization(DType.I8, np.array([1 / 7], np.float32), np.zeros(1, np.int8), -7, 7, 0)
    small = lay_grid(record, w, np.array([[1.0, 1.0, 1.0, 0.0]]))
    large = lay_grid(record, w, np.array([[0.0, 0.0, 0.0, 1.0]]))
    assert small.scale[0] < large.scale[0]


def test_a_channel_of_zeros_keeps_its_scale() -> None:
    record = Quantization(DType.I8, np.ones(2, np.float32), np.zeros(2, np.int8), -7, 7, 0)
    laid = lay_grid(record, np.zeros((2, 3), np.float32), np.ones((2, 3)))
    np.testing.assert_array_equal(laid.scale, record.scale)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_an_asymmetric_grid_covers_one_side(axis: int | None) -> None:
    w = np.linspace(0.5, 2, 12, dtype=np.float32).reshape(3, 4)
    count = () if axis is None else (w.shape[axis],)
    record = Quantization(
        DType.U8, np.ones(count, np.float32), np.full(count, 3, np.uint8), 0, 15, axis
    )
    laid = lay_grid(record, w, np.ones_like(w))
    assert not laid.zero_point.any()  # nothing lies below zero
    np.testing.assert_allclose(laid.dequantize(laid.quantize(w)), w, atol=float(laid.scale.max()))
