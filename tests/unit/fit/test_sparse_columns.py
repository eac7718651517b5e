from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.analysis.sparsity import largest_two
from slimc.fit.linear import as_linear
from slimc.fit.rounding import inverse_factor
from slimc.fit.sparse_columns import drop_pairs, free_weights, group_order, least_squares_within
from slimc.ir.text import parse_text
from slimc.ops import OPS

RNG = np.random.default_rng(0)


def covariance(columns: int) -> np.ndarray:
    """Return H [1, p, p] of correlated columns, positive definite."""
    x = RNG.standard_normal((4 * columns, columns)) @ RNG.standard_normal((columns, columns))
    return (x.T @ x / (4 * columns) + 0.1 * np.eye(columns))[None]


def cost(w: np.ndarray, made: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Return the error of the products of each row."""
    off = (w - made)[0]
    return np.einsum("op,pq,oq->o", off, h[0], off)


def best_within(w: np.ndarray, h: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the nearest weights [1, o, p] that are zero where not free[o, p], row by row."""
    made = np.zeros_like(w)
    for row, stays in enumerate(free):
        made[0, row, stays] = np.linalg.solve(h[0][np.ix_(stays, stays)], h[0][stays] @ w[0, row])
    return made


def factor_of(h: np.ndarray) -> np.ndarray:
    """Return U with U' U = H^-1, as `inverse_factor` does but undamped."""
    return np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)


def dropping(pair: tuple[int, ...], outs: int, columns: int) -> np.ndarray:
    return np.broadcast_to(~np.isin(np.arange(columns), pair), (outs, columns))


def test_of_one_group_the_best_of_six_pairs_goes() -> None:
    w, h = RNG.standard_normal((1, 50, 4)), covariance(4)
    made = drop_pairs(w, factor_of(h), taps=1)
    every = [
        cost(w, best_within(w, h, dropping(pair, 50, 4)), h) for pair in combinations(range(4), 2)
    ]
    assert ((made == 0).sum(axis=2) == 2).all()
    np.testing.assert_allclose(cost(w, made, h), np.min(every, axis=0), rtol=1e-9)


def test_the_first_group_goes_by_what_all_columns_behind_make_up_for() -> None:
    w, h = RNG.standard_normal((1, 30, 12)), covariance(12)
    made = drop_pairs(w, factor_of(h), taps=1)
    pairs = list(combinations(range(4), 2))
    every = [cost(w, best_within(w, h, dropping(pair, 30, 12)), h) for pair in pairs]
    gone = [tuple(np.flatnonzero(row[:4] == 0)) for row in made[0]]
    assert gone == [pairs[i] for i in np.argmin(every, axis=0)]


@pytest.mark.parametrize("taps", [1, 9])
def test_products_are_nearer_than_with_the_largest(taps: int) -> None:
    ins = 32
    w, h = RNG.standard_normal((1, 20, ins * taps)), covariance(ins * taps)
    order = group_order(ins * taps, taps)
    made = drop_pairs(w, inverse_factor(h[:, order][:, :, order]), taps)
    split = made.reshape(20, ins // 4, 4, taps)
    assert (np.count_nonzero(split, axis=2) == 2).all()
    largest = w * largest_two(w.reshape(20, ins, taps), 1).reshape(w.shape)
    assert cost(w, made, h).sum() < 0.7 * cost(w, largest, h).sum()


def test_least_squares_within_a_pattern_is_that_of_each_row_alone() -> None:
    w, h = RNG.standard_normal((1, 6, 16)), covariance(16)
    free = RNG.random((6, 16)) < 0.5
    start = w * free
    made = start + least_squares_within((w - start) @ h, h, free[None])
    wanted = best_within(w, h, free)
    assert not made[0][~free].any()
    # The energy of the error falls with the square of the residual, CLOSE.
    np.testing.assert_allclose(cost(w, made, h), cost(w, wanted, h), rtol=1e-2)


def test_nothing_moves_where_nothing_may_or_need() -> None:
    h = covariance(8)
    step = least_squares_within(np.ones((1, 2, 8)), h, np.zeros((1, 2, 8), bool))
    assert not step.any()
    assert not least_squares_within(np.zeros((1, 2, 8)), h, np.ones((1, 2, 8), bool)).any()


def test_numbers_of_2_4_weights_may_change_where_they_are_not_zero() -> None:
    graph = parse_text("""
graph (%x: f32[1,8,5,5]) -> (%y)
  %w = constant f32[6,8,3,3] random(0)
  %y = Conv(%x, %w) @conv
""")
    one = as_linear(graph, OPS, infer(graph, OPS), graph.by_name["conv"])
    assert one is not None
    w = graph.constants["w"].array
    assert free_weights(one, one.matrix(w)) is None
    sparse = one.matrix(w * largest_two(w, 1))
    np.testing.assert_array_equal(free_weights(one, sparse), sparse != 0)
