"""Fit the weights of one layer with two zeros in every four."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimc.fit.layer import Layer
from slimc.fit.lockstep import MomentFitter
from slimc.fit.moments import Fit, Moments, best_ridge, normal_equations, ridged
from slimc.fit.rounding import DAMP, exact_inverse_factor
from slimc.fit.sparse_columns import by_group, drop_pairs, least_squares_within
from slimc.ir.arrays import Floats

By = Literal["magnitude", "second order"]
Tried = tuple[By, float | None, np.ndarray]


@dataclass(frozen=True)
class SparseFit(Fit):
    """What a layer gets, and by what its zeros were chosen."""

    by: By

    @property
    def says(self) -> str:
        more = f", {super().says}" if super().says else ""
        return f"two of four weights stay by {self.by}{more}"


class TwoOfFour(MomentFitter):
    """Chooses weights of a layer by the moments of what it reads."""

    def __init__(self, dense: Floats, one: Layer, w: Floats, b: Floats) -> None:
        """Start. dense: weights [g, o, p] before any were zero; w: those with the largest two."""
        super().__init__(one, w, b)
        self._dense, self._taps = dense, one.student.taps

    def _fitted(self, train: Moments, held: Moments) -> Fit:
        """Take what is nearest on rows held out, of what `_tried` brings."""
        scale = float(held.yy.sum()) or 1.0
        judged = []
        for by, ridge, w in self._tried(train, held):
            moves = self._free_bias and ridge is not None
            b = train.best_bias(w) if moves else self._b
            judged.append((held.error(w, b) / scale, by, ridge, w, b))
        after, by, ridge, w, b = min(judged, key=lambda one: one[0])
        return SparseFit(w, b, ridge, judged[0][0], after, by)

    def _tried(self, train: Moments, held: Moments) -> Iterator[Tried]:
        """Yield by what two stay, the ridge as `Fit` has it, and weights.

        The largest, as they are and with a new bias. Then, with W* = least squares from the dense
        weights, pairs are dropped from W* by its products' error, and what stays becomes the
        nearest to W* in the same measure. One factorisation of the damped H serves W* and pairs.
        Not tried: the largest refitted, with that ridge never nearer in 52 layers.
        """
        yield "magnitude", None, self._w
        if self._free_bias:
            yield "magnitude", 0.0, self._w
        ridge = best_ridge(train, held, self._dense, self._b, free_bias=self._free_bias) or DAMP
        h, c = normal_equations(train, None if self._free_bias else self._b)
        residual = c.transpose(0, 2, 1) - self._dense @ h
        h = ridged(h, ridge)
        order = by_group(h.shape[1], self._taps)
        factor = exact_inverse_factor(h[:, order][:, :, order])
        wanted = self._dense.copy()
        wanted[..., order] += residual[..., order] @ factor.transpose(0, 2, 1) @ factor
        dropped = drop_pairs(wanted, factor, self._taps)
        del factor
        step = least_squares_within((wanted - dropped) @ h, h, dropped != 0)
        yield "second order", ridge, dropped + step
