"""Profile a device: time models and narrower forms of them kernel by kernel, and fit rates."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.latency import Speed, amounts, multiples
from slimc.analysis.profile import Check, Profile, Run, Timed, check_of, fit
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.analysis.workload import ANY, steps
from slimc.calib.feeds import check_feed, specs_of
from slimc.errors import SlimcError
from slimc.execute.ort import measure_latency, time_kernels
from slimc.execute.threads import one_blas_thread
from slimc.ir.graph import Graph
from slimc.passes import LOWERING
from slimc.passes.base import traits_of
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.fuse_bias import FuseBias
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.device.kernels import step_seconds
from slimc.pipeline.integer_layers import ONNXRUNTIME
from slimc.pipeline.latency import Feed, Stopwatch
from slimc.pipeline.options import CompileOptions
from slimc.pipeline.prepare import DataSource, prepare
from slimc.pipeline.provenance import versions
from slimc.pipeline.runner import apply
from slimc.targets.onnxruntime.machine import this_cpu
from slimc.targets.target import Target

KEPT = (1.0, 0.75, 0.5)  # of the channels of every family, in the forms that are measured
_CPUINFO = Path("/proc/cpuinfo")

Model = Graph | str | Path
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """How runs are measured. rounds: 0 lets MACs decide, as `--measure` does."""

    target: Target
    options: CompileOptions
    rounds: int
    threads: int

    def runs(self, model: Model, name: str, data: DataSource, kept: Sequence[float]) -> list[Run]:
        """Measure a model with shares of its channels, in floats and, where it may, in integers."""
        prepared = prepare(model, "", self.target, data, self.options)
        whole = prepared.runner.run(prepared.start, prepared.steps).graph
        ctx, feed = prepared.ctx, prepared.feeds[0]
        ctx = replace(ctx, data=ctx.data.head(1))  # ranges need not be good: times are the same
        found = []
        for share, graph in _narrowed(whole, ctx, kept):
            forms = [("", graph, ctx)]
            if self.target.quantize:
                forms.append((" in integers", *_in_integers(graph, ctx)))
            for form, one, own in forms:
                run = self._run(f"{name}{form}{_said(share)}", one, own, feed)
                found.append(replace(run, kept=share))
        return found

    def _run(self, name: str, graph: Graph, ctx: Context, feed: Feed) -> Run:
        sizes = {**ctx.sizes_of(graph), **check_feed(graph, specs_of(dict(feed)), "the first feed")}
        coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, sizes))
        rounds = self.rounds or Stopwatch.of(graph, feed, ctx).rounds
        final = apply(LOWERING, graph, ctx)
        kernels = time_kernels(final, feed, rounds, self.threads)
        (seconds,) = measure_latency([final], feed, rounds, self.threads)
        taken = step_seconds(coupling.graph, steps(coupling), kernels, seconds)
        return Run(name, seconds, timed(coupling, taken, ctx.align))


def timed(coupling: Coupling, seconds: Sequence[float], align: int) -> tuple[Timed, ...]:
    """Return the steps of a graph with their amounts and seconds."""
    rounded = multiples(coupling, families(coupling), align)
    return tuple(
        Timed(step.work, amounts(step, rounded), taken)
        for step, taken in zip(steps(coupling), seconds, strict=True)
    )


def _narrowed(graph: Graph, ctx: Context, kept: Sequence[float]) -> Iterator[tuple[float, Graph]]:
    """Yield shares of channels with graphs that have so many, where any can leave."""
    for share in kept:
        if share == 1:
            yield share, graph
            continue
        cut = RemoveChannels(ratio=1 - share, budget="channels", compare="score", score="magnitude")
        narrow = apply([cut], graph, ctx)
        if narrow is not graph:
            yield share, narrow


def _in_integers(graph: Graph, ctx: Context) -> tuple[Graph, Context]:
    passes = (FuseBias(), AssignScales())
    ctx = replace(ctx, traits=traits_of(passes))
    return apply(passes, graph, ctx), ctx


def _said(share: float) -> str:
    return "" if share == 1 else f" with {share:g} of its channels"


def profile(
    models: Sequence[Model],
    target: str | Target = "cpu",
    data: Sequence[DataSource] = (),
    *,
    others: Sequence[Model] = (),
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    rounds: int = 0,
    threads: int = 1,
    device: str = "",
    seed: int = 0,
    names: Catalogue | None = None,
    watch: Watch | None = None,
) -> Profile:
    """Measure models on this machine, and fit the rates of every class of work.

    data: samples of the models, then of the others, in order; they are made up where there are
    none. others: models that the prediction is checked on; without any, each model is predicted by
    rates of the other ones, or one alone with 3/4 of its channels by its other forms. device: what
    to call the machine. Raises SlimcError "cannot-measure-here", "profile-too-small".
    """
    names = names or catalogue()
    goal = names.target(target) if isinstance(target, str) else target
    _refuse_elsewhere(goal)
    bench = Bench(
        goal, CompileOptions(bind=bind, shape=shape, seed=seed, names=names), rounds, threads
    )
    sources = [*data, *[None] * (len(models) + len(others) - len(data))]
    found: list[list[Run]] = []
    titles = _titles([*models, *others])
    for i, model in enumerate((*models, *others)):
        with one_blas_thread():
            kept = KEPT if i < len(models) else KEPT[:1]
            found.append(bench.runs(model, titles[i], sources[i], kept))
        if watch is not None:
            watch(len(found), len(titles))
    fitted, unseen = found[: len(models)], found[len(models) :]
    version = versions()[ONNXRUNTIME]
    notes = tuple(
        f"samples of {title} are made up, of usual sizes"
        for title, source in zip(titles, sources, strict=True)
        if source is None
    )
    bare = Profile(
        device or cpu_name(_CPUINFO), ONNXRUNTIME, version, goal.name, threads, (), {}, notes=notes
    )
    return fitted_to(bare, fitted, unseen, tuple(titles[: len(models)]), goal)


def fitted_to(
    bare: Profile,
    found: Sequence[Sequence[Run]],
    unseen: Sequence[Sequence[Run]],
    models: tuple[str, ...],
    target: Target,
) -> Profile:
    """Return a profile with rates fitted to the runs of models, and what they predict of others.

    Raises SlimcError "profile-too-small".
    """
    classes = fit(run for runs in found for run in runs)
    if ANY not in classes:
        raise SlimcError(
            "profile-too-small",
            "too few steps in floats were timed to fit rates to",
            f"models {', '.join(models)}",
            "profile more models, larger ones, or those that are quantized in floats too",
        )
    judged, checks = _judged(found, unseen, target)
    return replace(bare, models=models, classes=classes, judged=judged, checks=tuple(checks))


def _judged(
    found: Sequence[Sequence[Run]], unseen: Sequence[Sequence[Run]], target: Target
) -> tuple[str, list[Check]]:
    """Predict runs by rates that are fitted to others."""
    if unseen:
        speed = _speed(found, target)
        return "models that no rate is fitted to", [
            check_of(run, speed) for runs in unseen for run in runs
        ]
    if len(found) > 1:
        checks = []
        for i, runs in enumerate(found):
            speed = _speed([*found[:i], *found[i + 1 :]], target)
            checks += [check_of(run, speed) for run in runs if run.kept == 1]
        return "each model, by rates of the other ones", checks
    kept_out = [run for run in found[0] if run.kept == KEPT[1]]
    rest = [run for run in found[0] if run.kept != KEPT[1]]
    if not kept_out:
        return "", []
    speed = _speed([rest], target)
    return f"the model with {KEPT[1]:g} of its channels, by rates of its other forms", [
        check_of(run, speed) for run in kept_out
    ]


def _speed(found: Sequence[Sequence[Run]], target: Target) -> Speed:
    rates = {name: one.rates for name, one in fit(run for runs in found for run in runs).items()}
    return replace(target.speed, measured=rates)


def _refuse_elsewhere(target: Target) -> None:
    """Raise SlimcError "cannot-measure-here" where this machine does not run the target."""
    here = this_cpu().name
    if target.runtime == "any" or (target.runtime, target.name) == (ONNXRUNTIME, here):
        return
    help = f"run slimc profile on the device itself; this machine is {here} (--target cpu)"
    if target.capability or target.runtime.startswith("tensorrt"):
        help = "time it there with trtexec --exportProfile=FILE, and read that: --from FILE"
    raise SlimcError(
        "cannot-measure-here",
        f"{target.name} runs on {target.runtime}, which this machine cannot time",
        "slimc profile",
        help,
    )


def _titles(models: Sequence[Model]) -> list[str]:
    """Return the stems of files, numbers for graphs; each once."""
    names = [
        Path(one).stem if isinstance(one, (str, Path)) else f"graph {i + 1}"
        for i, one in enumerate(models)
    ]
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def cpu_name(path: Path) -> str:
    """Return the model of the first CPU in a file like /proc/cpuinfo, else the machine's kind."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    line = re.search(r"^model name\s*:\s*(\S.*?)\s*$", text, re.MULTILINE)
    return line[1] if line else platform.machine() or "this machine"
