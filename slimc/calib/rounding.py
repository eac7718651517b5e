"""Round weights to a grid so that their products, not they themselves, change least.

    min over q on the grid  tr (w - q) H (w - q)'

H = Cov(x, x) of what the weights are multiplied with. Each input's rounding error is made up for by
the inputs that are rounded after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from slimc.calib.observers import TINY
from slimc.ir.graph import Quantization

DAMP = 0.01  # of the mean of diag H: what GPTQ takes
BLOCK = 128  # columns whose errors are handed on together
EXACT = 9  # columns up to which all roundings to one of the two neighbours are compared: 3 x 3 taps


@dataclass(frozen=True, eq=False)
class Lattice:
    """The numbers that weights [g, o, p] may take: (q - zero) * scale, low <= q <= high.

    scale, zero: f64[g, o, p]; rounded: to the nearest of the integers, or of the floats of a dtype.
    """

    scale: np.ndarray
    zero: np.ndarray
    low: float
    high: float
    rounded: Callable[[np.ndarray], np.ndarray] = np.rint

    def nearest(self, w: np.ndarray, at: int | slice = slice(None)) -> np.ndarray:
        """Return the nearest numbers to w[g, o, columns]. at: which columns these are."""
        scale, zero = self.scale[..., at], self.zero[..., at]
        steps = np.clip(self.rounded(w / scale) + zero, self.low, self.high)
        found: np.ndarray = (steps - zero) * scale
        return found

    def permuted(self, order: np.ndarray) -> Lattice:
        """Return the lattice of columns in another order. order: i64[g, 1, p]."""
        scale, zero = (np.take_along_axis(one, order, 2) for one in (self.scale, self.zero))
        return replace(self, scale=scale, zero=zero)

    def beside(self, w: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Return the other neighbours of w, where q are the nearest; at an end the one inside."""
        above, below = self.nearest(q + self.scale), self.nearest(q - self.scale)
        return np.where((w > q) & (above > q) | (below == q), above, below)


def round_columns(w: np.ndarray, lattice: Lattice, h: np.ndarray) -> np.ndarray:
    """Return w[g, o, p] on the lattice, with little error of its products. h: f64[g, p, p].

    Up to `EXACT` columns: the best of all roundings to one of two neighbours. Else column by
    column, those with the largest variance first, by the Cholesky factor U of the inverse of H:
    w_j -= (w_i - q_i) / U_ii * U_ij for all j after i. Approximate.
    Source: Frantar et al., GPTQ, ICLR 2023, sections 3.2 and 3.3 (with order by diag H).
    """
    if w.shape[2] <= EXACT:
        return _best_neighbours(w, lattice, h)
    order = np.argsort(-np.einsum("gpp->gp", h), axis=1, kind="stable")
    sorted_h = np.take_along_axis(np.take_along_axis(h, order[:, :, None], 1), order[:, None], 2)
    back = np.argsort(order, axis=1)[:, None]
    own = lattice.permuted(order[:, None])
    left = np.take_along_axis(w, order[:, None], 2)
    return np.take_along_axis(_in_turn(left, own, _inverse_factor(sorted_h)), back, 2)


def _in_turn(left: np.ndarray, lattice: Lattice, factor: np.ndarray) -> np.ndarray:
    """Round columns from the first to the last; `left` is what is left to round."""
    q = np.empty_like(left)
    columns = left.shape[2]
    for start in range(0, columns, BLOCK):
        stop = min(start + BLOCK, columns)
        errors = np.zeros((*left.shape[:2], stop - start))
        for i in range(start, stop):
            q[..., i] = lattice.nearest(left[..., i], i)
            error = (left[..., i] - q[..., i]) / factor[:, i, i, None]
            left[..., i + 1 : stop] -= error[..., None] * factor[:, None, i, i + 1 : stop]
            errors[..., i - start] = error
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return q


def _inverse_factor(h: np.ndarray) -> np.ndarray:
    """Return U, upper, with U' U = H^-1 of the damped H. h: [g, p, p]."""
    damped = h.copy()
    diagonal = np.einsum("gpp->gp", damped)
    damp = DAMP * diagonal.mean(axis=1, keepdims=True)
    diagonal += np.where(damp > 0, damp, 1.0)
    root = np.linalg.inv(np.linalg.cholesky(damped))
    return np.linalg.cholesky(root.transpose(0, 2, 1) @ root).transpose(0, 2, 1)


def _best_neighbours(w: np.ndarray, lattice: Lattice, h: np.ndarray) -> np.ndarray:
    """Try all choices of the nearest and the other neighbour, each for all channels at once."""
    near = lattice.nearest(w)
    far = lattice.beside(w, near)
    best, least = near, np.full(w.shape[:2], np.inf)
    for choice in product((False, True), repeat=w.shape[2]):
        q = np.where(np.array(choice), far, near)
        error = w - q
        cost = np.einsum("gop,gop->go", error @ h, error)
        better = cost < least
        best = np.where(better[..., None], q, best)
        least = np.where(better, cost, least)
    return best


CLIPS = tuple(np.linspace(1.0, 0.35, 27))  # shares of the range that are tried: 0.35 as in MQBench


def lay_grid(record: Quantization, w: np.ndarray, importance: np.ndarray) -> Quantization:
    """Return a grid of the same form laid for weights: the clip with the least squared error.

    error of a scale = sum of importance * (w - nearest(w))^2 over the weights that have it.
    importance: of the weight's shape, such as the variance of what each is multiplied with.
    """
    rows = grouped(w, record)
    low, high = (np.asarray(f(rows, axis=-1, initial=0.0)) for f in (np.min, np.max))
    best, least = record, np.full(record.scale.shape, np.inf)
    for share in CLIPS:
        tried = _clipped(record, low * share, high * share)
        nearest = tried.dequantize(tried.quantize(w.astype(np.float32)))
        error = grouped(importance * np.square(w - nearest), record).sum(axis=-1)
        better = error < least
        least = np.where(better, error, least)
        best = replace(
            tried,
            scale=np.where(better, tried.scale, best.scale),
            zero_point=np.where(better, tried.zero_point, best.zero_point),
        )
    return best


def grouped(array: np.ndarray, record: Quantization) -> np.ndarray:
    """Return the elements of a value by the scale that they have: [*record.scale.shape, elements].

    A last block that is not full is filled up with zeros.
    """
    if record.axis is None:
        return array.reshape(-1)
    if not record.block:
        return np.moveaxis(array, record.axis, 0).reshape(array.shape[record.axis], -1)
    moved = np.moveaxis(array, record.axis, -1)
    missing = -moved.shape[-1] % record.block
    full = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, missing)])
    blocks = full.reshape(*moved.shape[:-1], -1, record.block)
    return np.moveaxis(blocks, -2, record.axis)


def _clipped(record: Quantization, low: np.ndarray, high: np.ndarray) -> Quantization:
    """Lay the grid over low..high, symmetric where it is; where that is nothing it stays."""
    symmetric = not record.zero_point.any()
    if symmetric:
        scale = np.maximum(-low, high) / record.high
    else:
        scale = (high - low) / (record.high - record.low)
    scale = np.where(scale > TINY, scale, record.scale).astype(np.float32)
    zero = record.zero_point
    if not symmetric:
        laid = np.clip(np.rint(record.low - low / scale), record.low, record.high)
        zero = laid.astype(record.dtype.numpy)
    return replace(record, scale=scale, zero_point=zero)
