"""The layers of a graph with records, fitted in turn beside the graph in floats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.feeds import macs_of
from slimc.calib.held_out import select_held_out
from slimc.calib.random_fields import distinguishes_channels, or_fields
from slimc.calib.sample_errors import measure_gain
from slimc.execute.ort import Feed
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.batch_norm import format_errors
from slimc.fit.layer import LayerPair, add_biases, pair_layer
from slimc.fit.lockstep import LockStep, MakeFitter
from slimc.fit.moments import Fit
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization
from slimc.ops.op import OpTable
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.lower.emit_dynamic import is_dynamic
from slimc.passes.lower.insert_qdq import insert_qdq
from slimc.remarks import Remark, applied, note, skipped
from slimc.targets.target import Placement

# Clamps stay, so that layers make what they make in floats; constants are the numbers of the grid.
_SIMULATED = Placement(
    output=False, activation="after", bias="float", weights="rounded", residual="both"
)

_RANDOM_FIELDS_NOTE = note(
    "there are no samples: layers are fitted on random fields",
    help="give samples, --calib: what is fitted to them is nearer",
)

ROWS = 4096  # results that a layer is fitted on, at least: four times as many gain 0.1 dB
MACS = 16e9  # of the samples that layers are fitted on, unless the user says how many
SAMPLES = (32, 256)  # at least, and at most
JUDGES = 128  # samples of which every fifth judges what comes out

FitMethod = Literal["nearest", "bias", "rounded", "refitted"]

_METHOD_TEXT = {
    "bias": "new bias",
    "rounded": "rounded column by column",
    "refitted": "refitted and rounded column by column",
}


@dataclass(frozen=True)
class ChosenFit(Fit):
    """What a layer gets, and how it was found: "nearest" is what it had."""

    how: FitMethod
    record: Quantization | None = None  # a new grid of the weights

    @property
    def has_new_weights(self) -> bool:
        return self.how in ("rounded", "refitted")

    @property
    def has_new_bias(self) -> bool:
        return self.how != "nearest"


def fit_layers(graph: Graph, ctx: Context, samples: int, fitter: MakeFitter) -> PassResult:
    """Fit every weighted node whose weight has a record, in order, as the target will run it.

    The student computes with the numbers of all grids, in floats; the teacher in floats only.
    samples: to fit on; 0: as many as cost `MACS`. Without any random fields stand in. Where outputs
    are not surely nearer in the end, on samples held out, all stays as it is; nor may they be
    farther on the made-up samples that ranges are of: fields differ from these. fitter: gives
    `Chosen`.
    """
    if not graph.records:
        return PassResult(graph, (note("no weight has a scale: all stays as it is"),))
    teacher, student = replace(graph, records={}), simulate(_with_float_data(graph, ctx), ctx)
    layers, remarks = _find_layers(graph, teacher, student, ctx)
    data = or_fields(ctx.data, ctx.sizes_of(graph), ctx.seed)
    feeds: list[Feed] = []
    if distinguishes_channels(ctx.data):
        feeds = list(data.first_samples(samples or _affordable_samples(teacher, ctx, data)))
    if not (layers and feeds):
        why = "there are no samples to fit on" if layers else "no layer can be fitted"
        return PassResult(graph, (note(f"{why}: all stays as it is"), *remarks))
    stops, half = [layer.node.name for layer in layers], STORE_BYTES // 2
    with Store(half) as first, Store(half) as second:
        stores = first, second
        prepared, show_progress = (
            add_biases(student, layers),
            partial(ctx.progress, "fitting layers"),
        )
        run = LockStep(
            teacher,
            prepared,
            feeds,
            stops,
            stores,
            seed=ctx.seed,
            rows=ROWS,
            progress=show_progress,
        )
        fits = [(layer, run.fit(layer, fitter)) for layer in layers]
    fitted = _apply_fits(graph, fits)
    remarks += [_fit_remark(layer, fit) for layer, fit in fits]
    if fitted is graph:
        return PassResult(graph, tuple(remarks))
    table = [_row(layer, fit) for layer, fit in fits if isinstance(fit, ChosenFit)]
    gain_db, sure = _measure_gain(graph, fitted, ctx, select_held_out(data, samples or JUDGES))
    facts = {"layers": table, "samples": run.samples, "gain_db": round(gain_db, 3)}
    if not sure:
        why = f"outputs are not surely nearer on samples held out ({gain_db:+.2f} dB)"
        return PassResult(graph, (note(f"all stays as it is: {why}"),), facts)
    if ctx.data.synthetic:
        other_db, _ = _measure_gain(graph, fitted, ctx, ctx.data.first_samples(JUDGES))
        if other_db < 0:
            why = f"outputs are worse on the random samples of the ranges ({other_db:+.2f} dB)"
            return PassResult(graph, (note(f"all stays as it is: {why}"),), facts)
    fields = (_RANDOM_FIELDS_NOTE,) if ctx.data.synthetic else ()
    summary = f"outputs are {gain_db:.2f} dB nearer on samples held out"
    if not gain_db:
        summary = "there are too few samples to judge the outputs by: each layer is judged alone"
    return PassResult(fitted, (*fields, note(summary), *remarks), facts)


def _apply_fits(graph: Graph, fits: Iterable[tuple[LayerPair, Fit | str]]) -> Graph:
    editor = Editor(graph)
    for layer, fit in fits:
        if isinstance(fit, ChosenFit) and fit.has_new_bias:
            layer.apply(editor, fit)
            editor.set_record(
                layer.student.weight, fit.record or graph.records[layer.student.weight]
            )
    return editor.finish(form=graph.form) if editor.changed else graph


def _measure_gain(
    before: Graph, after: Graph, ctx: Context, data: Iterable[Feed]
) -> tuple[float, bool]:
    """Return by how many dB outputs are nearer, in the mean over samples, and if surely so."""
    floats = replace(before, records={})
    return measure_gain(floats, simulate(before, ctx), simulate(after, ctx), [*data])


def _affordable_samples(graph: Graph, ctx: Context, data: Data) -> int:
    """Return how many samples cost `MACS`, within the bounds of `SAMPLES`."""
    least, most = SAMPLES
    feed = next(iter(data), None)
    if feed is None:
        return least
    macs, samples = macs_of(feed, graph, ctx.ops, ctx.sizes_of(graph))
    return max(least, min(most, int(MACS / max(1.0, macs / max(1, samples)))))


def _find_layers(
    graph: Graph, teacher: Graph, student: Graph, ctx: Context
) -> tuple[list[LayerPair], list[Remark]]:
    """Return the layers whose weights have records, and why others with such weights are none."""
    sizes = ctx.sizes_of(graph)
    facts = infer(teacher, ctx.ops, sizes), infer(student, ctx.ops, sizes)
    layers: list[LayerPair] = []
    remarks: list[Remark] = []
    for node in student.nodes:
        if node.name not in graph.by_name or not has_weight_record(graph, ctx.ops, node.name):
            continue
        layer = pair_layer(teacher, student, ctx.ops, facts, node)
        if isinstance(layer, LayerPair) and layer.student.weight not in graph.records:
            layer = "others read its weights too"  # in floats: the simulation has made two of them
        if isinstance(layer, LayerPair):
            layers.append(layer)
        else:
            remarks.append(skipped(node.name, f"as it is: {layer or 'its weights are computed'}"))
    return layers, remarks


def simulate(graph: Graph, ctx: Context) -> Graph:
    """Return a graph that computes as the integers of the records would.

    It is of floats, but for products whose data are measured in each run.
    """
    placement = ctx.target.placement or _SIMULATED
    style = replace(placement, activation="after", bias="float", weights="rounded")
    return insert_qdq(graph, ctx.ops, style).graph


def _with_float_data(graph: Graph, ctx: Context) -> Graph:
    """Let products whose data are measured in each run compute in floats: weights round alone."""
    editor = Editor(graph)
    for node in graph.nodes:
        if is_dynamic(graph, ctx.ops, node):
            editor.update(node.name, integer=False)
    return editor.finish(form=graph.form)


def has_weight_record(graph: Graph, ops: OpTable, node: str) -> bool:
    """Tell whether the constant weight of a node has a record."""
    weight = ops.weight_of(graph.by_name[node])
    return weight in graph.records and weight in graph.constants


def _fit_remark(layer: LayerPair, fit: Fit | str) -> Remark:
    if isinstance(fit, str):
        return skipped(layer.node.name, f"as it is: {fit}")
    assert isinstance(fit, ChosenFit)
    if fit.how == "nearest":
        return skipped(layer.node.name, "as it is: nothing is nearer on samples held out")
    return applied(
        layer.node.name, f"{_METHOD_TEXT[fit.how]}: {format_errors(fit.before, fit.after)}"
    )


def _row(layer: LayerPair, fit: ChosenFit) -> dict[str, Any]:
    return {
        "node": layer.node.name,
        "columns": layer.student.columns,
        "how": fit.how,
        "error_before": round(fit.before, 6),
        "error_after": round(fit.after, 6),
    }
