"""Weights of which two in four are zero: which to drop by the error of products, and refits.

    E(w') = tr (w - w') H (w - w')'

H = Cov(x, x) of what the weights are multiplied with. Columns p of w[g, o, p] are (i, taps): four
neighbours along i, at the same tap, are a group.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from slimc.analysis.sparsity import GROUP, STAY, input_axis, is_sparse
from slimc.fit.linear import Linear
from slimc.ir.arrays import Floats, Ints, Mask

BLOCK = 128  # columns whose errors are handed on together
STEPS = 20  # of conjugate gradients, at most: 50 gain nothing on samples held out
CLOSE = 1e-2  # of the residual at the start, at which they end: 1e-4 gains nothing either
PAIRS = np.array([np.isin(range(GROUP), one) for one in combinations(range(GROUP), GROUP - STAY)])


def free_numbers(one: Linear, w: np.ndarray) -> Mask | None:
    """Tell which numbers of 2:4 weights [g, o, p] may change: those that are not zero.

    None: the weights are not 2:4, and all may.
    """
    axis = input_axis(one.weight_axes, one.ins)
    if axis is None or not is_sparse(one.array(w), axis):
        return None
    free: Mask = w != 0
    return free


def drop_pairs(w: Floats, factor: Floats, taps: int) -> Floats:
    """Return w[g, o, p] with two zeros in every group, chosen by the error that is left.

    Groups are visited in turn. With G = [H_F^-1] of a group, F the columns not yet visited, the
    error of dropping a pair S is w_S' G_SS^-1 w_S once all of F make up for it by
    w_F -= [H_F^-1]_FS G_SS^-1 w_S: of the six pairs that of the least error is dropped, row by row.
    factor: U, upper, of the columns in the order of `by_group`, U' U = H^-1: then
    [H_F^-1] = U_FF' U_FF. Approximate: columns visited before are not changed any more.
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, section 3 (columns in turn); Frantar et al.,
    GPTQ, ICLR 2023, section 3.3 (columns behind a block are changed once for all of it); Hassibi
    and Stork, NIPS 1992 (OBS); Kurtic et al., EMNLP 2022, section 3 (blocks of weights at once).
    """
    order = by_group(w.shape[2], taps)
    left = w[..., order]
    inverses = _pair_inverses(factor)
    columns = left.shape[2]
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.zeros((*left.shape[:2], stop - start))
        for i in range(start, stop, GROUP):
            at = slice(i, i + GROUP)
            gone, solved = _least_pair(left[..., at], inverses[:, i // GROUP])
            error = solved @ factor[:, at, at].transpose(0, 2, 1)
            left[..., i:stop] -= error @ factor[:, at, i:stop]
            left[..., at][gone] = 0
            errors[..., i - start : i - start + GROUP] = error
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    made = np.empty_like(left)
    made[..., order] = left
    return made


def by_group(columns: int, taps: int) -> Ints:
    """Return the order of columns in which the four of each group are neighbours."""
    return np.arange(columns).reshape(-1, GROUP, taps).transpose(0, 2, 1).reshape(-1)


def _pair_inverses(factor: Floats) -> Floats:
    """Return G_SS^-1 of all groups and pairs, zero beside S: [g, groups, 6, 4, 4]."""
    starts = range(0, factor.shape[1], GROUP)
    u = np.stack([factor[:, i : i + GROUP, i : i + GROUP] for i in starts], axis=1)
    g = (u.swapaxes(2, 3) @ u)[:, :, None]
    within = PAIRS[:, :, None] & PAIRS[:, None, :]
    beside = np.eye(GROUP) * ~within
    inverses: Floats = np.linalg.inv(np.where(within, g, beside)) * within
    return inverses


def _least_pair(w: Floats, inverses: Floats) -> tuple[Mask, Floats]:
    """Return which two of w[g, o, 4] go, bool, and G_SS^-1 w_S, zero beside S: [g, o, 4]."""
    solved = (w @ inverses.transpose(0, 2, 1, 3).reshape(len(w), GROUP, -1)).reshape(
        *w.shape[:2], -1, GROUP
    )
    best = np.argmin((solved @ w[..., None])[..., 0], axis=2)
    chosen = np.take_along_axis(solved, best[..., None, None], 2)[:, :, 0]
    return PAIRS[best], chosen


def least_squares_within(residual: Floats, h: Floats, free: Mask) -> Floats:
    """Return the step s[g, o, p], zero where not `free`, with the least tr(s H s' / 2 - s R').

    Where it is free, s H = R. By conjugate gradients, all rows at once, on H with its diagonal
    scaled to ones; each step is nearer than the one before. They end once the residuals of all
    rows together are `CLOSE` times those at the start, or after `STEPS`. In f32: rounding is far
    below what is left then. residual: R[g, o, p]; h: [g, p, p], positive definite.
    """
    root = 1 / np.sqrt(np.einsum("gpp->gp", h))[:, None]
    left = residual * root * free
    unit = float(np.abs(left).max(initial=0)) or 1.0
    left = (left / unit).astype(np.float32)
    scaled = (h * root * root.transpose(0, 2, 1)).astype(np.float32)
    step, toward = np.zeros_like(left), left.copy()
    size = first = _dots(left, left)
    for _ in range(STEPS):
        if size.sum() <= CLOSE**2 * first.sum():
            break
        pushed = toward @ scaled
        pushed *= free
        length = _ratio(size, _dots(toward, pushed))
        step += length * toward
        left -= length * pushed
        last, size = size, _dots(left, left)
        toward *= _ratio(size, last)
        toward += left
    change: Floats = step * (unit * root)
    return change


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of rows, [g, o, 1]."""
    sums: np.ndarray = np.einsum("gop,gop->go", a, b)[..., None]
    return sums


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, 0 where b is: a row that is done."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0)
