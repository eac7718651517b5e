"""Repair weights after channels have left: asymmetric least squares, layer by layer.

The graph as it was (teacher) and as it is (student) run in lock-step. At every weighted node whose
data have changed, in topological order, the weights become those that make, from what the student
(repaired so far) reads, what the teacher makes. So each layer corrects the errors of those before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.batch_norm import Restated, Running, change, running_of
from slimc.fit.layer import Layer, affected, layers_of, with_biases
from slimc.fit.lockstep import FitterOf, LockStep, MomentFitter
from slimc.fit.moments import Fit, Moments, refit
from slimc.fit.sparse_columns import free_numbers
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.kept import Kept

SAMPLES = 256  # more changed little in trials; distinct ones matter, not crops
FEW_SAMPLES = 100  # below that least squares fits what they have in common
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
    progress: Callable[[int, int], None] = lambda done, wanted: None,
    fitter: FitterOf | None = None,
    also: Collection[str] = (),
) -> Repaired:
    """Refit the weights of `student` so that its layers make what those of `teacher` make.

    kept: value -> per axis, the indices of the teacher's value that the student's still has.
    progress: told (layers done, layers there are). fitter: finds the constants of a layer; by
    default least squares, in which 2:4 weights keep their zeros. also: nodes to fit even if what
    they read has not changed.
    Normalisations by constants (`rewrite.running`) get the statistics of what the student makes.
    A layer whose result is only added to another value aims at the teacher's sum less what the
    student adds: the trunk of a residual network is corrected at every block. Approximate; every
    layer is accepted only if it is nearer on samples held out.
    Source: He et al., ICCV 2017, section 3.1.2; asymmetric as in Meng et al., OSSCAR (2024).
    """
    changed = affected(teacher, student)
    facts = infer(teacher, ops, sizes), infer(student, ops, sizes)
    layers, remarks = layers_of(teacher, student, ops, facts, changed, also)
    narrow = [one for one in layers if one.student.columns <= WIDEST]
    said = [
        skipped(one.node.name, f"not repaired: {one.student.columns} columns, {WIDEST} at most")
        for one in layers
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
    prepared = with_biases(student, narrow)
    stops = [one.node.name for one in steps]
    with Store(store_bytes // 2) as first, Store(store_bytes // 2) as second:
        run = LockStep(
            teacher, prepared, feeds, stops, (first, second), kept, seed, progress=progress
        )
        found = {
            one.node.name: run.restate(one)
            if isinstance(one, Running)
            else run.fit(one, fitter or Refit)
            for one in steps
        }
    count = run.samples
    said += [_told(name, fit) for name, fit in found.items()]
    done = [(one, fit) for one in steps if not isinstance(fit := found[one.node.name], str)]
    table = tuple(_row(one, fit) for one, fit in done)
    return Repaired(_applied(student, done), table, (*_few(count), *remarks, *said), count)


def _told(node: str, fit: Fit | Restated | str) -> Remark:
    """Say what a fit brought, on results of samples held out."""
    if isinstance(fit, str):
        return skipped(node, f"not repaired: {fit}")
    if isinstance(fit, Restated):
        return fit.told(node)
    if not fit.says:
        return skipped(node, "as it is: no fit is nearer on results held out")
    return applied(node, f"{fit.says}: {change(fit.before, fit.after)}")


def _few(samples: int) -> tuple[Remark, ...]:
    if samples >= FEW_SAMPLES:
        return ()
    return (
        note(
            f"{samples} samples are few: weights fit what they have in common",
            help=f"give at least {FEW_SAMPLES} distinct ones",
        ),
    )


class Refit(MomentFitter):
    """Least squares from the moments of what a layer reads. again: as `refit` has it."""

    def __init__(self, layer: Layer, w: Floats, b: Floats, again: bool = True) -> None:
        super().__init__(layer, w, b)
        self._again = again

    def _fitted(self, train: Moments, held: Moments) -> Fit:
        free = free_numbers(self._layer.student, self._w)
        return refit(
            train, held, self._w, self._b, free_bias=self._free_bias, free=free, again=self._again
        )


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
