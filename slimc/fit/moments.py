"""Second moments of what a weighted node reads and makes, and least squares on them.

    H = Cov(x, x) [g, p, p],  C = Cov(x, y) [g, p, o],  means of x and y

summed over sampled results of all samples, in f64 around a pivot (the mean of the first rows), so
that large means cancel before they are squared. With them any weights are judged, and the best are
found, without looking at the data again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from slimc.fit.sparse_columns import least_squares_within
from slimc.ir.arrays import Floats, Mask

BUFFER_ELEMENTS = 1 << 22  # of x, gathered before they are multiplied: products like many rows


class Moments:
    """Streaming sums. add(x: f32[r, g, p], y: f32[r, g, o]); `+` merges two of equal pivot.

    diagonal: only variances of x are summed, xx is [g, p] and there is no xy. Rows with a number
    that is not finite are left out.
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
        """See rows: products in f32 (f64 for f64), sums in f64. The arrays are kept for a while."""
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
        """Multiply what waits."""
        if not self._waiting:
            return
        x, y = (self._moved(i) for i in range(2))
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

    def _moved(self, side: int) -> np.ndarray:
        """Return the x (0) or y (1) that wait, less the pivot, as [g, columns, r]."""
        arrays, pivot = [pair[side] for pair in self._waiting], self._pivots[side]
        made = np.empty((*pivot.shape, sum(map(len, arrays))), arrays[0].dtype)
        at = 0
        for array in arrays:
            np.subtract(array.transpose(1, 2, 0), pivot[..., None],
                        out=made[..., at : at + len(array)])  # fmt: skip
            at += len(array)
        return made

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows. They must share the pivot."""
        if not (self.count and other.count):
            return self if self.count else other
        self._sum()
        other._sum()
        made = Moments(self.pivot, self.diagonal)
        made.count = self.count + other.count
        for name in ("_x", "_y", "_xx", "_xy", "_yy"):
            setattr(made, name, getattr(self, name) + getattr(other, name))
        return made

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
        """Covariance of x, [g, p, p]; only its diagonal, [g, p], where only that is summed."""
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
        """Tell whether no product has overflowed: squares beyond f32 do."""
        self._sum()
        sums = (self._xx, self._xy, self._yy)
        return all(np.isfinite(one).all() for one in sums)

    @property
    def _pivots(self) -> tuple[np.ndarray, np.ndarray]:
        if self.pivot is None:
            raise ValueError("moments of no rows")
        return self.pivot

    def error(self, w: Floats, b: Floats | None) -> float:
        """Return E |y - (w x + b)|^2 over all outputs. w: [g, o, p]; b: [g, o], None: the best."""
        self._sum()
        off = np.einsum("gop,gp->go", w, self._x / self.count)
        quadratic = np.einsum("gop,gop->", w @ self._xx, w) / self.count - float(np.sum(off * off))
        cross = np.einsum("gop,gpo->", w, self.xy)
        spread = float(self.yy.sum() - 2 * cross + quadratic)
        if b is not None:
            off = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x) - b
            spread += float(np.square(off).sum())
        return max(spread, 0.0)

    def of(self, outputs: slice) -> Moments:
        """Return the moments of some outputs of each group; those of x are shared."""
        self._sum()
        x, y = self._pivots
        made = Moments((x, y[:, outputs]), self.diagonal)
        made.count, made._x, made._xx = self.count, self._x, self._xx
        made._y, made._yy = self._y[:, outputs], self._yy[:, outputs]
        made._xy = self._xy[..., outputs]
        return made

    def best_bias(self, w: Floats) -> Floats:
        """Return mean(y) - w mean(x), [g, o]."""
        bias: Floats = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x)
        return bias


def finite_rows(x: np.ndarray, *beside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the rows of arrays in which x and the others are finite; the arrays if all are."""
    arrays = (x, *beside)
    if all(np.isfinite(array.sum(dtype=np.float64)) for array in arrays):
        return arrays
    fine = np.ones(len(x), bool)
    for array in arrays:
        fine &= np.isfinite(array).reshape(len(x), -1).all(axis=1)
    return tuple(array[fine] for array in arrays)


@dataclass(frozen=True)
class Fit:
    """Weights [g, o, p] and bias [g, o] of least squares, and how they were found.

    ridge: the lambda; 0: only the bias changed; None: nothing did. before, after: relative squared
    error on rows held out, of the given weights and of the found ones.
    """

    w: Floats
    b: Floats
    ridge: float | None
    before: float
    after: float

    @property
    def has_new_weights(self) -> bool:
        """Tell whether the weights changed."""
        return bool(self.ridge)

    @property
    def has_new_bias(self) -> bool:
        """Tell whether the bias changed."""
        return self.ridge is not None

    @property
    def says(self) -> str:
        """Say what changed; nothing where all stays."""
        if self.ridge is None:
            return ""
        return f"refitted with ridge {self.ridge:g}" if self.ridge else "bias refitted"


_BY_CHOLESKY = 64  # columns from which half the arithmetic is worth a call for every group
JUDGED = 128  # outputs of a group, of all, by which the ridge is chosen: it is one number for all
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # times the mean of diag H; flat from 1e-4 to 1e-1 on small nets


