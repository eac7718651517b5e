"""Second moments of the inputs and outputs of weighted nodes, and least squares on them.

    H = Cov(x, x) [g, p, p],  C = Cov(x, y) [g, p, o],  means of x and y

summed over sampled results of all samples, in f64 around a pivot (the mean of the first rows), so
that large means cancel before they are squared. With the moments, any weights can be evaluated, and
the best ones found, without reading the data again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from slimc.fit.sparse_columns import least_squares_within
from slimc.ir.arrays import Floats, Mask

BUFFER_ELEMENTS = 1 << 22  # of x, buffered before they are multiplied: many rows per product


class Moments:
    """Streaming sums. add(x: f32[r, g, p], y: f32[r, g, o]); `+` merges two with the same pivot.

    diagonal: only variances of x are summed, xx is [g, p] and there is no xy. Rows with elements
    that are not finite are skipped.
    """

    def __init__(
        self, pivot: tuple[np.ndarray, np.ndarray] | None = None, diagonal: bool = False
    ) -> None:
        self.pivot = pivot
        self.diagonal = diagonal
        self.count = 0
        self._x = self._y = self._xx = self._xy = self._yy = np.zeros(0)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add rows: products in f32 (f64 for f64), sums in f64. The arrays are buffered."""
        x, y = finite_rows(x, y)
        if not len(x):
            return
        if self.pivot is None:
            self.pivot = x.mean(axis=0), y.mean(axis=0)
        self.count += len(x)
        self._waiting.append((x, y))
        if sum(x.size for x, _ in self._waiting) >= BUFFER_ELEMENTS:
            self._sum()

    def _sum(self) -> None:
        """Multiply the buffered rows."""
        if not self._waiting:
            return
        x, y = (self._centered(i) for i in range(2))
        self._waiting = []
        if not self._x.size:
            (groups, p), o = x.shape[:2], y.shape[1]
            self._x, self._y = np.zeros((groups, p)), np.zeros((groups, o))
            self._xx = np.zeros((groups, p) if self.diagonal else (groups, p, p))
            self._xy = np.zeros((groups, p, 0 if self.diagonal else o))
            self._yy = np.zeros((groups, o))
        self._x += x.sum(axis=2, dtype=np.float64)
        self._y += y.sum(axis=2, dtype=np.float64)
        if self.diagonal:
            self._xx += np.square(x).sum(axis=2, dtype=np.float64)
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # then the sums are not finite
                self._xx += x @ x.transpose(0, 2, 1)
                self._xy += x @ y.transpose(0, 2, 1)
        self._yy += np.square(y, dtype=np.float64).sum(axis=2)

    def _centered(self, side: int) -> np.ndarray:
        """Return the buffered x (0) or y (1) minus the pivot, as [g, columns, r]."""
        arrays, pivot = [pair[side] for pair in self._waiting], self._pivots[side]
        centered = np.empty((*pivot.shape, sum(map(len, arrays))), arrays[0].dtype)
        start = 0
        for array in arrays:
            np.subtract(array.transpose(1, 2, 0), pivot[..., None],
                        out=centered[..., start : start + len(array)])  # fmt: skip
            start += len(array)
        return centered

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows. They must share the pivot."""
        if not (self.count and other.count):
            return self if self.count else other
        self._sum()
        other._sum()
        merged = Moments(self.pivot, self.diagonal)
        merged.count = self.count + other.count
        for name in ("_x", "_y", "_xx", "_xy", "_yy"):
            setattr(merged, name, getattr(self, name) + getattr(other, name))
        return merged

    @property
    def mean_x(self) -> Floats:
        """[g, p]."""
        self._sum()
        return self._pivots[0] + self._x / self.count

    @property
    def mean_y(self) -> Floats:
        """[g, o]."""
        self._sum()
        return self._pivots[1] + self._y / self.count

    @property
    def xx(self) -> Floats:
        """Covariance of x, [g, p, p]; with `diagonal` the variances, [g, p]."""
        self._sum()
        mean = self._x / self.count
        outer = mean * mean if self.diagonal else mean[:, :, None] * mean[:, None, :]
        return self._xx / self.count - outer

    @property
    def xy(self) -> Floats:
        """Covariance of x and y, [g, p, o]."""
        self._sum()
        mean = self._x / self.count
        return self._xy / self.count - mean[:, :, None] * (self._y / self.count)[:, None, :]

    @property
    def yy(self) -> Floats:
        """Variance of y, [g, o]."""
        self._sum()
        return np.maximum(self._yy / self.count - np.square(self._y / self.count), 0)

    @property
    def is_finite(self) -> bool:
        """Return whether no product has overflowed: squares beyond f32 do."""
        self._sum()
        sums = (self._xx, self._xy, self._yy)
        return all(np.isfinite(array).all() for array in sums)

    @property
    def _pivots(self) -> tuple[np.ndarray, np.ndarray]:
        if self.pivot is None:
            raise ValueError("moments of no rows")
        return self.pivot

    def error(self, w: Floats, b: Floats | None) -> float:
        """Return E |y - (w x + b)|^2 over all outputs. w: [g, o, p]; b: [g, o], None: the best."""
        self._sum()
        offset = np.einsum("gop,gp->go", w, self._x / self.count)
        quadratic = np.einsum("gop,gop->", w @ self._xx, w) / self.count - float(
            np.sum(offset * offset)
        )
        cross = np.einsum("gop,gpo->", w, self.xy)
        spread = float(self.yy.sum() - 2 * cross + quadratic)
        if b is not None:
            offset = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x) - b
            spread += float(np.square(offset).sum())
        return max(spread, 0.0)

    def select_outputs(self, outputs: slice) -> Moments:
        """Return the moments of some outputs of each group; those of x are shared."""
        self._sum()
        x, y = self._pivots
        selected = Moments((x, y[:, outputs]), self.diagonal)
        selected.count, selected._x, selected._xx = self.count, self._x, self._xx
        selected._y, selected._yy = self._y[:, outputs], self._yy[:, outputs]
        selected._xy = self._xy[..., outputs]
        return selected

    def best_bias(self, w: Floats) -> Floats:
        """Return mean(y) - w mean(x), [g, o]."""
        bias: Floats = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x)
        return bias


def finite_rows(x: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the rows in which all arrays are finite; the arrays themselves if all rows are."""
    arrays = (x, *others)
    if all(np.isfinite(array.sum(dtype=np.float64)) for array in arrays):
        return arrays
    is_finite = np.ones(len(x), bool)
    for array in arrays:
        is_finite &= np.isfinite(array).reshape(len(x), -1).all(axis=1)
    return tuple(array[is_finite] for array in arrays)


