"""The layers of a graph with records, fitted in turn beside the graph in floats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from slimc.analysis.shapes import infer
from slimc.calib.feeds import Feed
from slimc.calib.fields import or_fields, tells_channels_apart
from slimc.calib.moments import Fit
from slimc.calib.store import STORE_BYTES, Store
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization
from slimc.ops.op import OpTable
from slimc.passes.base import PassResult
from slimc.passes.context import Context, Placement
from slimc.passes.insert_qdq import place
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.layer import Layer, layer_of, with_biases
from slimc.rewrite.lockstep import FitterOf, LockStep
from slimc.rewrite.running import change

# Clamps stay, so that layers make what they make in floats; constants are the numbers of the grid.
_SIMULATED = Placement(
    output=False, activation="after", bias="float", weights="rounded", residual="both"
)

_FIELDS = note(
    "there are no samples: layers are fitted on random fields",
    help="give samples, --calib: what is fitted to them is nearer",
)


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
    Without samples random fields stand in. fitter: gives `Chosen`.
    """
    if not graph.records:
        return PassResult(graph, (note("nothing has scales yet: assign-scales comes first"),))
    sizes = ctx.sizes_of(graph)
    teacher, student = replace(graph, records={}), simulated(graph, ctx)
    found, said = _layers(graph, teacher, student, ctx)
    feeds: list[Feed] = []
    if tells_channels_apart(ctx.data):
        feeds = list(or_fields(ctx.data, sizes, ctx.seed).first_samples(samples))
    if not (found and feeds):
        why = "there are no samples to fit on" if found else "no weights have scales"
        return PassResult(graph, (note(f"{why}: all stays as it is"), *said))
    stops, half = [one.node.name for one in found], STORE_BYTES // 2
    with Store(half) as first, Store(half) as second:
        stores = first, second
        run = LockStep(teacher, with_biases(student, found), feeds, stops, stores, seed=ctx.seed)
        done = [(one, run.fit(one, fitter)) for one in found]
    editor = Editor(graph)
    for one, fit in done:
        said.append(_told(one, fit))
        if isinstance(fit, Chosen) and fit.has_new_bias:
            one.apply(editor, fit)
            editor.set_record(one.student.weight, fit.record or graph.records[one.student.weight])
    if ctx.data.synthetic:
        said.insert(0, _FIELDS)
    table = [_row(one, fit) for one, fit in done if isinstance(fit, Chosen)]
    facts = {"layers": table, "samples": run.samples}
    return PassResult(editor.done(form=graph.form), tuple(said), facts)


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
        if isinstance(one, Layer):
            found.append(one)
        else:
            said.append(skipped(node.name, f"as it is: {one or 'its weights are computed'}"))
    return found, said


def simulated(graph: Graph, ctx: Context) -> Graph:
    """Return a graph of floats that computes as the integers of the records would.

    Values without a record keep what they are: a range that is measured at run time rounds little.
    """
    placement = ctx.target.placement or _SIMULATED
    style = replace(placement, activation="after", bias="float", weights="rounded")
    return place(graph, ctx.ops, style).graph


def has_weight_record(graph: Graph, ops: OpTable, node: str) -> bool:
    """Tell whether the constant weight of a node has a record."""
    one = graph.by_name[node]
    row = ops.get(one.kind)
    if row is None or row.weighted is None or row.weighted.weight >= len(one.inputs):
        return False
    weight = one.inputs[row.weighted.weight]
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