def refit(
    train: Moments,
    held: Moments,
    w: Floats,
    b: Floats,
    ridges: tuple[float, ...] = RIDGES,
    free_bias: bool = True,
    free: Mask | None = None,
    again: bool = True,
) -> Fit:
    """Return the weights next to (w, b) that make y of x, the ridge chosen on rows held out.

    w' = w + (C - w H)(H + lambda mean(diag H) I)^-1,  b' = mean(y) - w' mean(x): the ridge shrinks
    toward the given weights. Where none beats them on the rows held out, the bias alone, or
    nothing, changes; else the chosen ridge is solved again with all rows. Ridges are tried while
    they grow nearer: the error falls, then rises with the ridge. free_bias: False where
    there is no bias to change: then H and C are about zero, and b is as given. free: which weights
    may change (`least_squares`). again: False where rows held out are to judge what comes out.
    Source: He et al., ICCV 2017, section 3.1.2 (least squares); the asymmetric form of Nagel et al.
    and of OSSCAR (Meng et al., 2024), "fullseq".
    """
    scale = float(held.yy.sum()) or 1.0
    before = held.error(w, b) / scale
    chosen = best_ridge(train, held, w, b, ridges, free_bias, free)
    made, bias = _fitted(train, w, b, chosen, free_bias, free)
    after = before if chosen is None else held.error(made, bias) / scale
    if chosen is None or after >= before:
        return Fit(w, b, None, before, before)
    if again:
        made, bias = _fitted(train + held, w, b, chosen, free_bias, free)
    return Fit(made, bias, chosen, before, after)


def _fitted(
    moments: Moments,
    w: Floats,
    b: Floats,
    ridge: float | None,
    free_bias: bool,
    free: Mask | None,
) -> tuple[Floats, Floats]:
    """Return weights and bias, found with a ridge as `Fit` has it."""
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
    """Return the ridge, as `Fit` has it, of the least error on rows held out. See `refit`.

    Of many outputs of a group `JUDGED` decide, equally far apart: what a ridge costs is then one
    Cholesky factorisation.
    """
    some = slice(None, None, max(1, w.shape[1] // JUDGED))
    train, held, w, b = train.of(some), held.of(some), w[:, some], b[:, some]
    free = None if free is None else free[:, some]
    found: list[tuple[float, float | None]] = [(held.error(w, b), None)]
    if free_bias:
        found.append((held.error(w, train.best_bias(w)), 0.0))
    last = np.inf
    normal = normal_equations(train, None if free_bias else b)
    for ridge in ridges:
        made = least_squares(w, *normal, ridge, free)
        error = held.error(made, train.best_bias(made) if free_bias else b)
        found.append((error, ridge))
        if error > last:
            break
        last = error
    return min(found, key=lambda pair: pair[0])[1]


def normal_equations(moments: Moments, b: Floats | None) -> tuple[Floats, Floats]:
    """Return H [g, p, p] and C [g, p, o] of least squares.

    b: the bias that stays; None: it is free, and follows from the means.
    """
    if b is None:
        return moments.xx, moments.xy
    x = moments.mean_x
    return about_zero(moments.xx, x, x), about_zero(moments.xy, x, moments.mean_y - b)


def about_zero(covariance: Floats, a: Floats, b: Floats) -> Floats:
    """Return E a b' of a covariance and the means: [g, i, j] of [g, i, j], [g, i], [g, j]."""
    return covariance + a[:, :, None] * b[:, None, :]


def ridged(h: Floats, ridge: float) -> Floats:
    """Return H + ridge mean(diag H) I, positive definite. h: [g, p, p]."""
    damped = h.copy()
    diagonal = np.einsum("gpp->gp", damped)
    diagonal += ridge * diagonal.mean(axis=1, keepdims=True) + np.finfo(np.float32).tiny
    return damped


def least_squares(
    w: Floats, h: Floats, c: Floats, ridge: float, free: Mask | None = None
) -> Floats:
    """Return w + (C - w H)(H + ridge mean(diag H) I)^-1. w: [g, o, p]; h: [g, p, p]; c: [g, p, o].

    The ridge shrinks toward w; where H is zero, w it is. free: bool[g, o, p], which weights may
    change: the best of such, by conjugate gradients; None: all of them.
    """
    damped = ridged(h, ridge)
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
class Split:
    """Moments of rows to fit on, and of rows held out, about one pivot."""

    train: Moments = field(default_factory=Moments)
    held: Moments = field(default_factory=Moments)

    def add(self, x: np.ndarray, y: np.ndarray, is_held: Mask) -> None:
        """See rows. is_held: bool[r]."""
        if self.train.pivot is None:
            x, y, is_held = finite_rows(x, y, is_held)
            if not len(x):
                return
            self.train.pivot = self.held.pivot = x.mean(axis=0), y.mean(axis=0)
        self.train.add(x[~is_held], y[~is_held])
        self.held.add(x[is_held], y[is_held])

    @property
    def unusable(self) -> str:
        """Say why nothing follows from the moments; nothing where something does."""
        if not (self.train.count and self.held.count):
            return "too few results to fit on and judge by"
        if not (self.train.is_finite and self.held.is_finite):
            return "squares of what it reads overflow"
        return ""
