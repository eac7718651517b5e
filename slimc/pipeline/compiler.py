"""Compile: make canonical, run the passes, lower for the target; check and time each step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from slimc.analysis.curves import Curves
from slimc.analysis.profile import Profile
from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data, Source
from slimc.calib.loss import Metric
from slimc.calib.tables import StoredTables
from slimc.execute.ort import check_loads, time_rounds
from slimc.io.read import read
from slimc.io.tensors import data_files
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.passes.base import Pass, quantizes
from slimc.passes.bind_inputs import BindInputs
from slimc.passes.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.passes.insert_qdq import as_computed
from slimc.passes.suit_target import SuitTarget
from slimc.passes.target import Target
from slimc.passes.text import passes_text
from slimc.pipeline.agreement import agreement
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.checks import Checker
from slimc.pipeline.curves_file import curves_for
from slimc.pipeline.endings import Ending, ended, set_aside
from slimc.pipeline.files import companion_digests, file_version, save
from slimc.pipeline.index_map import index_map
from slimc.pipeline.integers import ONNXRUNTIME, achieved, intended
from slimc.pipeline.keep_promise import keep_promise
from slimc.pipeline.latency import Stopwatch, Timer, hold, required_ratio
from slimc.pipeline.mixed_precision import Budget, budget_of
from slimc.pipeline.profile_file import predicting, profile_for
from slimc.pipeline.promises import Promise, promised
from slimc.pipeline.provenance import digest, versions, written
from slimc.pipeline.sizing import made_up_samples, measure_sample
from slimc.pipeline.sparse import sparsity_notes
from slimc.pipeline.steps import TEXT_SUFFIX, Runner, Watcher, until
from slimc.remarks import Latency, PassReport, Remark, Report, note
from slimc.rewrite.repair import FEW_SAMPLES
from slimc.targets.lowering import lowering

CHECK_FEEDS = 1  # feeds that every pass is checked on
NAN_SAMPLES = 256  # that are looked at: as many as passes sum over
AGREEMENT_SAMPLES = 64  # of the comparison at the end: enough for a stable SQNR, a few seconds

DataSource = Data | Source | None


@dataclass(frozen=True)
class Compiled:
    """A compiled graph, the record of how it came about, and the target it is for."""

    graph: Graph
    report: Report
    target: Target

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the file in the target's opset, and what the target wants beside it, or nothing.

        Return what was written, the model first.
        """
        return save(self.graph, self.target, path)


