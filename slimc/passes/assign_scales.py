"""Choose what runs in integers, and the scale of every value it takes and makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

from slimc.analysis.shapes import infer
from slimc.calib.collect import collect
from slimc.calib.data import Data
from slimc.calib.observers import observer
from slimc.calib.table import Range
from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.graph import Form, Graph
from slimc.ir.types import DType
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context, Grid, Target
from slimc.passes.integer_nodes import Choice, choose
from slimc.passes.scale_groups import ScaleGroup, groups
from slimc.passes.scales import activation_record, weight_record
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.rule import names_matching


@dataclass(frozen=True)
class AssignScales(Pass):
    """Choose the nodes that run in integers, measure ranges, attach a record to each value.

    Activations: one scale per tensor, from the range in the samples, zero always a number of the
    grid. Weights: one per output channel, largest magnitude / largest integer. Values of operators
    that move or join elements share one scale where the target wants it. The graph still computes
    in floats; the target's emitter writes the integers.
    Source: Jacob et al., CVPR 2018; Nagel et al., "A white paper on neural network quantization".
    """

    name: ClassVar[str] = "assign-scales"
    promise: ClassVar[Promise] = "integers"

    scheme: Literal["int8"] = option("int8", "8-bit weights and activations, ranges fixed ahead")
    calibrator: Literal["minmax", "moving-average", "percentile", "entropy", "mse"] = option(
        "mse", "how a range follows from the samples: their extremes, or what is best to clip to"
    )
    percentile: float = option(99.99, "of the elements that the range covers, in percent")
    samples: int = option(0, "samples to calibrate on; 0: all", least=0)
    keep: tuple[str, ...] = option((), "nodes to leave in float (names, with * and ?)")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Raise SlimcError: bad-option-value, already-quantized, unknown-node, not-finite."""
        _check(self, graph)
        if not ctx.target.quantize or ctx.target.placement is None:
            return PassResult(graph, (_no_integers(ctx.target),))
        kept = frozenset(names_matching(graph, self.keep, f"option keep of pass {self.name}"))
        choice = choose(graph, ctx, infer(graph, ctx.ops, ctx.sizes), kept)
        left = tuple(
            skipped(node, f"stays in float: {why}") for node, why in choice.reasons.items()
        )
        if not choice.sites:
            nothing = note(f"nothing in this graph runs in integers on {ctx.target.name}")
            return PassResult(graph, (nothing, *left), {"integer": 0})
        data = ctx.data.first_samples(self.samples)
        shared = groups(graph, ctx.target.placement, choice)
        ranges = self._measure(graph, data, shared)
        made = _attach(graph, choice, shared, ranges)
        facts = {
            "calibrator": self.calibrator,
            "samples": data.samples,
            "integer": sum(site.row.weighted is not None for site in choice.sites.values()),
            "ranges": {v: [r.low, r.high] for one, r in ranges.items() for v in one.values},
        }
        return PassResult(made, (*_remarks(ctx, made, choice), *left), facts)

    def _measure(
        self, graph: Graph, data: Data, shared: Sequence[ScaleGroup]
    ) -> dict[ScaleGroup, Range]:
        """Return the range of every group: of its sources in the samples, and of its constants."""
        observers = {
            value: observer(
                self.calibrator,
                self.percentile,
                group.grid.high - group.grid.low + 1,
                group.grid.symmetric,
            )
            for group in shared
            for value in group.sources
            if value not in graph.constants
        }
        table = collect(graph, data, observers)
        return {group: _joined(graph, group, table.ranges) for group in shared}


def _check(options: AssignScales, graph: Graph) -> None:
    where = f"pass {options.name}"
    if not 50 < options.percentile <= 100:
        raise SlimcError(
            "bad-option-value",
            f"percentile is {options.percentile}, it must lie above 50 and not above 100",
            where,
            "percentile=99.99 leaves out the largest of ten thousand elements",
        )
    quantized = next((n.name for n in graph.walk() if n.op == "QuantizeLinear" or n.integer), None)
    if quantized is not None or graph.records:
        raise SlimcError(
            "already-quantized",
            "scales of this graph are already chosen"
            + (f" (node '{quantized}')" if quantized else ""),
            where,
            "start from the model as it was before quantization",
        )


def _joined(graph: Graph, group: ScaleGroup, measured: Mapping[str, Range]) -> Range:
    parts = [measured[value] for value in group.sources if value in measured]
    for value in (*group.sources, *group.settings):
        if value in graph.constants and graph.constants[value].array.size:
            array = graph.constants[value].array
            parts.append(Range(float(array.min()), float(array.max())))
    return reduce(Range.join, parts, Range(0.0, 0.0))


def _attach(
    graph: Graph,
    choice: Choice,
    shared: Sequence[ScaleGroup],
    ranges: Mapping[ScaleGroup, Range],
) -> Graph:
    """Mark the nodes, and attach a record to each of their values."""
    editor = Editor(graph, made_by=AssignScales.name)
    for group in shared:
        record = activation_record(group.grid, ranges[group])
        for value in group.values:
            editor.set_record(value, record)
    taken = {value for group in shared for value in group.values}
    weights: dict[str, tuple[Grid, int | None, tuple[int, ...]]] = {}
    for site in choice.sites.values():
        editor.update(site.node.name, integer=True)
        if site.weight is None or site.wants.weights is None:
            continue
        value, grid = site.weight, site.wants.weights
        how = (grid, site.channel_axis, site.sums)
        if value in taken or weights.setdefault(value, how) != how:
            value = editor.add_constant(graph.constants[value], f"{site.node.name}.weight")
            editor.set_input(site.node.name, site.takes[1], value)
        array = graph.constants[site.weight].array
        editor.set_record(value, weight_record(grid, array, *how[1:]))
    return editor.done(form=Form.QUANTIZED)


def _remarks(ctx: Context, graph: Graph, choice: Choice) -> list[Remark]:
    said: list[Remark] = []
    if ctx.data.synthetic:
        said.append(
            note(
                "ranges come from made-up samples: the integers may not fit real ones",
                help="give real samples with --calib",
            )
        )
    for site in choice.sites.values():
        if site.adds_bias_of:
            said.append(applied(site.node.name, f"adds the bias of '{site.adds_bias_of}'"))
            continue
        node = graph.by_name[site.node.name]
        operands = [node.inputs[i] for i in site.takes if node.inputs[i] in graph.records]
        said.append(applied(node.name, f"takes {', '.join(_seen(graph, v) for v in operands)}"))
    return said


def _seen(graph: Graph, value: str) -> str:
    """Describe a value as integers: `'w' as i8, 16 scales`."""
    record = graph.records[value]
    if record.axis is not None:
        return f"'{value}' as {record.dtype.text} with {record.scale.size} scales"
    zero, scale = int(record.zero_point), float(record.scale)
    low, high = (record.low - zero) * scale, (record.high - zero) * scale
    return f"'{value}' as {record.dtype.text} {low:.6g}..{high:.6g}"


def _no_integers(target: Target) -> Remark:
    instead = "choose a target that does: slimc targets"
    if target.prefer is not DType.F32:
        instead = f"its file gets {target.prefer.text} weights instead, and prune makes it faster"
    return skipped("", f"{target.name} runs nothing in integers, so no scale is chosen", instead)
