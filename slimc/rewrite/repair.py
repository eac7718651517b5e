"""Repair weights after channels have left: asymmetric least squares, layer by layer.

The graph as it was (teacher) and as it is (student) run in lock-step. At every weighted node whose
data have changed, in topological order, the weights become those that make, from what the student
(repaired so far) reads, what the teacher makes. So each layer corrects the errors of those before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.feeds import samples_of, specs_of
from slimc.calib.moments import Fit, Split, finite_rows, refit
from slimc.calib.sampling import is_held, sample_rows
from slimc.calib.store import STORE_BYTES, Store
from slimc.calib.walk import Walk
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.layer import Layer, affected, layers_of
from slimc.rewrite.running import ChannelSums, Restated, Running, change, running_of
from slimc.rewrite.slice_axes import Kept, take

SAMPLES = 256  # more changed little in trials; distinct ones matter, not crops
FEW_SAMPLES = 100  # below that least squares fits what they have in common
_CLOSE, _CLOSE_HALVES, _HALF_BYTES = 1e-3, 1e-2, 2  # of the largest result
WIDEST = 4608  # columns of a least-squares problem: 512 channels under 3 x 3 taps


@dataclass(frozen=True)
class Repaired:
    """Repaired graph, a row per layer for the report, what is to be said, and how many samples."""

    graph: Graph
    table: tuple[dict[str, Any], ...]
    remarks: tuple[Remark, ...]
    samples: int = 0


def repair(
    teacher: Graph,
    student: Graph,
    kept: Mapping[str, Kept],
    ops: OpTable,
    data: Data,
    sizes: Mapping[str, int],
    seed: int = 0,
    samples: int = SAMPLES,
    store_bytes: int = STORE_BYTES,
) -> Repaired:
    """Refit the weights of `student` so that its layers make what those of `teacher` make.

    kept: value -> per axis, the indices of the teacher's value that the student's still has.
    Normalisations by constants (`rewrite.running`) get the statistics of what the student makes.
    A layer whose result is only added to another value aims at the teacher's sum less what the
    student adds: the trunk of a residual network is corrected at every block. Approximate; every
    layer is accepted only if it is nearer on samples held out.
    Source: He et al., ICCV 2017, section 3.1.2; asymmetric as in Meng et al., OSSCAR (2024).
    """
    changed = affected(teacher, student)
    facts = infer(teacher, ops, sizes), infer(student, ops, sizes)
    found, remarks = layers_of(teacher, student, ops, facts, changed)
    narrow = [one for one in found if one.student.columns <= WIDEST]
    said = [
        skipped(one.node.name, f"not repaired: {one.student.columns} columns, {WIDEST} at most")
        for one in found
        if one.student.columns > WIDEST
    ]
    norms, left = running_of(student, ops, facts[1], changed)
    steps: list[Layer | Running] = [*narrow, *norms]
    at = {node.name: i for i, node in enumerate(student.nodes)}
    steps.sort(key=lambda one: at[one.node.name])
    feeds = list(data.first_samples(samples))
    said += left
    if not steps or not feeds:
        return Repaired(student, (), (*remarks, *said))
    stops = {one.node.name for one in steps}
    fits: dict[str, Fit | Restated] = {}
    with Store(store_bytes // 2) as first, Store(store_bytes // 2) as second:
        run = _LockStep(
            Walk(teacher, feeds, stops, first),
            Walk(_with_biases(student, narrow), feeds, stops, second),
            kept,
            [samples_of(specs_of(feed), teacher) for feed in feeds],
            seed,
        )
        for one in steps:
            outcome = run.step(one)
            if isinstance(outcome, Remark):
                said.append(outcome)
            else:
                fits[one.node.name] = outcome
    count = sum(run.leading)
    done = [(one, fits[one.node.name]) for one in steps if one.node.name in fits]
    said += [_told(one.node.name, fit) for one, fit in done]
    table = tuple(_row(one, fit) for one, fit in done)
    return Repaired(_applied(student, done), table, (*_few(count), *remarks, *said), count)


def _told(node: str, fit: Fit | Restated) -> Remark:
    """Say what a fit brought, on results of samples held out."""
    if isinstance(fit, Restated):
        return fit.told(node)
    if fit.ridge is None:
        return skipped(node, "as it is: no fit is nearer on results held out")
    how = f"refitted with ridge {fit.ridge:g}" if fit.ridge else "bias refitted"
    return applied(node, f"{how}: {change(fit.before, fit.after)}")


def _few(samples: int) -> tuple[Remark, ...]:
    if samples >= FEW_SAMPLES:
        return ()
    return (
        note(
            f"{samples} samples are few: weights fit what they have in common",
            help=f"give at least {FEW_SAMPLES} distinct ones",
        ),
    )


class _LockStep:
    """Teacher and student, one layer after another."""

    def __init__(
        self, teacher: Walk, student: Walk, kept: Mapping[str, Kept], leading: list[int], seed: int
    ) -> None:
        self.teacher, self.student, self.kept = teacher, student, kept
        self.leading, self.seed = leading, seed
        teacher.advance()
        student.advance()

    def step(self, one: Layer | Running) -> Fit | Restated | Remark:
        """Fit one layer, and go on to the next."""
        return self._restate(one) if isinstance(one, Running) else self._refit(one)

    def _refit(self, one: Layer) -> Fit | Remark:
        probe = self._probe(one)
        wanted = {v for v in (one.result, one.sum) if v}
        self.teacher.advance(also=wanted)
        if not self._is_product(one, probe):
            self.student.advance()
            return skipped(one.node.name, "not repaired: more than a product with its weights")
        split = self._moments(one)
        if not (split.train.count and split.held.count):
            self.student.advance()
            return skipped(one.node.name, "not repaired: too few results to fit on and judge by")
        if not (split.train.is_finite and split.held.is_finite):
            self.student.advance()
            return skipped(one.node.name, "not repaired: squares of what it reads overflow")
        w, b = one.weights(self.student.graph)
        fit = refit(split.train, split.held, w, b, free_bias=one.bias is not None)
        self.student.advance(constants=one.constants(self.student.graph, fit))
        return fit

    def _restate(self, one: Running) -> Restated | Remark:
        sums = [ChannelSums(), ChannelSums()]
        for feed, held in enumerate(self._held):
            old = take(self.teacher.value(one.data, feed), self.kept.get(one.data, ()))
            for seen, x in zip(sums, (old, self.student.value(one.data, feed)), strict=True):
                if len(x) == len(held):
                    seen.add(one.rows(x)[~held])
        self.teacher.advance(also=[one.result])
        choices = one.choices(self.student.graph, *sums)
        errors, scale = self._errors_held(one, choices)
        if not scale:
            self.student.advance()
            return skipped(one.node.name, "not repaired: too few samples to judge by")
        found = Restated.best(choices, errors, scale)
        self.student.advance(constants=found.constants)
        return found

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
    def _held(self) -> list[np.ndarray]:
        """Tell for every feed which samples are held out."""
        firsts = np.cumsum([0, *self.leading])
        pairs = zip(firsts, self.leading, strict=False)
        return [is_held(first + np.arange(count)) for first, count in pairs]

    def _probe(self, one: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Return what some results of the teacher read, before they are computed."""
        teacher = one.teacher
        x = self.teacher.value(teacher.data, 0)
        rows = np.arange(8)
        return rows, x

    def _is_product(self, one: Layer, probe: tuple[np.ndarray, np.ndarray]) -> bool:
        """Tell whether the teacher's results are what its weights and what it reads give."""
        rows, x = probe
        y = self.teacher.value(one.result, 0)
        rows = rows[rows < one.teacher.count(y.shape)]
        read = one.teacher.reads(x, y.shape, rows)
        w, b = one.teacher_weights(self.teacher.graph)
        given = np.einsum("rgp,gop->rgo", read, w) + b
        given, made = finite_rows(given, one.teacher.channels(y, rows))
        close = _CLOSE if y.dtype.itemsize > _HALF_BYTES else _CLOSE_HALVES
        return bool(np.abs(given - made).max(initial=0) <= close * np.abs(made).max(initial=1e-6))

    def _moments(self, one: Layer) -> Split:
        split, first = Split(), 0
        for feed, leading in enumerate(self.leading):
            x = self.student.value(one.student.data, feed)
            y = self._target(one, feed)
            samples = sum(self.leading)
            rows = sample_rows(one.student, y.shape, feed, first, samples, self.seed, leading)
            for part in rows.chunks(one.student.columns * one.student.group_count):
                read = one.student.reads(x, y.shape, part.rows)
                split.add(read, one.student.channels(y, part.rows), part.held)
            first += leading
        return split

    def _target(self, one: Layer, feed: int) -> np.ndarray:
        """Return what the layer should make, with its bias."""
        other = one.other
        kept = self.kept.get(one.result, ())
        result = take(self.teacher.value(one.result, feed), kept)
        if one.sum and self.teacher.has(one.sum) and other and self.student.has(other):
            total = take(self.teacher.value(one.sum, feed), self.kept.get(one.sum, ()))
            beside = self.student.value(other, feed)
            if total.shape == beside.shape == result.shape:  # nothing is broadcast
                added: np.ndarray = total - beside
                return added
        biased: np.ndarray = result + one.teacher_bias(self.teacher.graph, kept)
        return biased


def _with_biases(student: Graph, layers: list[Layer]) -> Graph:
    """Give every layer a bias and constants of its own, so that only constants change."""
    editor = Editor(student)
    for one in layers:
        one.prepare(editor)
    return editor.done()


def _applied(student: Graph, done: Sequence[tuple[Layer | Running, Fit | Restated]]) -> Graph:
    """Return the student with the weights and statistics that were found."""
    editor = Editor(student)
    for one, fit in done:
        if isinstance(fit, Restated):
            for name, array in fit.constants.items():
                editor.set_constant(name, array)
        elif isinstance(one, Layer) and fit.ridge is not None:
            one.apply(editor, fit)
    return editor.done()


def _row(one: Layer | Running, fit: Fit | Restated) -> dict[str, Any]:
    return {
        "node": one.node.name,
        "columns": one.student.columns if isinstance(one, Layer) else 1,
        "ridge": fit.ridge if isinstance(fit, Fit) else None,
        "error_before": round(fit.before, 6),
        "error_after": round(fit.after, 6),
    }
