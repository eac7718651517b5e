"""Round weights to their grid so that layers make what they made, not weight by weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from slimc.fit.layer import LayerPair
from slimc.fit.lockstep import MomentFitter
from slimc.fit.moments import Fit, Moments, best_ridge, least_squares, normal_equations
from slimc.fit.rounding import Lattice, round_columns
from slimc.fit.sparse_columns import free_weights
from slimc.ir.arrays import Floats, Mask
from slimc.ir.graph import Graph, Quantization
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.quant.layer_fitting import ChosenFit, FitMethod, fit_layers
from slimc.passes.quant.scales import grid_of, weight_record

RoundedWeights = tuple[np.ndarray, Quantization]  # weights [g, o, p] on a grid, and the grid

MAX_COLUMNS = 4608  # columns of a layer that is rounded so: 512 channels under 3 x 3 taps


@dataclass(frozen=True)
class RoundWeights(Pass):
    """Choose weights on the grid by the error of what layers make, one layer after another.

    The graph with all its scales (student) runs beside the one in floats (teacher). At each layer,
    in order: least squares toward what the teacher makes, from what the student reads; then columns
    are rounded in turn, each made up for by those that follow (`calib.rounding`), and the bias is
    chosen anew. A layer keeps what is nearest on samples held out: this, the same without least
    squares, the nearest numbers with a new bias, or the nearest alone. Weights that are 2:4 keep
    their zeros. Approximate.
    Source: Frantar et al., GPTQ, ICLR 2023; Li et al., GPTAQ, ICML 2025 (asymmetric); Nagel et al.,
    ICCV 2019, section 4.2 (bias).
    """

    name: ClassVar[str] = "round-weights"
    promise: ClassVar[Promise] = "approximate"

    samples: int = option(
        0, "samples to fit on, the first ones; 0: as many as cost 16 G MACs, 32 to 256", least=0
    )
    refit: bool = option(True, "fit weights by least squares before they are rounded")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return fit_layers(graph, ctx, self.samples, partial(_LayerRounding, self.refit, graph))


class _LayerRounding(MomentFitter):
    """Rounds the weights of one layer by the moments of what it reads."""

    def __init__(self, refits: bool, graph: Graph, layer: LayerPair, w: Floats, b: Floats) -> None:
        """Start. graph: where weights are not rounded yet; w: the nearest numbers."""
        super().__init__(layer, w, b)
        self._refits = refits
        self._record = graph.records[layer.student.weight]
        self._weight = graph.constants[layer.student.weight].array

    def add(self, x: np.ndarray, y: np.ndarray, is_held: Mask) -> None:
        if self._layer.student.columns <= MAX_COLUMNS:
            super().add(x, y, is_held)

    def fit(self) -> Fit | str:
        columns = self._layer.student.columns
        return (
            super().fit() if columns <= MAX_COLUMNS else f"{columns} columns, {MAX_COLUMNS} at most"
        )

    def _fit_layers(self, train: Moments, held: Moments) -> ChosenFit:
        """Take what is nearest on rows held out."""
        real = self._layer.student.matrix(self._weight).astype(np.float64)
        free = free_weights(self._layer.student, real)
        ways: dict[FitMethod, RoundedWeights] = {"nearest": (self._w, self._record)}
        if self._free_bias:
            ways["bias"] = ways["nearest"]
        ways["rounded"] = self._round_to_grid(real, train, free)
        ridge = None
        if self._refits:
            ridge = best_ridge(train, held, real, self._b, free_bias=self._free_bias, free=free)
        if ridge:
            fitted = least_squares(real, *normal_equations(train, self._fixed), ridge, free)
            ways["refitted"] = self._round_to_grid(fitted, train, free)
        scale = float(held.yy.sum()) or 1.0
        errors = {
            how: held.error(q, self._bias(how, q, train)) / scale for how, (q, _) in ways.items()
        }
        how = min(errors, key=errors.__getitem__)
        q, record = ways[how]
        bias = self._bias(how, q, train)
        return ChosenFit(q, bias, None, errors["nearest"], errors[how], how, record)

    def _bias(self, how: FitMethod, q: Floats, moments: Moments) -> Floats:
        return moments.best_bias(q) if self._free_bias and how != "nearest" else self._b

    @property
    def _fixed(self) -> Floats | None:
        """The bias that stays, None where it is free."""
        return None if self._free_bias else self._b

    def _round_to_grid(self, w: Floats, moments: Moments, free: Mask | None) -> RoundedWeights:
        """Return weights on a grid laid for them, zero where not `free`, and the grid."""
        linear = self._layer.student
        h, _ = normal_equations(moments, self._fixed)
        counts = np.broadcast_to(np.einsum("gpp->gp", h)[:, None, :], w.shape)
        array, importance = linear.array(w), linear.array(counts)
        old = self._record
        record = weight_record(grid_of(old), array, old.axis, old.pairs, importance=importance)
        scale, zero = record.spread(array.shape)
        lattice = Lattice(
            linear.matrix(np.ascontiguousarray(scale)).astype(np.float64),
            linear.matrix(np.ascontiguousarray(zero)).astype(np.float64),
            record.low,
            record.high,
            record.dtype,
            free,
        )
        q = linear.array(round_columns(w, lattice, h))
        exact = record.nearest(q.astype(np.float32))
        return linear.matrix(exact).astype(np.float64), record
