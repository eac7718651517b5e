"""Compile: make canonical, run the passes, lower for the target; check and time each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from slimc.ir.graph import Graph
from slimc.passes import lowering
from slimc.passes.base import Options
from slimc.passes.text import passes_text
from slimc.passes.traits import Trait
from slimc.pipeline.accuracy_control import keep_promise
from slimc.pipeline.latency import hold, required_ratio
from slimc.pipeline.options import CompileKeywords, CompileOptions, documented
from slimc.pipeline.plugins_aside import run_ending
from slimc.pipeline.prepare import DataSource, Prepared, between, prepare, with_trait
from slimc.pipeline.runner import State, until
from slimc.pipeline.save import Sources, save
from slimc.pipeline.summary import Graphs, outcome
from slimc.remarks import Latency, Report
from slimc.targets.target import Target


@dataclass(frozen=True)
class Compiled:
    """A compiled graph, the record of how it came about, and the target it is for."""

    graph: Graph
    """What `save` writes."""
    report: Report
    """What every pass did, and what the result comes to."""
    target: Target
    """What the graph is for."""
    sources: Sources = field(default_factory=Sources)
    """What it was read from, which `save` never writes over."""

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the file in the target's opset, and what the target wants beside it, or nothing.

        Return what was written, the model first.
        """
        return save(self.graph, self.target, path, self.sources)


@documented
def compile(
    model: Graph | str | Path,
    passes: str | Sequence[Options] = "",
    target: str | Target = "generic-onnx",
    data: DataSource = None,
    **options: Unpack[CompileKeywords],
) -> Compiled:
    """Compile a model for a target.

    passes: text such as `prune{ratio=0.3},quant`, or passes and stages; data: samples for
    calibration and checks, a path or feeds; without any, they are made up. Raises SlimcError, and
    PromiseError "not-faster", "promise-missed".
    """
    return compile_with(model, passes, target, data, CompileOptions.of(options))


def compile_with(
    model: Graph | str | Path,
    passes: str | Sequence[Options],
    target: str | Target,
    data: DataSource,
    options: CompileOptions,
) -> Compiled:
    """Compile a model for a target: as `compile`."""
    required_ratio(options.require)
    promise, budget = options.promise, options.spending
    prepared = prepare(model, passes, target, data, options, lowers=not options.stop_after)
    runner, start, steps = prepared.runner, prepared.start, prepared.steps
    if promise or budget:
        attempt = keep_promise(promise, budget, runner, start, steps)
        marked, lowered = attempt.marked, attempt.state
    else:
        state = runner.run(start, until(steps, options.stop_after))
        marked = state.graph
        lowered = state if options.stop_after else runner.run(state, lowering(steps))
    latency = _timed(prepared, lowered.graph, options.require)
    whole = run_ending(lowered, prepared.ending, runner, prepared.feeds)
    graphs = Graphs(
        given=prepared.given,
        bound=prepared.ending.whole,
        runs=prepared.graph,
        marked=marked,
        lowered=lowered.graph,
        whole=whole.graph,
    )
    recipe = _recipe(passes, prepared, lowered)
    report = outcome(recipe, model, graphs, prepared.ctx, prepared.feeds, whole, latency)
    sources = Sources.of(model, data, options.files())
    return Compiled(whole.graph, report, prepared.ctx.target, sources)


def _timed(prepared: Prepared, lowered: Graph, require: str) -> tuple[Latency, ...]:
    """Compare the result with the original, if it is to be timed, and hold it to what is asked."""
    if prepared.stopwatch is None:
        return ()
    prepared.runner.watcher.timing("the result")
    latency = prepared.stopwatch.whole(prepared.graph, lowered)
    if require:
        hold(require, latency)
    return latency


def _recipe(passes: str | Sequence[Options], prepared: Prepared, lowered: State) -> str:
    """Return the passes as text: as given, or as they ran where a measurement changed them."""
    chosen, steps = prepared.chosen, prepared.steps
    ran = lowered.passes[len(prepared.start.steps) :]
    settled = (*ran[: len(steps)], *steps[len(ran) :])
    if all(pass_ is given for pass_, given in zip(settled, steps, strict=True)):
        return passes if isinstance(passes, str) else passes_text(passes)
    own = settled[len(steps) - len(between(chosen)) :]
    return passes_text([*with_trait(Trait.BINDS, chosen), *own, *with_trait(Trait.ENDS, chosen)])
