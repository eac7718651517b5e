"""Keep a promise on accuracy: give regions back to floats until it holds, and no more than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from slimc.analysis.regions import Region
from slimc.calib.output_loss import Loss
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes import lowering
from slimc.passes.base import Pass, first_with
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import as_computed
from slimc.passes.quant.marked_regions import exactly
from slimc.passes.traits import Trait
from slimc.pipeline.accuracy_criteria import Judge, Judged, Promise, output_error, ranking_loss
from slimc.pipeline.mixed_precision import Budget, within_budget
from slimc.pipeline.region_losses import Simulation, noises, split
from slimc.pipeline.runner import Runner, State
from slimc.remarks import join_names, note

_ROUNDS = 4  # compiles of the whole stage, each with more regions in floats, before all are
_CLOSER = 0.8  # of the loss allowed is aimed at after a compile that missed: simulation is not it
_GIVEN_UP = 16  # regions that are tried in integers again, those that cost most in floats
_DIGITS = 6  # of measured numbers in the report

Regions = tuple[Region, ...]
Excess = Callable[[Regions], float]  # of a graph with these regions in floats


@dataclass(frozen=True)
class Attempt:
    """What a compile with some regions in floats made, and what it reaches."""

    marked: Graph
    """The graph with records."""
    state: State
    """After the lowering."""
    judged: Judged
    """What the lowered graph reaches of the promise."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The passes from the choice of scales on, which are run again for other regions in floats."""

    runner: Runner
    """Runs them."""
    start: State
    """Before scales are chosen."""
    steps: tuple[Pass, ...]
    """The first one chooses scales."""
    judge: Judge
    """Measures what is promised."""

    def within(self, budget: Budget, error: Loss) -> Stage:
        """Return the stage with schemes that are within a budget."""
        ctx, watcher = self.runner.ctx, self.runner.watcher
        first, *others = self.steps
        first, remark = within_budget(budget, first, self.start.graph, ctx, error, watcher)
        return replace(self, steps=(first, *others), start=self.start.noted(remark))

    def settled(self, first: Attempt) -> Stage:
        """Return the stage with what the first attempt measured: no other measures again."""
        runner = replace(self.runner, timing=None)
        chooses = first.state.passes[len(self.start.steps)]
        return replace(self, runner=runner, steps=(chooses, *self.steps[1:]))

    def attempt(self, kept: Sequence[Region]) -> Attempt:
        """Compile with regions in floats."""
        first, *others = self.steps
        if kept:
            first = first.in_float([exactly(name) for region in kept for name in region.nodes])
        marked = self.runner.run(self.start, (first, *others))
        state = self.runner.run(marked, lowering(self.steps))
        self.runner.watcher.measuring("whether the promise holds")
        return Attempt(marked.graph, state, self.judge(_computed(state.graph, self.runner.ctx)))


def _computed(lowered: Graph, ctx: Context) -> Graph:
    return as_computed(lowered, ctx.ops, ctx.target)


def keep_promise(
    promise: Promise, budget: Budget, runner: Runner, start: State, steps: Sequence[Pass]
) -> Attempt:
    """Run passes and lowering; give regions back to floats until the promise holds.

    A budget has chosen the schemes of regions before.
    Regions are ranked by the noise of each alone, the worst go first; a simulation says how many
    have to, and which of them need not after all; a compile says whether that is true. The passes
    that ran name what stays in floats, and make the same again without measuring. Passes leave the
    last samples out, which the outputs are compared on with those of the graph at the start. Raises
    PromiseError "promise-missed" where floats alone do not keep it.
    """
    seen, unseen = split(runner.ctx.data)
    if unseen is not runner.ctx.data:
        steps = [seen_only(pass_, seen) for pass_ in steps]
    graph = start.graph
    judge = Judge.of(promise, graph, runner.ctx, unseen)
    place = first_with(Trait.QUANTIZES, steps)
    before = runner.run(start, steps[:place])
    if place is None:
        return _without_scales(Stage(runner, before, (), judge), budget)
    stage = Stage(runner, before, tuple(steps[place:]), judge)
    if budget:
        error = judge.error or output_error(graph, runner.ctx, unseen)
        stage = stage.within(budget, error)
    first = stage.attempt(())
    if first.judged.excess <= 1:
        return _told(first, stage, (), {})
    stage = stage.settled(first)
    simulation = Simulation(
        first.marked, before.graph, runner.ctx, ranking_loss(judge, graph, runner.ctx, unseen)
    )
    floats = stage.attempt(simulation.regions)
    if floats.judged.excess > 1:
        raise judge.broken(floats.judged, "the model in floats alone")
    return _searched(stage, simulation, floats)


