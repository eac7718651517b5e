"""Repair weights after channels have left: asymmetric least squares, layer by layer.

The graph as it was (teacher) and as it is (student) run in lock-step. At every weighted node whose
data have changed, in topological order, the weights become those that make, from what the student
(repaired so far) reads, what the teacher makes. So each layer corrects the errors of those before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.moments import Fit, Split, finite_rows, refit
from slimc.calib.sampling import sample_rows, samples_in
from slimc.calib.store import STORE_BYTES, Store
from slimc.calib.walk import Walk
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.layer import Layer, affected, layers_of
from slimc.rewrite.slice_axes import Kept, take

SAMPLES = 256  # more changed little in trials; distinct ones matter, not crops
FEW_SAMPLES = 100  # below that least squares fits what they have in common
_CLOSE, _CLOSE_HALVES, _HALF_BYTES = 1e-3, 1e-2, 2  # of the largest result
WIDEST = 4608  # columns of a least-squares problem: 512 channels under 3 x 3 taps


@dataclass(frozen=True)
class Repaired:
    """A repaired graph, a row per layer for the report, and what is to be said."""

    graph: Graph
    table: tuple[dict[str, Any], ...]
    remarks: tuple[Remark, ...]


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
    feeds = list(data.first_samples(samples))
    if not narrow or not feeds:
        return Repaired(student, (), (*remarks, *said))
    stops = {one.node.name for one in narrow}
    fits: dict[str, Fit] = {}
    with Store(store_bytes // 2) as left, Store(store_bytes // 2) as right:
        run = _LockStep(
            Walk(teacher, feeds, stops, left),
            Walk(_with_biases(student, narrow), feeds, stops, right),
            kept,
            [samples_in(feed) for feed in feeds],
            seed,
        )
        for one in narrow:
            outcome = run.step(one)
            if isinstance(outcome, Remark):
                said.append(outcome)
            else:
                fits[one.node.name] = outcome
    few = _few(sum(run.leading))
    said += [_told(one, fits[one.node.name]) for one in narrow if one.node.name in fits]
    graph = _applied(student, narrow, fits)
    table = tuple(_row(one, fits[one.node.name]) for one in narrow if one.node.name in fits)
    return Repaired(graph, table, (*few, *remarks, *said))


def _told(one: Layer, fit: Fit) -> Remark:
    """Say what a fit brought, on results of samples held out."""
    if fit.ridge is None:
        return skipped(one.node.name, "as it is: no fit is nearer on results held out")
    how = f"refitted with ridge {fit.ridge:g}" if fit.ridge else "bias refitted"
    return applied(one.node.name, f"{how}: error {fit.before:.3g} -> {fit.after:.3g}")


def _few(samples: int) -> tuple[Remark, ...]:
    if samples >= FEW_SAMPLES:
        return ()
    return (
        note(
            f"weights were repaired on {samples} samples",
            help=f"give at least {FEW_SAMPLES} distinct ones: repair fits what they have in common",
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

    def step(self, one: Layer) -> Fit | Remark:
        """Fit one layer, and go on to the next."""
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
        w, b = one.weights(self.student.graph)
        fit = refit(split.train, split.held, w, b, free_bias=one.bias is not None)
        self.student.advance(constants=one.constants(self.student.graph, fit))
        return fit

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
            rows = sample_rows(one.student, y.shape, feed, first, sum(self.leading), self.seed)
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


def _applied(student: Graph, layers: list[Layer], fits: Mapping[str, Fit]) -> Graph:
    """Return the student with the weights that were found."""
    editor = Editor(student)
    for one in layers:
        fit = fits.get(one.node.name)
        if fit is not None and fit.ridge is not None:
            one.apply(editor, fit)
    return editor.done()


def _row(one: Layer, fit: Fit) -> dict[str, Any]:
    return {
        "node": one.node.name,
        "columns": one.student.columns,
        "ridge": fit.ridge,
        "error_before": round(fit.before, 6),
        "error_after": round(fit.after, 6),
    }
