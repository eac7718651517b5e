"""Repair weights after channels were removed: asymmetric least squares, layer by layer.

The original graph (teacher) and the pruned one (student) run in lock-step. At every weighted node
whose data changed, in topological order, the weights are refitted: the inputs come from the student
(repaired so far), the target outputs from the teacher. So each layer corrects the errors of those
before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.batch_norm import Normalization, StatisticsFit, find_normalizations, format_errors
from slimc.fit.layer import LayerPair, add_biases, find_changed_values, pair_layers
from slimc.fit.lockstep import LockStep, MakeFitter, MomentFitter
from slimc.fit.moments import Fit, Moments, refit
from slimc.fit.sparse_columns import free_weights
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.kept import Kept

SAMPLES = 256  # more changed little in experiments; distinct ones matter, not crops
FEW_SAMPLES = 100  # below that, least squares overfits
WIDEST = 4608  # columns of a least-squares problem: 512 channels under 3 x 3 taps


@dataclass(frozen=True)
class RepairResult:
    """The result of a repair."""

    graph: Graph
    """The repaired graph."""
    table: tuple[dict[str, Any], ...]
    """A row per layer, for the report."""
    remarks: tuple[Remark, ...]
    """What changed, and what did not and why."""
    samples: int = 0
    """Number of samples used."""


def repair_layers(
    teacher: Graph,
    student: Graph,
    kept: Mapping[str, Kept],
    ops: OpTable,
    data: Data,
    sizes: Mapping[str, int],
    seed: int = 0,
    samples: int = SAMPLES,
    store_bytes: int = STORE_BYTES,
    progress: Callable[[int, int], None] = lambda done, total: None,
    fitter: MakeFitter | None = None,
    also: Collection[str] = (),
) -> RepairResult:
    """Refit the weights of `student` so that its layers compute what those of `teacher` compute.

    kept: value -> per axis, the indices of the teacher's value that the student's still has.
    progress: called with (layers done, layers). fitter: finds the constants of a layer; default:
    least squares, 2:4 weights keep their zeros. also: nodes to fit even if inputs are unchanged.

    Statistics of normalizations (`fit.batch_norm`) are re-estimated on the student. A layer
    whose result is only added to another value is fitted to the teacher's sum minus the student's
    other summand. Approximate; a layer changes only if it is closer on held-out samples.
    Source: He et al., ICCV 2017, section 3.1.2; asymmetric as in Meng et al., OSSCAR (2024).
    """
    changed = find_changed_values(teacher, student)
    facts = infer(teacher, ops, sizes), infer(student, ops, sizes)
    layers, remarks = pair_layers(teacher, student, ops, facts, changed, also)
    narrow = [layer for layer in layers if layer.student.columns <= WIDEST]
    skips = [
        skipped(layer.node.name, f"not repaired: {layer.student.columns} columns, {WIDEST} at most")
        for layer in layers
        if layer.student.columns > WIDEST
    ]
    norms, norm_remarks = find_normalizations(student, ops, facts[1], changed)
    skips += norm_remarks
    position = {node.name: i for i, node in enumerate(student.nodes)}
    steps: list[LayerPair | Normalization] = sorted(
        [*narrow, *norms], key=lambda layer: position[layer.node.name]
    )
    feeds = list(data.first_samples(samples))
    if not steps or not feeds:
        return RepairResult(student, (), (*remarks, *skips))
    stops = [layer.node.name for layer in steps]
    with Store(store_bytes // 2) as first, Store(store_bytes // 2) as second:
        run = LockStep(
            teacher, add_biases(student, narrow), feeds, stops, (first, second), kept, seed,
            progress=progress,
        )  # fmt: skip
        fits = {
            layer.node.name: run.reestimate(layer)
            if isinstance(layer, Normalization)
            else run.fit(layer, fitter or LeastSquaresFitter)
            for layer in steps
        }
    skips += [_remark_on_fit(name, fit) for name, fit in fits.items()]
    done = [(layer, fit) for layer in steps if not isinstance(fit := fits[layer.node.name], str)]
    table = tuple(_table_row(layer, fit) for layer, fit in done)
    notes = (*_remarks_on_samples(run.samples), *remarks, *skips)
    return RepairResult(_apply_fits(student, done), table, notes, run.samples)


def _remark_on_fit(node: str, fit: Fit | StatisticsFit | str) -> Remark:
    """Return the remark on a fit, with its errors on held-out samples."""
    if isinstance(fit, str):
        return skipped(node, f"not repaired: {fit}")
    if isinstance(fit, StatisticsFit):
        return fit.remark(node)
    if not fit.description:
        return skipped(node, "unchanged: no fit is closer on held-out samples")
    return applied(node, f"{fit.description}: {format_errors(fit.before, fit.after)}")


def _remarks_on_samples(samples: int) -> tuple[Remark, ...]:
    if samples >= FEW_SAMPLES:
        return ()
    return (
        note(
            f"{samples} samples are few: the fit may overfit them",
            help=f"give at least {FEW_SAMPLES} distinct samples",
        ),
    )


class LeastSquaresFitter(MomentFitter):
    """Least squares from the moments of the inputs of a layer. use_held: as in `moments.refit`."""

    def __init__(self, layer: LayerPair, w: Floats, b: Floats, use_held: bool = True) -> None:
        super().__init__(layer, w, b)
        self._use_held = use_held

    def _fit_layers(self, train: Moments, held: Moments) -> Fit:
        free = free_weights(self._layer.student, self._w)
        return refit(
            train,
            held,
            self._w,
            self._b,
            free_bias=self._free_bias,
            free=free,
            use_held=self._use_held,
        )


def _apply_fits(
    student: Graph, fits: Sequence[tuple[LayerPair | Normalization, Fit | StatisticsFit]]
) -> Graph:
    """Return the student with the new weights and statistics."""
    editor = Editor(student)
    for layer, fit in fits:
        if isinstance(fit, StatisticsFit):
            for name, array in fit.constants.items():
                editor.set_constant(name, array)
        elif isinstance(layer, LayerPair) and fit.ridge is not None:
            layer.apply(editor, fit)
    return editor.finish()


def _table_row(layer: LayerPair | Normalization, fit: Fit | StatisticsFit) -> dict[str, Any]:
    return {
        "node": layer.node.name,
        "columns": layer.student.columns if isinstance(layer, LayerPair) else 1,
        "ridge": fit.ridge if isinstance(fit, Fit) else None,
        "error_before": round(fit.before, 6),
        "error_after": round(fit.after, 6),
    }
