"""Fit the weights of one layer with two zeros in every four."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimc.fit.layer import LayerPair
from slimc.fit.lockstep import MomentFitter
from slimc.fit.moments import Fit, Moments, add_ridge, best_ridge, normal_equations
from slimc.fit.rounding import DAMP, exact_inverse_factor
from slimc.fit.sparse_columns import drop_pairs, group_order, least_squares_within
from slimc.ir.arrays import Floats

Criterion = Literal["magnitude", "second order"]
Candidate = tuple[Criterion, float | None, np.ndarray]


@dataclass(frozen=True)
class SparseFit(Fit):
    """The fit of a layer, and the criterion that chose its zeros."""

    criterion: Criterion
    """What chose the zeros."""

    @property
    def description(self) -> str:
        suffix = f", {super().description}" if super().description else ""
        return f"two of every four weights are kept by {self.criterion}{suffix}"


class TwoOfFour(MomentFitter):
    """Chooses weights of a layer by the moments of its inputs."""

    def __init__(self, dense: Floats, layer: LayerPair, w: Floats, b: Floats) -> None:
        """Start. dense: weights [g, o, p] before sparsification; w: with the two largest kept."""
        super().__init__(layer, w, b)
        self._dense, self._taps = dense, layer.student.taps

    def _fit_layers(self, train: Moments, held: Moments) -> Fit:
        """Return the candidate with the least error on held-out rows."""
        scale = float(held.yy.sum()) or 1.0
        judged = []
        for by, ridge, w in self._candidates(train, held):
            moves = self._free_bias and ridge is not None
            b = train.best_bias(w) if moves else self._b
            judged.append((held.error(w, b) / scale, by, ridge, w, b))
        after, by, ridge, w, b = min(judged, key=lambda one: one[0])
        return SparseFit(w, b, ridge, judged[0][0], after, by)

    def _candidates(self, train: Moments, held: Moments) -> Iterator[Candidate]:
        """Yield candidates: criterion, ridge as `Fit` defines it, weights.

        The largest two, unchanged and with a new bias. Then, with W* = least squares from the dense
        weights, pairs are dropped from W* by the error of its products, and the others are fitted
        to be closest to W* in the same measure. One factorization of the damped H serves W* and the
        pairs. Not tried: the largest two refitted, which with that ridge were never closer in 52
        layers.
        """
        yield "magnitude", None, self._w
        if self._free_bias:
            yield "magnitude", 0.0, self._w
        ridge = best_ridge(train, held, self._dense, self._b, free_bias=self._free_bias) or DAMP
        h, c = normal_equations(train, None if self._free_bias else self._b)
        residual = c.transpose(0, 2, 1) - self._dense @ h
        h = add_ridge(h, ridge)
        order = group_order(h.shape[1], self._taps)
        factor = exact_inverse_factor(h[:, order][:, :, order])
        target = self._dense.copy()
        target[..., order] += residual[..., order] @ factor.transpose(0, 2, 1) @ factor
        dropped = drop_pairs(target, factor, self._taps)
        del factor
        step = least_squares_within((target - dropped) @ h, h, dropped != 0)
        yield "second order", ridge, dropped + step
