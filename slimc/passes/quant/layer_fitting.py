"""The layers of a graph with records, fitted in turn beside the graph in floats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.feeds import macs_of
from slimc.calib.held_out import held_out
from slimc.calib.random_fields import or_fields, tells_channels_apart
from slimc.calib.sample_errors import surely_nearer
from slimc.execute.ort import Feed
from slimc.execute.spool import STORE_BYTES, Store
from slimc.fit.batch_norm import change
from slimc.fit.layer import Layer, layer_of, with_biases
from slimc.fit.lockstep import FitterOf, LockStep
from slimc.fit.moments import Fit
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization
from slimc.ops.op import OpTable
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.lower.emit_dynamic import is_dynamic
from slimc.passes.lower.insert_qdq import place
from slimc.remarks import Remark, applied, note, skipped
from slimc.targets.target import Placement

# Clamps stay, so that layers make what they make in floats; constants are the numbers of the grid.
_SIMULATED = Placement(
    output=False, activation="after", bias="float", weights="rounded", residual="both"
)

_FIELDS = note(
    "there are no samples: layers are fitted on random fields",
    help="give samples, --calib: what is fitted to them is nearer",
)

ROWS = 4096  # results that a layer is fitted on, at least: four times as many gain 0.1 dB
MACS = 16e9  # of the samples that layers are fitted on, unless the user says how many
SAMPLES = (32, 256)  # at least, and at most
JUDGES = 128  # samples of which every fifth judges what comes out

Way = Literal["nearest", "bias", "rounded", "refitted"]

_TOLD = {
    "bias": "new bias",
    "rounded": "rounded column by column",
    "refitted": "refitted and rounded column by column",
}


@dataclass(frozen=True)
class Chosen(Fit):
    """What a layer gets, and how it was found: "nearest" is what it had."""

    how: Way
    record: Quantization | None = None  # a new grid of the weights

    @property
    def has_new_weights(self) -> bool:
        return self.how in ("rounded", "refitted")

    @property
    def has_new_bias(self) -> bool:
        return self.how != "nearest"


def fit_layers(graph: Graph, ctx: Context, samples: int, fitter: FitterOf) -> PassResult:
    """Fit every weighted node whose weight has a record, in order, as the target will run it.

    The student computes with the numbers of all grids, in floats; the teacher in floats only.
    samples: to fit on; 0: as many as cost `MACS`. Without any random fields stand in. Where outputs
    are not surely nearer in the end, on samples held out, all stays as it is; nor may they be
    farther on the made-up samples that ranges are of: fields differ from these. fitter: gives
    `Chosen`.
    """
    if not graph.records:
        return PassResult(graph, (note("no weight has a scale: all stays as it is"),))
    teacher, student = replace(graph, records={}), simulated(_in_floats(graph, ctx), ctx)
    found, said = _layers(graph, teacher, student, ctx)
    data = or_fields(ctx.data, ctx.sizes_of(graph), ctx.seed)
    feeds: list[Feed] = []
    if tells_channels_apart(ctx.data):
        feeds = list(data.first_samples(samples or _affordable(teacher, ctx, data)))
    if not (found and feeds):
        why = "there are no samples to fit on" if found else "no layer can be fitted"
        return PassResult(graph, (note(f"{why}: all stays as it is"), *said))
    stops, half = [one.node.name for one in found], STORE_BYTES // 2
    with Store(half) as first, Store(half) as second:
        stores = first, second
        prepared, tell = with_biases(student, found), partial(ctx.progress, "fitting layers")
        run = LockStep(
            teacher, prepared, feeds, stops, stores, seed=ctx.seed, rows=ROWS, progress=tell
        )
        done = [(one, run.fit(one, fitter)) for one in found]
    made = _applied(graph, done)
    said += [_told(one, fit) for one, fit in done]
    if made is graph:
        return PassResult(graph, tuple(said))
    table = [_row(one, fit) for one, fit in done if isinstance(fit, Chosen)]
    nearer, sure = _gain(graph, made, ctx, held_out(data, samples or JUDGES))
    facts = {"layers": table, "samples": run.samples, "gain_db": round(nearer, 3)}
    if not sure:
        why = f"outputs are not surely nearer on samples held out ({nearer:+.2f} dB)"
        return PassResult(graph, (note(f"all stays as it is: {why}"),), facts)
    if ctx.data.synthetic:
        seen, _ = _gain(graph, made, ctx, ctx.data.first_samples(JUDGES))
        if seen < 0:
            why = f"outputs are farther on the made-up samples that ranges are of ({seen:+.2f} dB)"
            return PassResult(graph, (note(f"all stays as it is: {why}"),), facts)
    fields = (_FIELDS,) if ctx.data.synthetic else ()
    whole = f"outputs are {nearer:.2f} dB nearer on samples held out"
    if not nearer:
        whole = "there are too few samples to judge the outputs by: each layer is judged alone"
    return PassResult(made, (*fields, note(whole), *said), facts)


def _applied(graph: Graph, done: Iterable[tuple[Layer, Fit | str]]) -> Graph:
    editor = Editor(graph)
    for one, fit in done:
        if isinstance(fit, Chosen) and fit.has_new_bias:
            one.apply(editor, fit)
            editor.set_record(one.student.weight, fit.record or graph.records[one.student.weight])
    return editor.done(form=graph.form) if editor.changed else graph


def _gain(before: Graph, after: Graph, ctx: Context, data: Iterable[Feed]) -> tuple[float, bool]:
    """Return by how many dB outputs are nearer, in the mean over samples, and if surely so."""
    floats = replace(before, records={})
    return surely_nearer(floats, simulated(before, ctx), simulated(after, ctx), [*data])


def _affordable(graph: Graph, ctx: Context, data: Data) -> int:
    """Return how many samples cost `MACS`, within the bounds of `SAMPLES`."""
    least, most = SAMPLES
    feed = next(iter(data), None)
    if feed is None:
        return least
    macs, samples = macs_of(feed, graph, ctx.ops, ctx.sizes_of(graph))
    return max(least, min(most, int(MACS / max(1.0, macs / max(1, samples)))))


def _layers(
    graph: Graph, teacher: Graph, student: Graph, ctx: Context
) -> tuple[list[Layer], list[Remark]]:
    """Return the layers whose weights have records, and why others with such weights are none."""
    sizes = ctx.sizes_of(graph)
    facts = infer(teacher, ctx.ops, sizes), infer(student, ctx.ops, sizes)
    found: list[Layer] = []
    said: list[Remark] = []
    for node in student.nodes:
        if node.name not in graph.by_name or not has_weight_record(graph, ctx.ops, node.name):
            continue
        one = layer_of(teacher, student, ctx.ops, facts, node)
        if isinstance(one, Layer) and one.student.weight not in graph.records:
            one = "others read its weights too"  # in floats: the simulation has made two of them
        if isinstance(one, Layer):
            found.append(one)
        else:
            said.append(skipped(node.name, f"as it is: {one or 'its weights are computed'}"))
    return found, said


def simulated(graph: Graph, ctx: Context) -> Graph:
    """Return a graph that computes as the integers of the records would.

    It is of floats, but for products whose data are measured in each run.
    """
    placement = ctx.target.placement or _SIMULATED
    style = replace(placement, activation="after", bias="float", weights="rounded")
    return place(graph, ctx.ops, style).graph


def _in_floats(graph: Graph, ctx: Context) -> Graph:
    """Let products whose data are measured in each run compute in floats: weights round alone."""
    editor = Editor(graph)
    for node in graph.nodes:
        if is_dynamic(graph, ctx.ops, node):
            editor.update(node.name, integer=False)
    return editor.done(form=graph.form)


def has_weight_record(graph: Graph, ops: OpTable, node: str) -> bool:
    """Tell whether the constant weight of a node has a record."""
    weight = ops.weight_of(graph.by_name[node])
    return weight in graph.records and weight in graph.constants


def _told(one: Layer, fit: Fit | str) -> Remark:
    if isinstance(fit, str):
        return skipped(one.node.name, f"as it is: {fit}")
    assert isinstance(fit, Chosen)
    if fit.how == "nearest":
        return skipped(one.node.name, "as it is: nothing is nearer on samples held out")
    return applied(one.node.name, f"{_TOLD[fit.how]}: {change(fit.before, fit.after)}")


def _row(one: Layer, fit: Chosen) -> dict[str, Any]:
    return {
        "node": one.node.name,
        "columns": one.student.columns,
        "how": fit.how,
        "error_before": round(fit.before, 6),
        "error_after": round(fit.after, 6),
    }