def load(path: str | Path) -> Graph:
    """Read a model: an .onnx file, or a graph as text (.txt)."""
    path = Path(path)
    if path.suffix == TEXT_SUFFIX:
        return parse_text(path.read_text(encoding="utf-8"))
    return read(path)


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
    checks, a path or feeds; without any, samples are made up, and the report says so. calib_cache:
    a .json file or a folder for calibrated ranges, used again where all that they follow from is
    the same. bind: input -> value, shape: input -> `1x3x224x224`: what is fixed before all else.
    stop_after: the name of the pass to stop after; dump: folder for the graph before a pass that
    fails. measure: time what channel removal gains, and give back families whose removal does not
    pay; the report's recipe then names them, and makes the same without measuring. require:
    `faster`, or `faster=1.2`: how many times as fast the result must be. timer: takes the seconds
    for both, onnxruntime on this machine, or runs on a device. curves: of `sensitivity`, or their
    file: channel removal chooses widths by them. min_sqnr: dB at the outputs, max_drop: `1%` or
    `0.01` of score(run), a function or a file that defines it: what quantization must keep; budget:
    `size=0.3` or `latency=0.6` of the float model's, within which the target's schemes are mixed;
    the recipe then names the nodes. profile: of the device (`slimc profile`), or its file: latency
    is predicted by its rates. Raises SlimcError, and PromiseError "not-faster", "promise-missed".
    """
    required_ratio(require)
    promise = promised(min_sqnr, max_drop, score, stop_after)
    spend = budget_of(budget, stop_after)
    made = prepared(
        model, passes, target, data, bind, shape, seed, names, watcher=watcher, curves=curves
    ).keeping(calib_cache)
    made.predict_by(profile, spend)
    made.ending.check(stop_after)
    runner, graph = made.runner, made.graph
    timed = measure or require
    watch = Stopwatch.of(graph, runner.checker.feeds[0], runner.ctx, timer) if timed else None
    runner.watch = watch if measure else None
    runner.dump = Path(dump) if dump else None
    runner, marked, final = _made(runner, graph, made.steps, stop_after, promise, spend)
    latency = _timed(watch, graph, final, runner.watcher, require) if watch is not None else ()
    whole = ended(final, made.ending, runner)
    recipe = _recipe(passes, made.chosen, made.steps, runner.ran)
    report = _report(recipe, model, (made.given, graph, marked, final, whole), runner, latency)
    return Compiled(whole, report, runner.ctx.target)


@dataclass(frozen=True)
class Prepared:
    """A model as it was given, with its inputs fixed, and what is to run on it, by whom."""

    given: Graph
    graph: Graph  # as far as it can run
    chosen: tuple[Pass, ...]
    steps: tuple[Pass, ...]  # those that fix inputs have run
    runner: Runner
    ending: Ending

    def keeping(self, calib_cache: str | Path | None) -> Prepared:
        """Let calibrated ranges be kept in a file or folder, and taken from there."""
        if calib_cache is not None:
            self.runner.ctx = replace(self.runner.ctx, tables=StoredTables(calib_cache))
        return self

    def predict_by(self, profile: Profile | str | Path | None, budget: Budget) -> None:
        """Let latencies be predicted by the rates of a profile."""
        runner = self.runner
        if profile is not None:
            found = profile_for(profile, runner.ctx.target, self.chosen, budget)
            runner.ctx = replace(runner.ctx, target=predicting(runner.ctx.target, found))
            runner.said.append(note(f"latency is predicted by the profile of {found}"))


def prepared(
    model: Graph | str | Path,
    passes: str | Sequence[Pass],
    target: str | Target,
    data: DataSource,
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    seed: int = 0,
    names: Catalogue | None = None,
    *,
    watcher: Watcher | None = None,
    curves: Curves | str | Path | None = None,
) -> Prepared:
    """Read all that a compile starts from: as `compile`."""
    names = names or catalogue()
    given_passes = names.parse(passes) if isinstance(passes, str) else passes
    chosen = tuple(part for one in given_passes for part in one.parts())
    goal = names.target(target) if isinstance(target, str) else target
    given = model if isinstance(model, Graph) else load(model)
    watcher = watcher or Watcher()
    first = [*binding_passes(bind or {}, shape or {}), *(p for p in chosen if _binds(p))]
    graph, bound = _bound(given, first, names, goal, watcher)
    samples = samples_from(data, graph, seed)
    sizes = default_sizes(graph) | samples.sizes()
    ctx = Context(names.ops, goal, samples, sizes, seed, names.scores, quantizes(chosen))
    ctx = replace(
        ctx,
        repairs=any(one.repairs for one in chosen),
        sparsifies=any(one.sparsifies for one in chosen),
        curves=curves_for(curves, chosen),
        progress=watcher.progress,
    )
    graph, ending = set_aside(graph, chosen, ctx)
    checker = Checker.of(graph, [dict(feed) for feed in samples.head(CHECK_FEEDS)])
    canonical = (Canonicalize(),) if graph.form is Form.IMPORTED else ()
    suited = (SuitTarget(),) if goal.suit else ()
    steps = (*canonical, *suited, *(p for p in chosen if not (_binds(p) or p.ends)))
    runner = Runner(ctx, checker, watcher, None, list(bound))
    return Prepared(given, graph, chosen, steps, runner, ending)


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
    own = settled[len(steps) - sum(not (_binds(one) or one.ends) for one in chosen) :]
    binding, ending = ([p for p in chosen if _binds(p)], [p for p in chosen if p.ends])
    return passes_text([*binding, *own, *ending])


def _bound(
    graph: Graph, passes: Sequence[Pass], names: Catalogue, target: Target, watcher: Watcher
) -> tuple[Graph, tuple[PassReport, ...]]:
    """Fix inputs and sizes. That comes first: samples are read, and made up, for what is left."""
    reports: list[PassReport] = []
    for one in passes:
        watcher.before(one)
        start = time.perf_counter()
        nothing = Data(graph, "no samples", lambda: iter(()), ())
        made = one.run(graph, Context(names.ops, target, nothing))
        seconds = time.perf_counter() - start
        reports.append(PassReport(str(one), seconds, True, made.remarks, dict(made.facts)))
        watcher.after(one, made, reports[-1])
        graph = made.graph
    return graph, tuple(reports)


def _binds(one: Pass) -> bool:
    return isinstance(one, BindInputs)


def binding_passes(bind: Mapping[str, str], shape: Mapping[str, str]) -> tuple[BindInputs, ...]:
    """Return the passes that fix inputs and sizes: none or one."""
    values = tuple(f"{name}={value}" for name, value in bind.items())
    shapes = tuple(f"{name}={sizes}" for name, sizes in shape.items())
    return (BindInputs(values=values, shapes=shapes),) if values or shapes else ()


def samples_from(source: DataSource, graph: Graph, seed: int) -> Data:
    """Return the samples of a path or of feeds; without any, made-up ones."""
    if source is None:
        return made_up_samples(graph, seed)
    return source if isinstance(source, Data) else Data.of(source, graph)


def _report(
    recipe: str,
    model: Graph | str | Path,
    graphs: tuple[Graph, Graph, Graph, Graph, Graph],
    runner: Runner,
    latency: tuple[Latency, ...],
) -> Report:
    """Measure and compare: the model as given, bound, with integers marked, lowered, and whole."""
    given, bound, marked, final, whole = graphs
    ctx = runner.ctx
    before = measure_sample(given, ctx.ops, ctx.sizes)
    after = measure_sample(whole, ctx.ops, ctx.sizes)
    size, origin = _source(given, None if isinstance(model, Graph) else Path(model))
    integer, floating = intended(marked, ctx.ops)
    indices = index_map(given, bound, runner.cuts, ctx, runner.checker.feeds)
    with written(final, *file_version(final, ctx.target)) as made:
        check_loads(made.path)
        reached = achieved(final, made.path, ctx.target, ctx.ops) if integer else None
        size_bytes, output = made.size_bytes, made.digest
    if whole is not final:
        with written(whole, *file_version(whole, ctx.target)) as made:
            size_bytes, output = made.size_bytes, made.digest
    after = replace(after, size_bytes=size_bytes)
    digests = {"input": origin, "data": ctx.data.digest, "output": output}
    digests |= companion_digests(whole, ctx.target)
    computed = as_computed(final, ctx.ops, ctx.target)
    return Report(
        recipe=recipe,
        target=ctx.target.name,
        versions=versions(),
        digests=digests,
        before=replace(before, size_bytes=max(size, before.size_bytes)),
        after=after,
        passes=tuple(runner.reports),
        agreement=agreement(bound, computed, ctx.data.first_samples(AGREEMENT_SAMPLES)),
        notes=(*_notes(runner, latency), *sparsity_notes(final, runner), *indices.remarks),
        integer_intended=integer,
        integer_achieved=reached,
        integer_float=floating if integer else (),
        latency=latency,
        indices=indices.table(),
    )


def _source(given: Graph, source: Path | None) -> tuple[int, str]:
    """Return size and digest of the model's file and the data files beside it."""
    if source is None or source.suffix == TEXT_SUFFIX:
        with written(given) as file:
            return file.size_bytes, file.digest
    files = (source, *data_files(given))
    return sum(file.stat().st_size for file in files), digest(*files)


