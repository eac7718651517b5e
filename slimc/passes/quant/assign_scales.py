"""Choose what runs in integers, and the scale of every value it takes and makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import ClassVar, cast

from slimc.analysis.shapes import infer
from slimc.calib.collect import collect_ranges, table_key
from slimc.calib.data import Data
from slimc.calib.observers import Calibrator, make_observer
from slimc.calib.probes import lower_bounds
from slimc.calib.table import ValueRange
from slimc.errors import SlimcError
from slimc.ir.editor import remove_dead_code
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.qdq import QUANTIZE
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.bodies_in_float import left_in_bodies
from slimc.passes.context import Context
from slimc.passes.float_weights import check_float_weights
from slimc.passes.give_back import decide, measured_facts
from slimc.passes.quant.attach_records import attach_quantization, quantization_remarks
from slimc.passes.quant.integer_nodes import select_integer_nodes
from slimc.passes.quant.scale_groups import ScaleGroup, cover_all_values, make_scale_groups
from slimc.passes.quant.slow_integers import TimedRegions, is_slower, slow_integer_remarks
from slimc.passes.quant.stored_weights import choose_weights, match_integer_grids
from slimc.passes.schemes import FLOAT, FLOATS, FP32, STORED, Scheme, check_mixed, schemes_of
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.remarks import Remark, note, skipped
from slimc.targets.target import Target

PERCENTILE = 99.99  # of the elements: leaves out the largest of ten thousand


@dataclass(frozen=True)
class AssignScales(Pass):
    """Choose the nodes that run in integers, measure ranges, attach a record to each value.

    Activations: one scale per tensor, from the range in the samples, zero always a number of the
    grid. Weights: one per output channel, largest magnitude / largest integer; of 4 bits one per
    block of what is summed, by least squared error. Values of operators that move or join elements
    share one scale where the target wants it. The graph still computes in floats; the target's
    emitter writes the integers.
    Source: Jacob et al., CVPR 2018; Nagel et al., "A white paper on neural network quantization".
    """

    name: ClassVar[str] = "assign-scales"
    promise: ClassVar[Promise] = "integers"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.QUANTIZES, Trait.REVERTS})

    scheme: Scheme = option(
        "auto",
        "what becomes integers: weights and activations, whose ranges are fixed ahead (int8, "
        "int16-act, fp8) or measured in each run (int8-dynamic); weights alone (*-weights; uint4: "
        "with zero points); floats of 16 bits (fp16, bf16); auto: the target's best",
    )
    mixed: tuple[str, ...] = option(
        (), 'other schemes for some nodes: "pattern=scheme", or "=float"; the last match counts'
    )
    block: int | None = option(
        None, "elements of a 4-bit weight that share a scale; none: the target's, 32", least=16
    )
    min_elements: int = option(
        1024, "of a weight that is worth storing in integers alone: scales take room too", least=0
    )
    calibrator: Calibrator = option(
        "mse",
        "how a range follows from the samples: their extremes, or what is best to clip to; auto: "
        "by whichever of these loses least on elements held out",
    )
    percentile: float = option(
        PERCENTILE,
        "of the elements that the range covers: 99.99 leaves out the largest of ten thousand",
        above=50,
        most=100,
    )
    samples: int = option(0, "samples to calibrate on; 0: all", least=0)
    keep: tuple[str, ...] = option((), "nodes to leave in float (names, with * and ?)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.percentile != PERCENTILE and self.calibrator != "percentile":
            message = f"percentile is {self.percentile:g}, but the calibrator is {self.calibrator}"
            raise self.bad_option(message, "calibrator=percentile takes it")
        if self.scheme in FLOATS and not self.mixed:
            idle = {"block": None, "min_elements": 1024, "calibrator": "mse"}
            for name, default in idle.items():
                if getattr(self, name) != default:
                    message = (
                        f"{name} has no effect with scheme={self.scheme}: no integers are made"
                    )
                    raise self.bad_option(message, f"leave out {name}")
        check_mixed(self.mixed, self.name)

    @property
    def schemes(self) -> tuple[str, tuple[str, ...]]:
        return self.scheme, self.mixed

    def own_traits(self) -> frozenset[Trait]:
        named = {self.scheme, *(entry.rpartition("=")[2] for entry in self.mixed)}
        integers = any(scheme not in (*FLOATS, FLOAT, FP32, *STORED) for scheme in named)
        return self.traits | {Trait.INTEGERS} if integers else self.traits

    def in_float(self, nodes: Sequence[str]) -> AssignScales:
        return replace(self, keep=tuple(dict.fromkeys((*self.keep, *nodes))))

    def with_schemes(self, scheme: str, mixed: Sequence[str]) -> AssignScales:
        return replace(self, scheme=cast("Scheme", scheme), mixed=tuple(mixed))

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Quantize what the scheme says.

        Raises SlimcError: bad-option-value, scheme-unsupported, already-quantized, unknown-node,
        not-finite.
        """
        _check_options(self, graph)
        if self.scheme in FLOATS and not self.mixed:
            return PassResult(graph)  # lower-float16 does it
        graph = remove_dead_code(graph)
        schemes = schemes_of(
            graph, ctx.target, self.scheme, self.mixed, self.keep, self.block, self.name
        )
        if not ctx.target.schemes or ctx.target.placement is None:
            return PassResult(graph, (_no_integers_remark(ctx.target),))
        facts = infer(graph, ctx.ops, ctx.sizes)
        choice = select_integer_nodes(graph, ctx, facts, schemes)
        weights = choose_weights(graph, ctx, facts, schemes, self.min_elements)
        reasons = {**choice.reasons, **weights.reasons}
        inside = left_in_bodies(graph, ctx.ops)
        float_remarks = (
            *(skipped(n, f"stays in float: {why}") for n, why in reasons.items()),
            *inside,
        )
        if not choice.sites and not weights.stored:
            _check_not_quantized(self, graph, ctx)
            nothing = f"nothing in this graph runs in integers on {ctx.target.name}"
            freed = next((f": {remark.help}" for remark in inside if remark.help), "")
            return PassResult(graph, (note(nothing + freed), *float_remarks), {"integer": 0})
        data = ctx.data.first_samples(self.samples)
        shared = make_scale_groups(graph, ctx.ops, ctx.target.placement, choice)
        if ctx.target.placement.beside and shared:
            shared = cover_all_values(graph, shared, choice)
        ranges = self._measure(graph, ctx, data, shared)
        weights = match_integer_grids(weights, {v for group in shared for v in group.values}, ctx)
        float_nodes = [name for name, scheme in schemes.of.items() if scheme == FLOAT]
        quantized = attach_quantization(graph, ctx.ops, choice, weights, ranges, float_nodes)
        report = {
            "calibrator": self.calibrator,
            "samples": data.samples,
            "integer": sum(site.row.weighted is not None for site in choice.sites.values())
            + sum(weight.integer for weight in weights.stored),
            "weights": sum(not weight.integer for weight in weights.stored),
            "ranges": {v: [r.low, r.high] for group, r in ranges.items() for v in group.values},
        }
        return PassResult(
            quantized,
            (*quantization_remarks(ctx, quantized, choice, weights), *float_remarks),
            report,
        )

    def revert_slow(
        self, before: Graph, result: PassResult, ctx: Context, timing: Timing
    ) -> tuple[Pass, PassResult]:
        """Time integers region by region, and give those back that are slower than in floats."""
        timed = TimedRegions(result.graph, before, ctx, timing)
        if not timed.regions:
            return self, result
        if reason := timing.obstacle(ctx.target):
            return self, replace(result, remarks=(note(reason), *result.remarks))
        pass_, decision = self, decide(tuple(timed.regions), timed.trial)
        given_back = decision.given_back
        if given_back:
            pass_ = self.in_float(timed.patterns(given_back))
            result = pass_.run(before, ctx)
        whole = timed.gain(result.graph)
        if is_slower(whole) and len(given_back) < len(timed.regions):
            given_back = tuple(timed.regions)
            pass_ = pass_.in_float(timed.patterns(given_back))
            result = pass_.run(before, ctx)
            whole = timed.gain(result.graph)
        remarks = (*slow_integer_remarks(whole, given_back, decision), *result.remarks)
        decision = replace(decision, given_back=given_back)
        facts = measured_facts(whole, decision, timing.samples)
        return pass_, replace(result, remarks=remarks, facts={**result.facts, "measured": facts})

    def _measure(
        self, graph: Graph, ctx: Context, data: Data, shared: Sequence[ScaleGroup]
    ) -> dict[ScaleGroup, ValueRange]:
        """Return the range of every group: of its sources in the samples, and of its constants."""
        observers = {
            value: make_observer(
                self.calibrator,
                self.percentile,
                group.grid.high - group.grid.low + 1,
                group.grid.symmetric,
            )
            for group in shared
            for value in group.sources
            if value not in graph.constants and value not in dict(group.fixed)
        }
        if not observers:
            return {group: _join_ranges(graph, group, {}) for group in shared}
        known_bounds = lower_bounds(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes))
        show_progress = partial(ctx.progress, "calibrating")
        table = ctx.tables.table(
            table_key(graph, data, observers),
            lambda: collect_ranges(
                graph, data, observers, progress=show_progress, lower_bounds=known_bounds
            ),
        )
        missing = {
            value: value_observer
            for value, value_observer in observers.items()
            if value not in table.ranges
        }
        if missing and (
            more := collect_ranges(graph, data, missing, lower_bounds=known_bounds).ranges
        ):
            value = next(iter(more))
            raise SlimcError(
                "bad-calibration-table",
                f"the table has no range of '{value}', which the samples hold numbers of",
                f"pass {self.name}",
                "delete the file; it is made again from the samples",
            )
        return {group: _join_ranges(graph, group, table.ranges) for group in shared}


