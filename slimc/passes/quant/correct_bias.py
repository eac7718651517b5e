"""Correct biases for the mean of what rounding does to the layers before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.fit.layer import LayerPair
from slimc.fit.moments import finite_rows
from slimc.ir.arrays import Floats, Mask
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.quant.layer_fitting import ChosenFit, fit_layers


@dataclass(frozen=True)
class CorrectBias(Pass):
    """Add to each bias the mean error of what its layer makes, one layer after another.

    b' = b + E[y - (w x + b)], with y of the graph in floats and x of the graph with all its scales,
    corrected so far. A layer keeps it if it is nearer on samples held out. Weights stay; it is the
    cheap part of round-weights, for when weights must not change. Approximate.
    Source: Nagel et al., ICCV 2019, section 4.2, with samples.
    """

    name: ClassVar[str] = "correct-bias"
    promise: ClassVar[Promise] = "approximate"

    samples: int = option(
        0,
        "samples to take means of, the first ones; 0: as many as cost 16 G MACs, 32 to 256",
        least=0,
    )

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return fit_layers(graph, ctx, self.samples, _MeanError)


class _MeanError:
    """Sums the errors of one layer: to take their mean from, and to judge it by."""

    def __init__(self, layer: LayerPair, w: Floats, b: Floats) -> None:
        self._has_bias = layer.bias is not None
        self._w, self._b = w, b
        self._train, self._held = _ErrorSums(w.shape[:2]), _ErrorSums(w.shape[:2])
        self._expected = _ErrorSums(w.shape[:2])

    def add(self, x: np.ndarray, y: np.ndarray, is_held: Mask) -> None:
        x, y, is_held = finite_rows(x, y, is_held)
        prediction = (x.transpose(1, 0, 2) @ self._w.transpose(0, 2, 1)).transpose(
            1, 0, 2
        ) + self._b
        error = y - prediction
        self._train.add(error[~is_held])
        self._held.add(error[is_held])
        self._expected.add(y[is_held].astype(np.float64))

    def fit(self) -> ChosenFit | str:
        if not self._has_bias:
            return "it takes no bias"
        if not (self._train.count and self._held.count):
            return "too few results to fit on and judge by"
        shift = self._train.mean
        scale = self._expected.squares_about(self._expected.mean) or 1.0
        before = self._held.squares_about(np.zeros_like(shift)) / scale
        after = self._held.squares_about(shift) / scale
        if after >= before:
            return ChosenFit(self._w, self._b, None, before, before, "nearest")
        return ChosenFit(self._w, self._b + shift, None, before, after, "bias")


class _ErrorSums:
    """Sums of rows [r, g, o] and of their squares."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count, self.total, self._squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, rows: Floats) -> None:
        self.count += len(rows)
        self.total = self.total + rows.sum(axis=0)
        self._squares = self._squares + np.square(rows).sum(axis=0)

    @property
    def mean(self) -> Floats:
        """[g, o]."""
        return self.total / self.count

    def squares_about(self, center: Floats) -> float:
        """Return the sum of squares of what is left when `at` is taken away."""
        squares = self._squares - 2 * center * self.total + self.count * np.square(center)
        return float(np.maximum(squares, 0).sum())
