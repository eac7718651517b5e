"""A graph before and after a change, run side by side, so that layers are fitted in turn.

At every layer, in topological order, the student (fitted so far) provides the inputs and the
teacher the outputs: each layer is fitted with the errors of those before, and may correct them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.held_out import is_held
from slimc.execute.ort import Feed
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.batch_norm import ChannelSums, Normalization, StatisticsFit
from slimc.fit.layer import LayerPair
from slimc.fit.moments import Fit, Moments, SplitMoments, finite_rows
from slimc.fit.sampling import ROWS, ROWS_PER_COLUMN, Sampler
from slimc.ir.arrays import Mask
from slimc.ir.graph import Graph
from slimc.rewrite.kept import Kept, take

_CLOSE, _CLOSE_HALVES, _HALF_BYTES = 1e-3, 1e-2, 2  # of the largest result


class Fitter(Protocol):
    """Collects the inputs and target outputs of a layer at sampled results, then fits it."""

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        """Add rows: x[r, g, p] of the student, y[r, g, o] of the teacher. is_held: bool[r]."""

    def fit(self) -> Fit | str:
        """Return the fit, or the reason for none."""


class MomentFitter:
    """Fits a layer by moments of what it reads, and judges the fits by those of rows held out."""

    def __init__(self, layer: LayerPair, w: np.ndarray, b: np.ndarray) -> None:
        """Start. w, b: weights [g, o, p] and bias [g, o] as they are now."""
        self._layer, self._w, self._b = layer, w, b
        self._free_bias = layer.bias is not None
        self._split = SplitMoments()

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        """See rows, as `Fitter` has them."""
        self._split.add(x, y, is_held)

    def fit(self) -> Fit | str:
        """Return what is nearest on rows held out, or why nothing can be fitted."""
        return self._split.unusable_reason or self._fit_layers(self._split.train, self._split.held)

    def _fit_layers(self, train: Moments, held: Moments) -> Fit:
        raise NotImplementedError


MakeFitter = Callable[
    [LayerPair, np.ndarray, np.ndarray], Fitter
]  # current weights [g, o, p], bias [g, o]


class LockStep:
    """Teacher and student, one layer after another.

    stops: names of the nodes at which layers are fitted, in this order; kept: value -> per axis,
    the indices of the teacher's value that the student's still has. stores: of live values, of the
    teacher and of the student. rows: results per fitter, or `ROWS_PER_COLUMN` for each column if
    those are more. progress: called with (layers done, layers).
    """

    def __init__(
        self,
        teacher: Graph,
        student: Graph,
        feeds: Sequence[Feed],
        stops: Sequence[str],
        stores: tuple[Store, Store],
        kept: Mapping[str, Kept] | None = None,
        seed: int = 0,
        rows: int = ROWS,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.teacher = Walk(teacher, feeds, set(stops), stores[0])
        self.student = Walk(student, feeds, set(stops), stores[1])
        self.sampler = Sampler(
            tuple(count_samples(specs_of(feed), teacher) for feed in feeds), seed
        )
        self.kept, self.rows = kept or {}, rows
        self._stops, self._done, self._progress = len(stops), 0, progress
        self.teacher.advance()
        self.student.advance()

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.sampler.samples

    def fit(self, layer: LayerPair, fitter: MakeFitter) -> Fit | str:
        """Fit the next layer and continue with it; return the reason if it stays unchanged."""
        result = self._fit(layer, fitter)
        self._advance_student(
            layer.constants(self.student.graph, result) if isinstance(result, Fit) else {}
        )
        return result

    def reestimate(self, norm: Normalization) -> StatisticsFit | str:
        """Re-estimate the statistics of the next normalization, and continue with them."""
        sums = [ChannelSums(), ChannelSums()]
        for feed, held_mask in enumerate(self._held_samples):
            old = take(self.teacher.value(norm.data, feed), self.kept.get(norm.data, ()))
            for channel_sums, x in zip(
                sums, (old, self.student.value(norm.data, feed)), strict=True
            ):
                if len(x) == len(held_mask):
                    channel_sums.add(norm.rows(x)[~held_mask])
        self.teacher.advance(also=[norm.result])
        choices = norm.candidates(self.student.graph, *sums)
        errors, scale = self._held_out_errors(norm, choices)
        result = (
            StatisticsFit.best(choices, errors, scale)
            if scale
            else "too few samples to validate on"
        )
        self._advance_student(result.constants if isinstance(result, StatisticsFit) else {})
        return result

    def _advance_student(self, constants: Mapping[str, np.ndarray]) -> None:
        self.student.advance(constants=constants)
        self._done += 1
        self._progress(self._done, self._stops)

    def _fit(self, layer: LayerPair, fitter: MakeFitter) -> Fit | str:
        before = self.teacher.value(layer.teacher.data, 0)
        self.teacher.advance(also={v for v in (layer.teacher.result, layer.sum) if v})
        if not self._is_product(layer, before):
            return "it computes more than a product with its weights"
        layer_fitter = fitter(layer, *layer.weights(self.student.graph))
        self._run_fitter(layer, layer_fitter)
        return layer_fitter.fit()

    def _held_out_errors(
        self, norm: Normalization, choices: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[list[float], float]:
        """Return the squared error of each candidate on held-out samples, and the energy there."""
        sessions = [norm.session(self.student.graph, choice) for choice in choices]
        errors, targets = [0.0] * len(choices), ChannelSums()
        count = 0
        for feed, held_mask in enumerate(self._held_samples):
            x = self.student.value(norm.data, feed)
            if not held_mask.any() or len(x) != len(held_mask):
                continue
            y = norm.rows(
                take(self.teacher.value(norm.result, feed), self.kept.get(norm.result, ()))
            )
            targets.add(y[held_mask])
            count += y[held_mask][..., 0].size
            for i, session in enumerate(sessions):
                result = norm.rows(session.run({norm.data: x})[norm.result])
                errors[i] += float(np.square(result[held_mask] - y[held_mask]).sum())
        return errors, float(targets.variance.sum()) * count if count else 0.0

    @property
    def _held_samples(self) -> list[Mask]:
        """Which samples are held out, for every feed."""
        firsts = map(self.sampler.first, range(len(self.sampler.leading)))
        pairs = zip(firsts, self.sampler.leading, strict=True)
        return [is_held(first + np.arange(count)) for first, count in pairs]

    def _is_product(self, layer: LayerPair, x: np.ndarray) -> bool:
        """Return whether the teacher's results are the products of its weights and inputs."""
        y = self.teacher.value(layer.teacher.result, 0)
        rows = np.arange(min(8, layer.teacher.count(y.shape)))
        inputs = layer.teacher.reads(x, y.shape, rows)
        w, b = layer.teacher_weights(self.teacher.graph)
        products = np.einsum("rgp,gop->rgo", inputs, w) + b
        products, results = finite_rows(products, layer.teacher.channels(y, rows))
        close = _CLOSE if y.dtype.itemsize > _HALF_BYTES else _CLOSE_HALVES
        return bool(
            np.abs(products - results).max(initial=0) <= close * np.abs(results).max(initial=1e-6)
        )

    def _run_fitter(self, layer: LayerPair, fitter: Fitter) -> None:
        """Pass the sampled results of all feeds to a fitter."""
        row_count = max(self.rows, ROWS_PER_COLUMN * layer.student.columns)
        sampler = replace(self.sampler, row_count=row_count)
        for feed in range(len(sampler.leading)):
            x = self.student.value(layer.student.data, feed)
            y = self._target(layer, feed)
            for part in sampler.parts(layer.student, feed, y.shape):
                inputs = layer.student.reads(x, y.shape, part.rows)
                fitter.add(inputs, layer.student.channels(y, part.rows), part.held)

    def _target(self, layer: LayerPair, feed: int) -> np.ndarray:
        """Return the target output of the layer, with its bias."""
        other = layer.other
        kept = self.kept.get(layer.result, ())
        result = take(self.teacher.value(layer.teacher.result, feed), kept)
        if layer.sum and self.teacher.has(layer.sum) and other and self.student.has(other):
            total = take(self.teacher.value(layer.sum, feed), self.kept.get(layer.sum, ()))
            other_operand = self.student.value(other, feed)
            if total.shape == other_operand.shape == result.shape:  # nothing is broadcast
                summand: np.ndarray = total - other_operand
                return summand
        target: np.ndarray = result + layer.teacher_bias(self.teacher.graph, kept)
        return target