@dataclass(frozen=True)
class Fit:
    """Weights [g, o, p] and bias [g, o] of least squares, and how they were found."""

    w: Floats
    b: Floats
    ridge: float | None
    """The lambda; 0: only the bias changed; None: nothing did."""
    before: float
    """Relative squared error of the old weights on held-out rows."""
    after: float
    """That of the new weights."""

    @property
    def has_new_weights(self) -> bool:
        """Return whether the weights changed."""
        return bool(self.ridge)

    @property
    def has_new_bias(self) -> bool:
        """Return whether the bias changed."""
        return self.ridge is not None

    @property
    def description(self) -> str:
        """Description of the change; empty if there is none."""
        if self.ridge is None:
            return ""
        return f"refitted with ridge {self.ridge:g}" if self.ridge else "bias refitted"


_BY_CHOLESKY = 64  # columns from which a call per group pays off: half the arithmetic
RIDGE_OUTPUTS = 128  # outputs of a group that choose the ridge: it is one number for all
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # times the mean of diag H; flat from 1e-4 to 1e-1 on small nets


def refit(
    train: Moments,
    held: Moments,
    w: Floats,
    b: Floats,
    ridges: tuple[float, ...] = RIDGES,
    free_bias: bool = True,
    free: Mask | None = None,
    use_held: bool = True,
) -> Fit:
    """Return the weights next to (w, b) that map x to y, with the ridge chosen on held-out rows.

    w' = w + (C - w H)(H + lambda mean(diag H) I)^-1,  b' = mean(y) - w' mean(x): the ridge shrinks
    toward the old weights. Where no fit is closer on the held-out rows, only the bias changes, or
    nothing; else the chosen ridge is solved again with all rows. Ridges are tried while the error
    falls: it falls, then rises with the ridge. free_bias: False where there is no bias to change:
    then H and C are about zero, and b is unchanged. free: which weights may change
    (`least_squares`). use_held: False where the held-out rows are still to validate the result.
    Source: He et al., ICCV 2017, section 3.1.2 (least squares); the asymmetric form of Nagel et al.
    and of OSSCAR (Meng et al., 2024), "fullseq".
    """
    scale = float(held.yy.sum()) or 1.0
    before = held.error(w, b) / scale
    chosen = best_ridge(train, held, w, b, ridges, free_bias, free)
    weights, bias = _solve(train, w, b, chosen, free_bias, free)
    after = before if chosen is None else held.error(weights, bias) / scale
    if chosen is None or after >= before:
        return Fit(w, b, None, before, before)
    if use_held:
        weights, bias = _solve(train + held, w, b, chosen, free_bias, free)
    return Fit(weights, bias, chosen, before, after)


