"""A graph as it was and one made of it, run side by side, so that layers are fitted in turn.

At every layer, in topological order, what the student (fitted so far) reads meets what the teacher
makes: each layer is fitted with the errors of those before, and may correct them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from slimc.calib.feeds import samples_of, specs_of
from slimc.calib.held_out import is_held
from slimc.execute.ort import Feed
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.batch_norm import ChannelSums, Restated, Running
from slimc.fit.layer import Layer
from slimc.fit.moments import Fit, Moments, Split, finite_rows
from slimc.fit.sampling import ROWS, ROWS_PER_COLUMN, Sampler
from slimc.ir.arrays import Mask
from slimc.ir.graph import Graph
from slimc.rewrite.kept import Kept, take

_CLOSE, _CLOSE_HALVES, _HALF_BYTES = 1e-3, 1e-2, 2  # of the largest result


class Fitter(Protocol):
    """Sees what a layer reads and should make at sampled results, then finds its constants."""

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        """See rows: x[r, g, p] of the student, y[r, g, o] of the teacher; bool[r] held out."""

    def fit(self) -> Fit | str:
        """Return what was found, or why nothing was."""


class MomentFitter:
    """Fits a layer by moments of what it reads, and judges the fits by those of rows held out."""

    def __init__(self, layer: Layer, w: np.ndarray, b: np.ndarray) -> None:
        """Start. w, b: weights [g, o, p] and bias [g, o] as they are now."""
        self._layer, self._w, self._b = layer, w, b
        self._free_bias = layer.bias is not None
        self._split = Split()

    def add(self, x: np.ndarray, y: np.ndarray, is_held: np.ndarray) -> None:
        """See rows, as `Fitter` has them."""
        self._split.add(x, y, is_held)

    def fit(self) -> Fit | str:
        """Return what is nearest on rows held out, or why nothing can be fitted."""
        return self._split.unusable or self._fitted(self._split.train, self._split.held)

    def _fitted(self, train: Moments, held: Moments) -> Fit:
        raise NotImplementedError


FitterOf = Callable[[Layer, np.ndarray, np.ndarray], Fitter]  # weights [g, o, p], bias [g, o] now


class LockStep:
    """Teacher and student, one layer after another.

    stops: names of the nodes at which layers are fitted, in this order; kept: value -> per axis,
    the indices of the teacher's value that the student's still has. stores: of live values, of the
    teacher and of the student. rows: results that a fitter sees, or `ROWS_PER_COLUMN` for each
    column if those are more. progress: told (layers done, layers there are).
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
        progress: Callable[[int, int], None] = lambda done, wanted: None,
    ) -> None:
        self.teacher = Walk(teacher, feeds, set(stops), stores[0])
        self.student = Walk(student, feeds, set(stops), stores[1])
        self.sampler = Sampler(tuple(samples_of(specs_of(feed), teacher) for feed in feeds), seed)
        self.kept, self.rows = kept or {}, rows
        self._stops, self._done, self._progress = len(stops), 0, progress
        self.teacher.advance()
        self.student.advance()

    @property
    def samples(self) -> int:
        """Return how many samples are run."""
        return self.sampler.samples

    def fit(self, one: Layer, fitter: FitterOf) -> Fit | str:
        """Fit the next layer and go on with it; return why not, where it is left as it is."""
        found = self._fit(one, fitter)
        self._go_on(one.constants(self.student.graph, found) if isinstance(found, Fit) else {})
        return found

    def restate(self, one: Running) -> Restated | str:
        """Choose the statistics of the next normalisation, and go on with them."""
        sums = [ChannelSums(), ChannelSums()]
        for feed, held in enumerate(self._held):
            old = take(self.teacher.value(one.data, feed), self.kept.get(one.data, ()))
            for seen, x in zip(sums, (old, self.student.value(one.data, feed)), strict=True):
                if len(x) == len(held):
                    seen.add(one.rows(x)[~held])
        self.teacher.advance(also=[one.result])
        choices = one.choices(self.student.graph, *sums)
        errors, scale = self._errors_held(one, choices)
        found = Restated.best(choices, errors, scale) if scale else "too few samples to judge by"
        self._go_on(found.constants if isinstance(found, Restated) else {})
        return found

    def _go_on(self, constants: Mapping[str, np.ndarray]) -> None:
        self.student.advance(constants=constants)
        self._done += 1
        self._progress(self._done, self._stops)

    def _fit(self, one: Layer, fitter: FitterOf) -> Fit | str:
        before = self.teacher.value(one.teacher.data, 0)
        self.teacher.advance(also={v for v in (one.teacher.result, one.sum) if v})
        if not self._is_product(one, before):
            return "more than a product with its weights"
        seen = fitter(one, *one.weights(self.student.graph))
        self._show(one, seen)
        return seen.fit()

    def _errors_held(
        self, one: Running, choices: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[list[float], float]:
        """Return the squared error of each choice on samples held out, and the energy there."""
        sessions = [one.session(self.student.graph, choice) for choice in choices]
        errors, wanted = [0.0] * len(choices), ChannelSums()
        count = 0
        for feed, held in enumerate(self._held):
            x = self.student.value(one.data, feed)
            if not held.any() or len(x) != len(held):
                continue
            y = one.rows(take(self.teacher.value(one.result, feed), self.kept.get(one.result, ())))
            wanted.add(y[held])
            count += y[held][..., 0].size
            for i, session in enumerate(sessions):
                made = one.rows(session.run({one.data: x})[one.result])
                errors[i] += float(np.square(made[held] - y[held]).sum())
        return errors, float(wanted.variance.sum()) * count if count else 0.0

    @property
    def _held(self) -> list[Mask]:
        """Tell for every feed which samples are held out."""
        firsts = map(self.sampler.first, range(len(self.sampler.leading)))
        pairs = zip(firsts, self.sampler.leading, strict=True)
        return [is_held(first + np.arange(count)) for first, count in pairs]

    def _is_product(self, one: Layer, x: np.ndarray) -> bool:
        """Tell whether the teacher's results are what its weights and what it reads give."""
        y = self.teacher.value(one.teacher.result, 0)
        rows = np.arange(min(8, one.teacher.count(y.shape)))
        read = one.teacher.reads(x, y.shape, rows)
        w, b = one.teacher_weights(self.teacher.graph)
        given = np.einsum("rgp,gop->rgo", read, w) + b
        given, made = finite_rows(given, one.teacher.channels(y, rows))
        close = _CLOSE if y.dtype.itemsize > _HALF_BYTES else _CLOSE_HALVES
        return bool(np.abs(given - made).max(initial=0) <= close * np.abs(made).max(initial=1e-6))

    def _show(self, one: Layer, seen: Fitter) -> None:
        """Let a fitter see the sampled results of all feeds."""
        wanted = max(self.rows, ROWS_PER_COLUMN * one.student.columns)
        sampler = replace(self.sampler, wanted=wanted)
        for feed in range(len(sampler.leading)):
            x = self.student.value(one.student.data, feed)
            y = self._target(one, feed)
            for part in sampler.parts(one.student, feed, y.shape):
                read = one.student.reads(x, y.shape, part.rows)
                seen.add(read, one.student.channels(y, part.rows), part.held)

    def _target(self, one: Layer, feed: int) -> np.ndarray:
        """Return what the layer should make, with its bias."""
        other = one.other
        kept = self.kept.get(one.result, ())
        result = take(self.teacher.value(one.teacher.result, feed), kept)
        if one.sum and self.teacher.has(one.sum) and other and self.student.has(other):
            total = take(self.teacher.value(one.sum, feed), self.kept.get(one.sum, ()))
            beside = self.student.value(other, feed)
            if total.shape == beside.shape == result.shape:  # nothing is broadcast
                summand: np.ndarray = total - beside
                return summand
        target: np.ndarray = result + one.teacher_bias(self.teacher.graph, kept)
        return target
