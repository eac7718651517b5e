"""Compile: make canonical, run the passes, lower for the target; check and time each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slimc.analysis.profile import Profile
from slimc.analysis.sensitivity_curves import Curves
from slimc.calib.output_loss import Metric
from slimc.execute.ort import time_rounds
from slimc.ir.graph import Graph
from slimc.passes import lowering
from slimc.passes.base import Pass
from slimc.passes.text import passes_text
from slimc.pipeline.accuracy_control import keep_promise
from slimc.pipeline.accuracy_criteria import Promise, promised
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.latency import Stopwatch, Timer, hold, required_ratio
from slimc.pipeline.mixed_precision import Budget, budget_of
from slimc.pipeline.plugins_aside import ended
from slimc.pipeline.prepare import DataSource, binds, prepared
from slimc.pipeline.runner import Runner, Watcher, until
from slimc.pipeline.save import Sources, save
from slimc.pipeline.summary import outcome
from slimc.remarks import Latency, Report
from slimc.targets.target import Target


@dataclass(frozen=True)
class Compiled:
    """A compiled graph, the record of how it came about, and the target it is for.

    sources: what it was read from, which `save` never writes over.
    """

    graph: Graph
    report: Report
    target: Target
    sources: Sources = field(default_factory=Sources)

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the file in the target's opset, and what the target wants beside it, or nothing.

        Return what was written, the model first.
        """
        return save(self.graph, self.target, path, self.sources)


def compile(
    model: Graph | str | Path,
    passes: str | Sequence[Pass] = "",
    target: str | Target = "generic-onnx",
    data: DataSource = None,
    *,
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    seed: int = 0,
    names: Catalogue | None = None,
    stop_after: str = "",
    dump: str | Path | None = None,
    watcher: Watcher | None = None,
    measure: bool = False,
    require: str = "",
    timer: Timer = time_rounds,
    curves: Curves | str | Path | None = None,
    min_sqnr: float | None = None,
    max_drop: str = "",
    score: str | Path | Metric | None = None,
    budget: str = "",
    calib_cache: str | Path | None = None,
    profile: Profile | str | Path | None = None,
) -> Compiled:
    """Compile a model for a target.

    passes: text such as `prune{ratio=0.3},quant`, or passes; data: samples for calibration and
    checks, a path or feeds; without any, they are made up. calib_cache: a .json file or a folder
    for calibrated ranges, used again for the same graph and samples. bind: input -> value, shape:
    input -> `1x3x224x224`: what is fixed before all else. stop_after: the name of the pass to stop
    after; dump: folder for the graph before a pass that fails. measure: time what channel removal
    gains, and give back families whose removal does not pay; the report's recipe then names them,
    and makes the same without measuring. require: `faster`, or `faster=1.2`: how many times as fast
    the result must be. timer: takes the seconds for both, here or on a device. curves: of
    `sensitivity`, or their file: channel removal chooses widths by them. min_sqnr: dB at the
    outputs, max_drop: `1%` or `0.01` of score(run), a function or a file that defines it: what
    quantization must keep; budget: `size=0.3` or `latency=0.6` of the float model's, within which
    the target's schemes are mixed; the recipe names the nodes. profile: of a device, or its file:
    predicts latency. Raises SlimcError, and PromiseError "not-faster", "promise-missed".
    """
    required_ratio(require)
    promise = promised(min_sqnr, max_drop, score, stop_after)
    spend = budget_of(budget, stop_after)
    made = prepared(
        model, passes, target, data, bind, shape, seed, names,
        watcher=watcher, curves=curves, lowers=not stop_after,
    ).keeping(calib_cache)  # fmt: skip
    made.predict_by(profile, spend)
    made.ending.check(stop_after)
    runner, graph, timed = made.runner, made.graph, measure or require
    watch = Stopwatch.of(graph, runner.checker.feeds[0], runner.ctx, timer) if timed else None
    runner.watch, runner.dump = watch if measure else None, Path(dump) if dump else None
    runner, marked, final = _made(runner, graph, made.steps, stop_after, promise, spend)
    latency = _timed(watch, graph, final, runner.watcher, require) if watch is not None else ()
    whole = ended(final, made.ending, runner)
    recipe = _recipe(passes, made.chosen, made.steps, runner.ran)
    graphs = (made.given, made.ending.whole, graph, marked, final, whole)
    report = outcome(recipe, model, graphs, runner, latency)
    sources = _sources(model, data, curves, profile, score, calib_cache)
    return Compiled(whole, report, runner.ctx.target, sources)


def _sources(
    model: object, data: object, curves: object, profile: object, score: object, cache: object
) -> Sources:
    others = {"the table of curves": curves, "the profile": profile, "the scorer": score}
    return Sources.of(model, data, {**others, "the calibration cache": cache})


def _made(
    runner: Runner,
    graph: Graph,
    steps: Sequence[Pass],
    stop_after: str,
    promise: Promise,
    budget: Budget,
) -> tuple[Runner, Graph, Graph]:
    """Run the passes and lower: return who ran what holds, and the graph before and after that."""
    if promise or budget:
        made = keep_promise(promise, budget, runner, graph, steps)
        return made.runner, made.marked, made.final
    marked = runner.run(graph, until(steps, stop_after))
    return runner, marked, marked if stop_after else runner.run(marked, lowering(steps))


def _timed(
    watch: Stopwatch, before: Graph, after: Graph, watcher: Watcher, require: str
) -> tuple[Latency, ...]:
    """Compare the result with the original, and hold it to what is required."""
    watcher.timing("the result")
    latency = watch.whole(before, after)
    if require:
        hold(require, latency)
    return latency


def _recipe(
    passes: str | Sequence[Pass], chosen: Sequence[Pass], steps: Sequence[Pass], ran: Sequence[Pass]
) -> str:
    """Return the passes as text: as given, or as they ran where a measurement changed them."""
    settled = (*ran[: len(steps)], *steps[len(ran) :])
    if all(one is other for one, other in zip(settled, steps, strict=True)):
        return passes if isinstance(passes, str) else passes_text(passes)
    own = settled[len(steps) - sum(not (binds(one) or one.ends) for one in chosen) :]
    binding, ending = ([p for p in chosen if binds(p)], [p for p in chosen if p.ends])
    return passes_text([*binding, *own, *ending])
