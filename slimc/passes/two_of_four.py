"""Fit the weights of one layer with two zeros in every four."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimc.calib.moments import (
    Fit,
    Moments,
    Split,
    best_ridge,
    least_squares,
    normal_equations,
    refit,
)
from slimc.calib.rounding import DAMP, inverse_factor
from slimc.calib.sparse_columns import by_group, drop_pairs, least_squares_within
from slimc.rewrite.layer import Layer


@dataclass(frozen=True)
class SparseFit(Fit):
    """What a layer gets, and by what its zeros were chosen."""

    by: Literal["magnitude", "second order"]

    @property
    def says(self) -> str:
        more = f", {super().says}" if super().says else ""
        return f"two of four weights stay by {self.by}{more}"


class TwoOfFour:
    """Chooses weights of a layer by the moments of what it reads."""

    def __init__(self, dense: np.ndarray, one: Layer, w: np.ndarray, b: np.ndarray) -> None:
        """Start. dense: weights [g, o, p] before any were zero; w: those with the largest two."""
        self._dense, self._w, self._b = dense, w, b
        self._free_bias, self._taps = one.bias is not None, one.student.taps
        self._split = Split()

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        self._split.add(x, y, is_held)

    def fit(self) -> Fit | str:
        """Take what is nearest on rows held out: by magnitude, refitted, or by second order."""
        if reason := self._split.unusable:
            return reason
        train, held = self._split.train, self._split.held
        plain = refit(
            train,
            held,
            self._w,
            self._b,
            free_bias=self._free_bias,
            free=self._w != 0,
            again=False,
        )
        w, ridge = self._second_order(train, held)
        b = train.best_bias(w) if self._free_bias else self._b
        after = held.error(w, b) / (float(held.yy.sum()) or 1.0)
        if after < plain.after:
            return SparseFit(w, b, ridge, plain.before, after, "second order")
        return SparseFit(plain.w, plain.b, plain.ridge, plain.before, plain.after, "magnitude")

    def _second_order(self, train: Moments, held: Moments) -> tuple[np.ndarray, float]:
        """Return weights, and the ridge of dense least squares that they start from.

        W* = least squares from the dense weights; pairs are dropped from W* by its products' error;
        what stays is the nearest to W* in the same measure.
        """
        dense, fixed = self._dense, None if self._free_bias else self._b
        *_, ridge = best_ridge(train, held, dense, self._b, free_bias=self._free_bias)
        ridge = ridge or DAMP
        h, c = normal_equations(train, fixed)
        wanted = least_squares(dense, h, c, ridge)
        diagonal = np.einsum("gpp->gp", h)
        diagonal += ridge * diagonal.mean(axis=1, keepdims=True) + np.finfo(np.float32).tiny
        order = by_group(h.shape[1], self._taps)
        factor = inverse_factor(h[:, order][:, :, order])
        dropped = drop_pairs(wanted, factor, self._taps)
        step = least_squares_within((wanted - dropped) @ h, h, dropped != 0)
        return dropped + step, ridge
