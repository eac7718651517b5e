"""Second moments of what a weighted node reads and makes, and least squares on them.

    H = Cov(x, x) [g, p, p],  C = Cov(x, y) [g, p, o],  means of x and y

summed over sampled results of all samples, in f64 around a pivot (the mean of the first rows), so
that large means cancel before they are squared. With them any weights are judged, and the best are
found, without looking at the data again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class Moments:
    """Streaming sums. add(x: f32[r, g, p], y: f32[r, g, o]); `+` merges two of equal pivot.

    diagonal: only variances of x are summed, xx is [g, p] and there is no xy.
    """

    def __init__(
        self, pivot: tuple[np.ndarray, np.ndarray] | None = None, diagonal: bool = False
    ) -> None:
        self.pivot = pivot
        self.diagonal = diagonal
        self.count = 0
        self._x = self._y = self._xx = self._xy = self._yy = np.zeros(0)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """See rows: products in the precision of the arrays, sums in f64."""
        if not len(x):
            return
        if self.pivot is None:
            self.pivot = x.mean(axis=0), y.mean(axis=0)
        if not self.count:
            (groups, p), o = x.shape[1:], y.shape[2]
            self._x, self._y = np.zeros((groups, p)), np.zeros((groups, o))
            self._xx = np.zeros((groups, p) if self.diagonal else (groups, p, p))
            self._xy = np.zeros((groups, p, 0 if self.diagonal else o))
            self._yy = np.zeros((groups, o))
        moved_x = np.ascontiguousarray((x - self.pivot[0]).transpose(1, 2, 0))
        moved_y = (y - self.pivot[1]).transpose(1, 0, 2)
        self.count += len(x)
        self._x += moved_x.sum(axis=2, dtype=np.float64)
        self._y += moved_y.sum(axis=1, dtype=np.float64)
        if self.diagonal:
            self._xx += np.square(moved_x).sum(axis=2, dtype=np.float64)
        else:
            self._xx += moved_x @ moved_x.transpose(0, 2, 1)
            self._xy += moved_x @ moved_y
        self._yy += np.square(moved_y, dtype=np.float64).sum(axis=1)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows. They must share the pivot."""
        if not (self.count and other.count):
            return self if self.count else other
        made = Moments(self.pivot)
        made.count = self.count + other.count
        for name in ("_x", "_y", "_xx", "_xy", "_yy"):
            setattr(made, name, getattr(self, name) + getattr(other, name))
        return made

    @property
    def mean_x(self) -> np.ndarray:
        """[g, p]."""
        return self._pivots[0] + self._x / self.count

    @property
    def mean_y(self) -> np.ndarray:
        """[g, o]."""
        return self._pivots[1] + self._y / self.count

    @property
    def xx(self) -> np.ndarray:
        """Covariance of x, [g, p, p]; only its diagonal, [g, p], where only that is summed."""
        mean = self._x / self.count
        outer = mean * mean if self.diagonal else mean[:, :, None] * mean[:, None, :]
        found: np.ndarray = self._xx / self.count - outer
        return found

    @property
    def xy(self) -> np.ndarray:
        """Covariance of x and y, [g, p, o]."""
        mean = self._x / self.count
        found: np.ndarray = (
            self._xy / self.count - mean[:, :, None] * (self._y / self.count)[:, None, :]
        )
        return found

    @property
    def yy(self) -> np.ndarray:
        """Variance of y, [g, o]."""
        found: np.ndarray = np.maximum(self._yy / self.count - np.square(self._y / self.count), 0)
        return found

    @property
    def _pivots(self) -> tuple[np.ndarray, np.ndarray]:
        if self.pivot is None:
            raise ValueError("moments of no rows")
        return self.pivot

    def error(self, w: np.ndarray, b: np.ndarray | None) -> float:
        """Return E |y - (w x + b)|^2 over all outputs. w: [g, o, p]; b: [g, o], None: the best."""
        xy = self.xy
        quadratic = np.einsum("gop,gpq,goq->", w, self.xx, w, optimize=True)
        cross = np.einsum("gop,gpo->", w, xy)
        spread = float(self.yy.sum() - 2 * cross + quadratic)
        if b is not None:
            off = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x) - b
            spread += float(np.square(off).sum())
        return max(spread, 0.0)

    def best_bias(self, w: np.ndarray) -> np.ndarray:
        """Return mean(y) - w mean(x), [g, o]."""
        found: np.ndarray = self.mean_y - np.einsum("gop,gp->go", w, self.mean_x)
        return found