def _check_options(options: AssignScales, graph: Graph) -> None:
    where = f"pass {options.name}"
    quantized = next((n.name for n in graph.walk() if n.op == QUANTIZE or n.integer), None)
    if quantized is not None or graph.records:
        raise SlimcError(
            "already-quantized",
            "scales of this graph are already chosen"
            + (f" (node '{quantized}')" if quantized else ""),
            where,
            "start from the model as it was before quantization",
        )


def _check_not_quantized(options: AssignScales, graph: Graph, ctx: Context) -> None:
    """Raise SlimcError "already-quantized" where integers are all that is left to quantize."""
    what, help = "no layer in floats is left to quantize in", "start from the model in floats"
    check_float_weights(graph, ctx.ops, what, f"pass {options.name}", help)


def _join_ranges(graph: Graph, group: ScaleGroup, measured: Mapping[str, ValueRange]) -> ValueRange:
    parts = [known for _, known in group.fixed]
    parts += [measured[value] for value in group.sources if value in measured]
    for value in (*group.sources, *group.settings):
        if value in graph.constants and graph.constants[value].array.size:
            array = graph.constants[value].array
            parts.append(ValueRange(float(array.min()), float(array.max())))
    return reduce(ValueRange.join, parts, ValueRange(0.0, 0.0))


def _no_integers_remark(target: Target) -> Remark:
    instead = "choose a target that does: slimc targets"
    if target.prefer is not DType.F32:
        instead = f"its file gets {target.prefer.text} weights instead, and prune makes it faster"
    return skipped("", f"{target.name} runs nothing in integers, so no scale is chosen", instead)