def _without_scales(stage: Stage, budget: Budget) -> Attempt:
    """Judge a compile that quantizes nothing."""
    if budget:
        raise SlimcError(
            "bad-option-value",
            "no pass of this compile chooses scales, and a budget chooses among those",
            "option budget",
            "--passes quant; for channels: --passes 'prune{ratio=0.3}'",
        )
    start = stage.start
    state = stage.runner.run(start, lowering(start.passes))
    judged = stage.judge(_computed(state.graph, stage.runner.ctx))
    if judged.excess > 1:
        raise stage.judge.broken(judged, "the result")
    return _told(Attempt(start.graph, state, judged), stage, (), {})


def _searched(stage: Stage, simulation: Simulation, floats: Attempt) -> Attempt:
    """Compile with more and more regions in floats. floats: what all of them make."""
    runner, judge = stage.runner, stage.judge
    noise: dict[str, float] = {}
    for region, loss in noises(simulation):
        noise[region.name] = loss
        runner.watcher.measuring(f"region {len(noise)} of {len(simulation.regions)}")
    ranked = tuple(sorted(simulation.regions, key=lambda region: -noise[region.name]))
    known: dict[Regions, float] = {}

    def excess(floating: Regions) -> float:
        if floating not in known:
            runner.watcher.measuring(f"{len(floating)} regions in floats")
            known[floating] = judge(simulation.graph_without(floating)).excess
        return known[floating]

    aim = 1.0
    for _ in range(_ROUNDS):
        chosen = enough(ranked, excess, aim)
        if len(chosen) == len(ranked):
            break
        chosen = _fewer(chosen, excess, aim, simulation)
        attempt = stage.attempt(chosen)
        if attempt.judged.excess <= 1:
            return _told(attempt, stage, chosen, noise)
        aim *= _CLOSER / attempt.judged.excess
    return _told(floats, stage, ranked, noise)


def enough(ranked: Regions, excess: Excess, aim: float) -> Regions:
    """Return the shortest beginning of `ranked` that keeps the promise, as far as doubling finds.

    The excess need not fall with every region: errors may cancel. So lengths double until one is
    enough, and halves between it and the one before tell how much less is.
    """
    low, high = 0, 1
    while high < len(ranked) and excess(ranked[:high]) > aim:
        low, high = high, 2 * high
    high = min(high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        if excess(ranked[:middle]) > aim:
            low = middle
        else:
            high = middle
    return ranked[:high]


def _fewer(chosen: Regions, excess: Excess, aim: float, simulation: Simulation) -> Regions:
    """Return the regions that have to be in floats: without any, those that are left are enough.

    Those with most multiply-accumulates are tried in integers first.
    """
    costly = sorted(chosen, key=simulation.macs, reverse=True)[:_GIVEN_UP]
    for region in costly:
        fewer = tuple(other for other in chosen if other is not region)
        if fewer and excess(fewer) <= aim:
            chosen = fewer
    return chosen


def _told(attempt: Attempt, stage: Stage, kept: Regions, noise: Mapping[str, float]) -> Attempt:
    """Say in the report what holds, and which regions had to be in floats."""
    judge = stage.judge
    if not judge.promise:
        return attempt
    text = f"{judge.promise} holds: {attempt.judged}{judge.where}"
    if kept:
        names = join_names([region.name for region in kept])
        text += f"; {len(kept)} of {max(len(noise), len(kept))} regions stay in floats: {names}"
    facts: dict[str, Any] = {
        "promise": str(judge.promise),
        "reached": str(attempt.judged),
        "samples": judge.samples,
        "kept": [region.name for region in kept],
        "noise": {name: round(value, _DIGITS) for name, value in noise.items()},
    }
    state = attempt.state.noted(note(text)).with_facts(Trait.QUANTIZES, {"precision": facts})
    return replace(attempt, state=state)


def seen_only(pass_: Pass, samples: int) -> Pass:
    """Let a pass take at most the first samples, so that others judge what it made."""
    named = {field.name for field in fields(pass_)}
    wanted = getattr(pass_, "samples", 0) if "samples" in named else -1
    if not isinstance(wanted, int) or wanted == -1 or 0 < wanted <= samples:
        return pass_
    return replace(pass_, **{"samples": samples})
