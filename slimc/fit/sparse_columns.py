"""2:4 sparse weights: which two of four to drop by the error of products, and refits.

    E(w') = tr (w - w') H (w - w')'

H = Cov(x, x) of the inputs of the weights. Columns p of w[g, o, p] are (i, taps): four neighbours
along i, at the same tap, are a group.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from slimc.analysis.sparsity import GROUP, STAY, input_axis, is_sparse
from slimc.fit.linear import Linear
from slimc.ir.arrays import Floats, Ints, Mask

BLOCK = 128  # columns whose errors are propagated together
STEPS = 20  # of conjugate gradients, at most: 50 gain nothing on held-out samples
CLOSE = 1e-2  # of the initial residual, at which they end: 1e-4 gains nothing either
PAIRS = np.array([np.isin(range(GROUP), one) for one in combinations(range(GROUP), GROUP - STAY)])


def free_weights(layer: Linear, w: np.ndarray) -> Mask | None:
    """Return which elements of 2:4 weights [g, o, p] may change: the nonzero ones.

    None: the weights are not 2:4, and all may change.
    """
    axis = input_axis(layer.weight_axes, layer.ins)
    if axis is None or not is_sparse(layer.array(w), axis):
        return None
    free: Mask = w != 0
    return free


def drop_pairs(w: Floats, factor: Floats, taps: int) -> Floats:
    """Return w[g, o, p] with two zeros in every group, chosen by the remaining error.

    Groups are visited in turn. With G = [H_F^-1] of a group, F the columns not yet visited, the
    error of dropping a pair S is w_S' G_SS^-1 w_S once all of F compensate for it by w_F -=
    [H_F^-1]_FS G_SS^-1 w_S. Of the six pairs, the one with the least error is dropped, row by row.
    factor: U, upper, of the columns in the order of `group_order`, U' U = H^-1: then [H_F^-1] =
    U_FF' U_FF. Approximate: columns visited before do not change any more.
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, section 3 (columns in turn); Frantar et al.,
    GPTQ, ICLR 2023, section 3.3 (columns after a block change once per block); Hassibi and Stork,
    NIPS 1992 (OBS); Kurtic et al., EMNLP 2022, section 3 (blocks of weights at once).
    """
    order = group_order(w.shape[2], taps)
    remaining = w[..., order]
    inverses = _pair_inverses(factor)
    columns = remaining.shape[2]
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.zeros((*remaining.shape[:2], stop - start))
        for i in range(start, stop, GROUP):
            group = slice(i, i + GROUP)
            gone, solved = _choose_pair(remaining[..., group], inverses[:, i // GROUP])
            error = solved @ factor[:, group, group].transpose(0, 2, 1)
            remaining[..., i:stop] -= error @ factor[:, group, i:stop]
            remaining[..., group][gone] = 0
            errors[..., i - start : i - start + GROUP] = error
        remaining[..., stop:] -= errors @ factor[:, start:stop, stop:]
    pruned = np.empty_like(remaining)
    pruned[..., order] = remaining
    return pruned


def group_order(columns: int, taps: int) -> Ints:
    """Return the order of columns in which the four of each group are neighbours."""
    return np.arange(columns).reshape(-1, GROUP, taps).transpose(0, 2, 1).reshape(-1)


def _pair_inverses(factor: Floats) -> Floats:
    """Return G_SS^-1 of all groups and pairs, zero outside S: [g, groups, 6, 4, 4]."""
    starts = range(0, factor.shape[1], GROUP)
    u = np.stack([factor[:, i : i + GROUP, i : i + GROUP] for i in starts], axis=1)
    g = (u.swapaxes(2, 3) @ u)[:, :, None]
    within = PAIRS[:, :, None] & PAIRS[:, None, :]
    padding = np.eye(GROUP) * ~within
    inverses: Floats = np.linalg.inv(np.where(within, g, padding)) * within
    return inverses


def _choose_pair(w: Floats, inverses: Floats) -> tuple[Mask, Floats]:
    """Return which two of w[g, o, 4] to drop, bool, and G_SS^-1 w_S, zero outside S: [g, o, 4]."""
    solved = (w @ inverses.transpose(0, 2, 1, 3).reshape(len(w), GROUP, -1)).reshape(
        *w.shape[:2], -1, GROUP
    )
    best = np.argmin((solved @ w[..., None])[..., 0], axis=2)
    chosen = np.take_along_axis(solved, best[..., None, None], 2)[:, :, 0]
    return PAIRS[best], chosen


def least_squares_within(residual: Floats, h: Floats, free: Mask) -> Floats:
    """Return the step s[g, o, p], zero where not `free`, with the least tr(s H s' / 2 - s R').

    Where it is free, s H = R. By conjugate gradients, all rows at once, on H with its diagonal
    scaled to ones; each step is closer than the one before. They end once the residuals of all rows
    together are `CLOSE` times the initial ones, or after `STEPS`. In f32: rounding is far below the
    remaining residual. residual: R[g, o, p]; h: [g, p, p], positive definite.
    """
    root = 1 / np.sqrt(np.einsum("gpp->gp", h))[:, None]
    remaining = residual * root * free
    unit = float(np.abs(remaining).max(initial=0)) or 1.0
    remaining = (remaining / unit).astype(np.float32)
    scaled = (h * root * root.transpose(0, 2, 1)).astype(np.float32)
    step, toward = np.zeros_like(remaining), remaining.copy()
    size = first = _row_products(remaining, remaining)
    for _ in range(STEPS):
        if size.sum() <= CLOSE**2 * first.sum():
            break
        pushed = toward @ scaled
        pushed *= free
        length = _safe_ratio(size, _row_products(toward, pushed))
        step += length * toward
        remaining -= length * pushed
        last, size = size, _row_products(remaining, remaining)
        toward *= _safe_ratio(size, last)
        toward += remaining
    change: Floats = step * (unit * root)
    return change


def _row_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of rows, [g, o, 1]."""
    sums: np.ndarray = np.einsum("gop,gop->go", a, b)[..., None]
    return sums


def _safe_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, 0 where b is 0: a row that has converged."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0)
