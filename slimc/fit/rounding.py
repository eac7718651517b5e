"""Round weights so that their products, not the weights themselves, change least.

    min over quantized q  tr (w - q) H (w - q)'

H = Cov(x, x) of the inputs of the weights. The rounding error of each input is compensated by the
inputs that are rounded after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from slimc.ir.arrays import Floats, Ints, Mask
from slimc.ir.types import DType

DAMP = 0.01  # of the mean of diag H, as in GPTQ
NOISE = 1e-8  # of the mean over groups: H of a group without data is rounding noise
BLOCK = 128  # columns whose errors are propagated together
BY_TRIANGLE = 64  # columns from which a triangular inverse per group pays off
EXACT = 9  # columns up to which all roundings to one of the two neighbours are compared: 3 x 3 taps


@dataclass(frozen=True, eq=False)
class Lattice:
    """The values that weights [g, o, p] may take: (q - zero) * scale, low <= q <= high.

    q: an integer, or a value of a float `dtype`; scale, zero: f64[g, o, p]. free: bool[g, o, p],
    where weights may be nonzero; None: everywhere.
    """

    scale: Floats
    zero: Floats
    low: float
    high: float
    dtype: DType = DType.I8
    free: Mask | None = None

    def nearest(self, w: Floats, columns: int | slice = slice(None)) -> Floats:
        """Return the nearest quantized values to w[g, o, columns]."""
        scale, zero = self.scale[..., columns], self.zero[..., columns]
        steps = w / scale
        if self.dtype.is_float:
            steps = np.clip(steps, self.low, self.high).astype(self.dtype.numpy).astype(np.float64)
        else:
            steps = np.clip(np.rint(steps) + zero, self.low, self.high)
        values: np.ndarray = (steps - zero) * scale
        return values if self.free is None else np.where(self.free[..., columns], values, 0.0)

    def permute_columns(self, order: Ints) -> Lattice:
        """Return the lattice with its columns in another order. order: i64[g, 1, p]."""
        scale, zero = (np.take_along_axis(array, order, 2) for array in (self.scale, self.zero))
        free = None if self.free is None else np.take_along_axis(self.free, order, 2)
        return replace(self, scale=scale, zero=zero, free=free)

    def second_nearest(self, w: Floats, q: Floats) -> Floats:
        """Return the second nearest values to w, q are the nearest; at an end the inner one."""
        above, below = self.nearest(q + self.scale), self.nearest(q - self.scale)
        return np.where((w > q) & (above > q) | (below == q), above, below)


def round_columns(w: Floats, lattice: Lattice, h: Floats) -> Floats:
    """Return w[g, o, p] rounded to the lattice, with little error of its products. h: f64[g, p, p].

    Up to `EXACT` columns: the best of all roundings to one of two neighbours. Else column by
    column, in the order of decreasing variance, with the Cholesky factor U of the inverse of H.
    Approximate.

        w_j -= (w_i - q_i) / U_ii * U_ij  for all j after i

    Source: Frantar et al., GPTQ, ICLR 2023, sections 3.2 and 3.3 (ordered by diag H).
    """
    if w.shape[2] <= EXACT:
        return _round_exhaustively(w, lattice, h)
    order = np.argsort(-np.einsum("gpp->gp", h), axis=1, kind="stable")
    sorted_h = np.take_along_axis(np.take_along_axis(h, order[:, :, None], 1), order[:, None], 2)
    inverse_order = np.argsort(order, axis=1)[:, None]
    ordered_lattice = lattice.permute_columns(order[:, None])
    remaining = np.take_along_axis(w, order[:, None], 2)
    return np.take_along_axis(
        _round_in_order(remaining, ordered_lattice, inverse_factor(sorted_h)), inverse_order, 2
    )


def _round_in_order(remaining: Floats, lattice: Lattice, factor: Floats) -> Floats:
    """Round columns from the first to the last, adding each error to the columns after it."""
    q = np.empty_like(remaining)
    columns = remaining.shape[2]
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.zeros((*remaining.shape[:2], stop - start))
        for i in range(start, stop):
            q[..., i] = lattice.nearest(remaining[..., i], i)
            error = (remaining[..., i] - q[..., i]) / factor[:, i, i, None]
            remaining[..., i + 1 : stop] -= error[..., None] * factor[:, None, i, i + 1 : stop]
            errors[..., i - start] = error
        remaining[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return q


def inverse_factor(h: Floats) -> Floats:
    """Return U, upper, with U' U = H^-1 of the damped H. h: [g, p, p]."""
    damped = h.copy()
    diagonal = np.einsum("gpp->gp", damped)
    damp = np.maximum(DAMP * diagonal.mean(axis=1, keepdims=True), NOISE * diagonal.mean())
    diagonal += np.where(damp > 0, damp, 1.0)
    return exact_inverse_factor(damped)


def exact_inverse_factor(h: Floats) -> Floats:
    """Return U, upper, with U' U = H^-1. h: [g, p, p], positive definite.

    With J, which reverses columns, and J H J = L L': H = R R' of the upper R = J L J, U = R^-1.
    """
    root = np.linalg.cholesky(h[:, ::-1, ::-1])
    if h.shape[1] < BY_TRIANGLE:
        inverse = np.linalg.inv(root)
    else:
        from scipy.linalg.lapack import dtrtri

        for triangle in root:
            triangle[:] = dtrtri(triangle.T, lower=0, overwrite_c=1)[0].T
        inverse = root
    return np.ascontiguousarray(inverse[:, ::-1, ::-1])


def _round_exhaustively(w: Floats, lattice: Lattice, h: Floats) -> Floats:
    """Try all choices of the nearest and second nearest values, for all channels at once."""
    near = lattice.nearest(w)
    far = lattice.second_nearest(w, near)
    best, least = near, np.full(w.shape[:2], np.inf)
    for choice in product((False, True), repeat=w.shape[2]):
        q = np.where(np.array(choice), far, near)
        error = w - q
        cost = np.einsum("gop,gop->go", error @ h, error)
        better = cost < least
        best = np.where(better[..., None], q, best)
        least = np.where(better, cost, least)
    return best
