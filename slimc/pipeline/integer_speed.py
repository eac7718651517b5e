"""Time what integers gain region by region on this machine, and give back what is slower."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from slimc.analysis.regions import Region, regions
from slimc.execute.ort import time_rounds
from slimc.execute.speedup import MARGIN, Speedup
from slimc.ir.graph import Graph
from slimc.passes import LOWERING
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.quant.assign_scales import AssignScales
from slimc.pipeline.give_back import Decision, Names, Trial, decide
from slimc.pipeline.integer_layers import ONNXRUNTIME
from slimc.pipeline.latency import Stopwatch, meaning, measured
from slimc.pipeline.region_losses import Marked, exactly
from slimc.remarks import Remark, note, skipped
from slimc.targets.onnxruntime.machine import this_cpu

_GAIN = 2.0  # of integer arithmetic over floats: regions with less are looked into
_WORTH = 0.0  # share of it that integers must reach to stay: they must not be slower


@dataclass(frozen=True, eq=False)
class Timed(Marked):
    """Times a graph with records with any regions in floats."""

    watch: Stopwatch

    @cached_property
    def regions(self) -> Mapping[str, Region]:
        """The regions that run in integers, by name, in graph order."""
        found = regions(self.marked, self.ctx.ops)
        nodes = self.marked.by_name
        return {one.name: one for one in found if any(nodes[name].integer for name in one.nodes)}

    @cached_property
    def lowered_floats(self) -> Graph:
        """The graph with all of them in floats, as the runtime gets it."""
        return self.lowered(tuple(self.regions))

    def lowered(self, floating: Names) -> Graph:
        """Return the graph with some regions in floats, as the runtime gets it."""
        chosen = [self.regions[name] for name in floating]
        return lowered(self.in_floats(chosen), self.ctx)

    def trial(self, families: Names, given_back: Names) -> Trial:
        """Measure integers in some regions, where others are in floats either way."""
        floats = self.lowered((*given_back, *families))
        found = self.watch.compare(floats, self.lowered(given_back))
        return Trial(families, self._promised(families), found, _WORTH)

    def _promised(self, names: Collection[str]) -> float:
        """Return how many times as fast it were if regions took 1 / `_GAIN` of their time."""
        total = max(1, sum(self.macs_of_nodes.values()))
        inside = sum(self.macs(self.regions[name]) for name in names)
        return total / (total - inside * (1 - 1 / _GAIN))


def lowered(graph: Graph, ctx: Context) -> Graph:
    """Return what the target's runtime gets of a graph with records."""
    for one in LOWERING:
        graph = one.run(graph, ctx).graph
    return graph


def judged_integers(
    one: AssignScales, before: Graph, made: PassResult, ctx: Context, watch: Stopwatch
) -> tuple[AssignScales, PassResult]:
    """Measure what integers gain, and give back the regions that are slower in them than in floats.

    Return the pass that does so, and its result with what was measured among the remarks and facts.
    """
    timed = Timed(made.graph, before, ctx, watch)
    if not timed.regions:
        return one, made
    if reason := _not_here(ctx, watch):
        return one, replace(made, remarks=(note(reason), *made.remarks))
    decision = decide(tuple(timed.regions), timed.trial)
    given_back = decision.given_back
    if given_back:
        one, made = _without(one, timed, given_back)
    whole = watch.compare(timed.lowered_floats, lowered(made.graph, ctx))
    if _is_slower(whole) and len(given_back) < len(timed.regions):
        given_back = tuple(timed.regions)
        one, made = _without(one, timed, given_back)
        whole = watch.compare(timed.lowered_floats, lowered(made.graph, ctx))
    remarks = (*_remarks(whole, given_back, decision), *made.remarks)
    decision = replace(decision, given_back=given_back)
    facts = {**made.facts, "measured": measured(whole, decision, watch)}
    return one, replace(made, remarks=remarks, facts=facts)


def _without(one: AssignScales, timed: Timed, given_back: Names) -> tuple[AssignScales, PassResult]:
    """Choose scales anew, with regions in floats."""
    names = (exactly(node) for name in given_back for node in timed.regions[name].nodes)
    one = replace(one, keep=(*one.keep, *names))
    return one, one.run(timed.before, timed.ctx)


def _not_here(ctx: Context, watch: Stopwatch) -> str:
    """Say why nothing can be timed here, if so."""
    target, here = ctx.target, this_cpu().name
    if watch.time is not time_rounds or (target.runtime, target.name) == (ONNXRUNTIME, here):
        return ""
    where = f"{target.name} runs on {target.runtime}" if target.runtime != ONNXRUNTIME else here
    return f"integers are not timed: this machine is no {target.name} ({where})"


def _is_slower(whole: Speedup) -> bool:
    return whole.bounds[1] * (1 + MARGIN) < 1


def _remarks(whole: Speedup, given_back: Names, decision: Decision) -> list[Remark]:
    said = [note(f"measured, integers against floats: {whole}{meaning(whole)}")]
    for name in given_back:
        trials = [trial for trial in decision.trials if name in trial.families]
        last = trials[-1].families
        what = "integers here make" if len(last) == 1 else f"integers in {len(last)} regions make"
        said.append(skipped(name, f"given back to floats: {what} it {trials[-1].measured}"))
    return said
