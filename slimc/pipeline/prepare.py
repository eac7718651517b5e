"""Read all that a compile starts from: the model, its inputs fixed, its samples, its passes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimc.analysis.profile import Profile
from slimc.analysis.sensitivity_curves import Curves
from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data, Source
from slimc.calib.table import StoredTables
from slimc.io.read import read
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.passes.base import Pass, quantizes
from slimc.passes.canonical.bind_inputs import BindInputs
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.passes.lower.suit_target import SuitTarget
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.checks import Checker
from slimc.pipeline.curves_file import curves_for
from slimc.pipeline.input_sizes import made_up_samples
from slimc.pipeline.mixed_precision import Budget
from slimc.pipeline.plugins_aside import Ending, set_aside
from slimc.pipeline.profile_file import predicting, profile_for
from slimc.pipeline.runner import TEXT_SUFFIX, Runner, Watcher
from slimc.remarks import PassReport, note
from slimc.targets.opset import refuse_early
from slimc.targets.target import Target

CHECK_FEEDS = 1  # feeds that every pass is checked on

DataSource = Data | Source | None


def load(path: str | Path) -> Graph:
    """Read a model: an .onnx file, or a graph as text (.txt)."""
    path = Path(path)
    if path.suffix == TEXT_SUFFIX:
        return parse_text(path.read_text(encoding="utf-8"))
    return read(path)


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
    lowers: bool = False,
) -> Prepared:
    """Read all that a compile starts from: as `compile`.

    lowers: the target gets the result, so what it refuses of the inputs is told before samples run.
    """
    names = names or catalogue()
    given_passes = names.parse(passes) if isinstance(passes, str) else passes
    chosen = tuple(part for one in given_passes for part in one.parts())
    goal = names.target(target) if isinstance(target, str) else target
    given = model if isinstance(model, Graph) else load(model)
    watcher = watcher or Watcher()
    first = [*binding_passes(bind or {}, shape or {}), *(p for p in chosen if binds(p))]
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
    if lowers:
        refuse_early(graph, goal, names.ops)
    feeds = [dict(feed) for feed in samples.head(CHECK_FEEDS)]
    checker = Checker.of(graph, feeds, samples.synthetic)
    canonical = (Canonicalize(),) if graph.form is Form.IMPORTED else ()
    suited = (SuitTarget(),) if goal.suit else ()
    steps = (*canonical, *suited, *(p for p in chosen if not (binds(p) or p.ends)))
    runner = Runner(ctx, checker, watcher, None, list(bound))
    return Prepared(given, graph, chosen, steps, runner, ending)


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


def binds(one: Pass) -> bool:
    """Tell whether a pass fixes inputs: those run first."""
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