def _solve(
    moments: Moments,
    w: Floats,
    b: Floats,
    ridge: float | None,
    free_bias: bool,
    free: Mask | None,
) -> tuple[Floats, Floats]:
    """Return weights and bias for a ridge, as `Fit` defines it."""
    if ridge:
        w = least_squares(w, *normal_equations(moments, None if free_bias else b), ridge, free)
    return w, moments.best_bias(w) if free_bias and ridge is not None else b


def best_ridge(
    train: Moments,
    held: Moments,
    w: Floats,
    b: Floats,
    ridges: tuple[float, ...] = RIDGES,
    free_bias: bool = True,
    free: Mask | None = None,
) -> float | None:
    """Return the ridge, as `Fit` defines it, with the least error on held-out rows. See `refit`.

    Of many outputs per group, `RIDGE_OUTPUTS` at equal distances decide: then the cost of a ridge
    is one Cholesky factorization.
    """
    selected = slice(None, None, max(1, w.shape[1] // RIDGE_OUTPUTS))
    train, held = train.select_outputs(selected), held.select_outputs(selected)
    w, b = w[:, selected], b[:, selected]
    free = None if free is None else free[:, selected]
    errors: list[tuple[float, float | None]] = [(held.error(w, b), None)]
    if free_bias:
        errors.append((held.error(w, train.best_bias(w)), 0.0))
    last = np.inf
    normal = normal_equations(train, None if free_bias else b)
    for ridge in ridges:
        weights = least_squares(w, *normal, ridge, free)
        error = held.error(weights, train.best_bias(weights) if free_bias else b)
        errors.append((error, ridge))
        if error > last:
            break
        last = error
    return min(errors, key=lambda pair: pair[0])[1]


def normal_equations(moments: Moments, b: Floats | None) -> tuple[Floats, Floats]:
    """Return H [g, p, p] and C [g, p, o] of least squares.

    b: the bias that is kept; None: it is free, and follows from the means.
    """
    if b is None:
        return moments.xx, moments.xy
    x = moments.mean_x
    return second_moment(moments.xx, x, x), second_moment(moments.xy, x, moments.mean_y - b)


def second_moment(covariance: Floats, a: Floats, b: Floats) -> Floats:
    """Return E a b' of a covariance and the means: [g, i, j] of [g, i, j], [g, i], [g, j]."""
    return covariance + a[:, :, None] * b[:, None, :]


def add_ridge(h: Floats, ridge: float) -> Floats:
    """Return H + ridge mean(diag H) I, positive definite. h: [g, p, p]."""
    damped = h.copy()
    diagonal = np.einsum("gpp->gp", damped)
    diagonal += ridge * diagonal.mean(axis=1, keepdims=True) + np.finfo(np.float32).tiny
    return damped


def least_squares(
    w: Floats, h: Floats, c: Floats, ridge: float, free: Mask | None = None
) -> Floats:
    """Return w + (C - w H)(H + ridge mean(diag H) I)^-1. w: [g, o, p]; h: [g, p, p]; c: [g, p, o].

    The ridge shrinks toward w; where H is zero, the result is w. free: bool[g, o, p], which weights
    may change (by conjugate gradients); None: all.
    """
    damped = add_ridge(h, ridge)
    residual = c - h @ w.transpose(0, 2, 1)
    if free is not None:
        return w + least_squares_within(residual.transpose(0, 2, 1), damped, free)
    if w.shape[2] < _BY_CHOLESKY:
        step = np.linalg.solve(damped, residual)
    else:
        from scipy.linalg import cho_factor, cho_solve

        pairs = zip(damped, residual, strict=True)
        step = np.stack([cho_solve(cho_factor(a, overwrite_a=True), b) for a, b in pairs])
    return w + step.transpose(0, 2, 1)


@dataclass
class SplitMoments:
    """Moments of rows to fit on, and of held-out rows, with one pivot."""

    train: Moments = field(default_factory=Moments)
    held: Moments = field(default_factory=Moments)

    def add(self, x: np.ndarray, y: np.ndarray, is_held: Mask) -> None:
        """Add rows. is_held: bool[r]."""
        if self.train.pivot is None:
            x, y, is_held = finite_rows(x, y, is_held)
            if not len(x):
                return
            self.train.pivot = self.held.pivot = x.mean(axis=0), y.mean(axis=0)
        self.train.add(x[~is_held], y[~is_held])
        self.held.add(x[is_held], y[is_held])

    @property
    def unusable_reason(self) -> str:
        """Why the moments allow no fit; empty if they do."""
        if not (self.train.count and self.held.count):
            return "too few results to fit and validate on"
        if not (self.train.is_finite and self.held.is_finite):
            return "squares of its inputs overflow"
        return ""