def _notes(runner: Runner, latency: Sequence[Latency]) -> tuple[Remark, ...]:
    found: list[Remark] = []
    data, target = runner.ctx.data, runner.ctx.target
    if data.synthetic:
        found.append(
            note(
                "samples are made up: ranges and agreement are not those of real data",
                help="give samples with --calib",
            )
        )
    found += _holding_nan(data)
    if kept := runner.ctx.tables.summary():
        found.append(note(kept))
    if target.chosen:
        found.append(note(target.chosen))
    if runner.ctx.curves is not None:
        found.append(note(f"widths are chosen by measured curves: {runner.ctx.curves.setup}"))
    if latency and target.runtime not in ("any", ONNXRUNTIME):
        found.append(
            note(f"latency is that of onnxruntime on this machine; {target.name} runs otherwise")
        )
    found += runner.said
    found += _fitted(runner.reports, data)
    if not latency and runner.removals:
        found.append(_predicted(runner.removals))
    return tuple(found)


def _fitted(reports: Sequence[PassReport], data: Data) -> list[Remark]:
    """Say that few samples flatter where weights were fitted to them."""
    used = [one.facts["samples"] for one in reports if one.changed and one.facts.get("layers")]
    if data.synthetic or not used or max(used) >= FEW_SAMPLES:
        return []
    text = f"outputs are compared on samples that weights were fitted to, and {max(used)} are few"
    return [note(f"{text}: on others they agree less", help="see slimc diff --calib OTHERS")]


def _holding_nan(data: Data) -> list[Remark]:
    """Say which inputs are NaN somewhere; infinities may be masks."""
    if data.synthetic:
        return []
    seen = {
        name: None
        for feed in data.first_samples(NAN_SAMPLES)
        for name, array in feed.items()
        if array.dtype.kind == "f" and np.isnan(array).any()
    }
    help = "look at how they were made: what is computed of them is left out of sums"
    return [note(f"samples of input '{name}' hold NaN", help=help) for name in seen]


def _predicted(removals: Sequence[PassReport]) -> Remark:
    """Say how much faster removals are predicted to make the graph, and that no one measured it."""
    ratio = prod(before / after for before, after in (one.facts["latency"] for one in removals))
    text = f"predicted {ratio:.2f} times as fast by channel removal; not measured"
    return note(text, help="--measure does it")
