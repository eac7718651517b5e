"""Weights of which two in four are zero: which to drop by the error of products, and refits.

    E(w') = tr (w - w') H (w - w')'

H = Cov(x, x) of what the weights are multiplied with. Columns p of w[g, o, p] are (i, taps): four
neighbours along i, at the same tap, are a group.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from slimc.analysis.sparsity import GROUP, STAY, is_sparse
from slimc.calib.linear import Linear

BLOCK = 128  # columns whose errors are handed on together
STEPS = 20  # of conjugate gradients, at most: 50 gain nothing on samples held out
CLOSE = 1e-2  # of the residual at the start, at which they end: 1e-4 gains nothing either


def input_axis(one: Linear) -> int | None:
    """Return the axis of the weight that holds the input channels and nothing else."""
    for i, axis in enumerate(one.weight_axes):
        names = [label.name for term in axis for label in term if one.sizes[label.name] > 1]
        if names and names == [name for name in one.ins if one.sizes[name] > 1]:
            return i
    return None


def free_numbers(one: Linear, w: np.ndarray) -> np.ndarray | None:
    """Tell which numbers of 2:4 weights [g, o, p] may change: those that are not zero.

    None: the weights are not 2:4, and all may.
    """
    axis = input_axis(one)
    if axis is None or not is_sparse(one.array(w), axis):
        return None
    found: np.ndarray = w != 0
    return found


def drop_pairs(w: np.ndarray, factor: np.ndarray, taps: int) -> np.ndarray:
    """Return w[g, o, p] with two zeros in every group, chosen by the error that is left.

    Groups are visited in turn. With G = [H_F^-1] of a group, F the columns not yet visited, the
    error of dropping a pair S is w_S' G_SS^-1 w_S once all of F make up for it by
    w_F -= [H_F^-1]_FS G_SS^-1 w_S: of the six pairs that of the least error is dropped, row by row.
    factor: U, upper, of the columns in the order of `by_group`, U' U = H^-1: then
    [H_F^-1] = U_FF' U_FF. Approximate: columns visited before are not changed any more.
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, section 3 (columns in turn); Hassibi and
    Stork, NIPS 1992 (OBS); Kurtic et al., EMNLP 2022, section 3 (blocks of weights at once).
    """
    order = by_group(w.shape[2], taps)
    left = w[..., order]
    columns = left.shape[2]
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.zeros((*left.shape[:2], stop - start))
        for i in range(start, stop, GROUP):
            at = slice(i, i + GROUP)
            gone, error = _least_pair(left[..., at], factor[:, at, at])
            left[..., i:stop] -= error @ factor[:, at, i:stop]
            left[..., at][gone] = 0
            errors[..., i - start : i - start + GROUP] = error
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    made = np.empty_like(left)
    made[..., order] = left
    return made


def by_group(columns: int, taps: int) -> np.ndarray:
    """Return the order of columns in which the four of each group are neighbours."""
    return np.arange(columns).reshape(-1, GROUP, taps).transpose(0, 2, 1).reshape(-1)


def _least_pair(w: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which two of four numbers [g, o, 4] go, and U_S G_SS^-1 w_S. u: [g, 4, 4], upper."""
    g = u.transpose(0, 2, 1) @ u
    gone, best = np.zeros(w.shape, bool), np.zeros(w.shape)
    least = np.full(w.shape[:2], np.inf)
    for pair in combinations(range(GROUP), GROUP - STAY):
        at = list(pair)
        inverse = np.linalg.inv(g[:, at][:, :, at])
        solved = w[..., at] @ inverse
        error = np.einsum("gos,gos->go", solved, w[..., at])
        better = (error < least)[..., None]
        least = np.where(better[..., 0], error, least)
        best = np.where(better, solved @ u[:, :, at].transpose(0, 2, 1), best)
        gone = np.where(better, np.isin(np.arange(GROUP), at), gone)
    return gone, best


def least_squares_within(residual: np.ndarray, h: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the step s[g, o, p], zero where not `free`, with the least tr(s H s' / 2 - s R').

    Where it is free, s H = R. By conjugate gradients, all rows at once, with the diagonal of H as
    preconditioner; each step is nearer than the one before. residual: R[g, o, p]; h: [g, p, p],
    positive definite.
    """
    diagonal = np.einsum("gpp->gp", h)[:, None]
    left = residual * free
    step: np.ndarray = np.zeros_like(left)
    toward = left / diagonal
    size = first = np.einsum("gop,gop->go", left, toward)
    for _ in range(STEPS):
        if (size <= CLOSE**2 * first).all():
            break
        pushed = (toward @ h) * free
        curvature = np.einsum("gop,gop->go", toward, pushed)
        length = np.where(size > 0, size / np.where(curvature > 0, curvature, np.inf), 0)
        step += length[..., None] * toward
        left -= length[..., None] * pushed
        scaled = left / diagonal
        last, size = size, np.einsum("gop,gop->go", left, scaled)
        toward = (
            scaled + np.where(last > 0, size / np.where(last > 0, last, 1), 0)[..., None] * toward
        )
    return step