@dataclass(frozen=True)
class Fit:
    """Weights [g, o, p] and bias [g, o] of least squares, and how they were found.

    ridge: the lambda; 0: only the bias changed; None: nothing did. before, after: relative squared
    error on rows held out, of the given weights and of the found ones.
    """

    w: np.ndarray
    b: np.ndarray
    ridge: float | None
    before: float
    after: float


RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # times the mean of diag H; flat from 1e-4 to 1e-1 on small nets


def refit(
    train: Moments,
    held: Moments,
    w: np.ndarray,
    b: np.ndarray,
    ridges: tuple[float, ...] = RIDGES,
    free_bias: bool = True,
) -> Fit:
    """Return the weights next to (w, b) that make y of x, the ridge chosen on rows held out.

    w' = w + (C - w H)(H + lambda mean(diag H) I)^-1,  b' = mean(y) - w' mean(x): the ridge shrinks
    toward the given weights. Where none beats them on the rows held out, the bias alone, or
    nothing, changes; else the chosen ridge is solved again with all rows. free_bias: False where
    there is no bias to change: then H and C are about zero, and b is as given.
    Source: He et al., ICCV 2017, section 3.1.2 (least squares); the asymmetric form of Nagel et al.
    and of OSSCAR (Meng et al., 2024), "fullseq".
    """
    scale = float(held.yy.sum()) or 1.0
    before = held.error(w, b)
    found: list[tuple[float, float | None]] = [(before, None)]
    if free_bias:
        found.append((held.error(w, train.best_bias(w)), 0.0))
    for ridge in ridges:
        made = _solve(train, w, None if free_bias else b, ridge)
        found.append((held.error(made, train.best_bias(made) if free_bias else b), ridge))
    after, chosen = min(found, key=lambda pair: pair[0])
    whole = train + held
    if chosen is None:
        return Fit(w, b, None, before / scale, before / scale)
    made = _solve(whole, w, None if free_bias else b, chosen) if chosen else w
    bias = whole.best_bias(made) if free_bias else b
    return Fit(made, bias, chosen, before / scale, after / scale)


def _solve(moments: Moments, w: np.ndarray, b: np.ndarray | None, ridge: float) -> np.ndarray:
    """Return least squares around w. b: the bias that stays; None: it is free."""
    h, c = moments.xx, moments.xy
    if b is not None:
        x, y = moments.mean_x, moments.mean_y - b
        h = h + x[:, :, None] * x[:, None, :]
        c = c + x[:, :, None] * y[:, None, :]
    diagonal = np.einsum("gpp->gp", h)
    floor = np.finfo(np.float32).tiny
    damped = h.copy()
    np.einsum("gpp->gp", damped)[...] += ridge * diagonal.mean(axis=1, keepdims=True) + floor
    step = np.linalg.solve(damped, c - h @ w.transpose(0, 2, 1))
    made: np.ndarray = w + step.transpose(0, 2, 1)
    return made


@dataclass
class Split:
    """Moments of rows to fit on, and of rows held out, about one pivot."""

    train: Moments = field(default_factory=Moments)
    held: Moments = field(default_factory=Moments)

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        """See rows. is_held: bool[r]."""
        if self.train.pivot is None and len(x):
            self.train.pivot = self.held.pivot = x.mean(axis=0), y.mean(axis=0)
        self.train.add(x[~is_held], y[~is_held])
        self.held.add(x[is_held], y[is_held])
