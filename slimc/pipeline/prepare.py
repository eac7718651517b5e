"""Read all that a compile starts from: the model, its inputs fixed, its samples, its passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data, Source
from slimc.calib.table import CalibrationTables, StoredTables
from slimc.io.read import read
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.passes.base import Options, Pass, traits_of
from slimc.passes.canonical.bind_inputs import BindInputs
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.passes.lower.suit_target import SuitTarget
from slimc.passes.stages import check_schemes, expand
from slimc.passes.traits import Trait
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.checks import Checker, Feed
from slimc.pipeline.curves_file import curves_for
from slimc.pipeline.input_sizes import made_up_samples
from slimc.pipeline.latency import Stopwatch
from slimc.pipeline.options import CompileOptions
from slimc.pipeline.plugins_aside import Ending, set_aside
from slimc.pipeline.profile_file import predicting, profile_for
from slimc.pipeline.runner import TEXT_SUFFIX, Runner, State, Watcher
from slimc.remarks import Remark, note
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
    """The model as it was given."""
    chosen: tuple[Pass, ...]
    """The passes that the user named."""
    steps: tuple[Pass, ...]
    """Those to run before the lowering; passes that fix inputs have run."""
    start: State
    """The graph as far as it can run, and the passes that fixed its inputs."""
    feeds: tuple[Feed, ...]
    """What every pass is checked on."""
    runner: Runner
    """Runs the steps."""
    ending: Ending
    """What is for the end."""
    stopwatch: Stopwatch | None
    """Times the result, where that is asked for."""

    @property
    def graph(self) -> Graph:
        """The graph as far as it can run."""
        return self.start.graph

    @property
    def ctx(self) -> Context:
        """What passes may look at."""
        return self.runner.ctx


def prepare(
    model: Graph | str | Path,
    passes: str | Sequence[Options],
    target: str | Target,
    data: DataSource,
    options: CompileOptions,
    *,
    lowers: bool = False,
) -> Prepared:
    """Read all that a compile starts from: as `compile`.

    lowers: the target gets the result, so what it refuses of the inputs is told before samples run.
    """
    names, watcher = options.names or catalogue(), options.watcher or Watcher()
    given_passes = names.parse(passes) if isinstance(passes, str) else passes
    chosen = expand(given_passes)
    goal = names.target(target) if isinstance(target, str) else target
    check_schemes(chosen, goal)
    given = model if isinstance(model, Graph) else load(model)
    first = (*binding_passes(options.bind, options.shape), *with_trait(Trait.BINDS, chosen))
    start = bound(given, first, names, goal, watcher)
    ctx, notes = _context(start.graph, chosen, names, goal, data, options)
    graph, ending = set_aside(start.graph, chosen, ctx)
    ending.check(options.stop_after)
    if lowers:
        refuse_early(graph, goal, names.ops)
    feeds = [dict(feed) for feed in ctx.data.head(CHECK_FEEDS)]
    checker = Checker.of(graph, feeds, ctx.data.synthetic)
    stopwatch = None
    if options.measure or options.require:
        stopwatch = Stopwatch.of(graph, checker.feeds[0], ctx, options.timer)
    canonical = (Canonicalize(),) if graph.form is Form.IMPORTED else ()
    suited = (SuitTarget(),) if goal.suit else ()
    return Prepared(
        given,
        chosen,
        (*canonical, *suited, *between(chosen)),
        replace(start, graph=graph, checker=checker, notes=notes),
        checker.feeds,
        Runner(
            ctx,
            watcher,
            stopwatch if options.measure else None,
            None if options.dump is None else Path(options.dump),
        ),
        ending,
        stopwatch,
    )


def _context(
    graph: Graph,
    passes: Sequence[Pass],
    names: Catalogue,
    target: Target,
    data: DataSource,
    options: CompileOptions,
) -> tuple[Context, tuple[Remark, ...]]:
    """Return all that passes may look at, and what the report says of that."""
    samples = samples_from(data, graph, options.seed)
    notes: tuple[Remark, ...] = ()
    if options.profile is not None:
        profile = profile_for(options.profile, target, passes, options.spending)
        target = predicting(target, profile)
        notes = (note(f"latency is predicted by the profile of {profile}"),)
    cache = options.calib_cache
    ctx = Context(
        ops=names.ops,
        target=target,
        data=samples,
        sizes=default_sizes(graph) | samples.sizes(),
        seed=options.seed,
        scores=names.scores,
        traits=traits_of(passes),
        curves=curves_for(options.curves, passes),
        tables=CalibrationTables() if cache is None else StoredTables(cache),
        progress=(options.watcher or Watcher()).progress,
    )
    return ctx, notes


def bound(
    graph: Graph,
    passes: Sequence[Pass],
    names: Catalogue,
    target: Target,
    watcher: Watcher | None = None,
) -> State:
    """Fix inputs and sizes. That comes first: samples are read, and made up, for what is left."""
    nothing = Data(graph, "no samples", lambda: iter(()), ())
    runner = Runner(Context(names.ops, target, nothing), watcher or Watcher())
    return runner.run(State(graph), passes)


def between(passes: Iterable[Pass]) -> tuple[Pass, ...]:
    """Return the passes that run neither first nor last."""
    return tuple(p for p in passes if not p.traits & {Trait.BINDS, Trait.ENDS})


def with_trait(trait: Trait, passes: Iterable[Pass]) -> tuple[Pass, ...]:
    """Return the passes that have a trait."""
    return tuple(pass_ for pass_ in passes if trait in pass_.traits)


def binding_passes(
    bind: Mapping[str, str] | None, shape: Mapping[str, str] | None
) -> tuple[BindInputs, ...]:
    """Return the passes that fix inputs and sizes: none or one."""
    values = tuple(f"{name}={value}" for name, value in (bind or {}).items())
    shapes = tuple(f"{name}={sizes}" for name, sizes in (shape or {}).items())
    return (BindInputs(values=values, shapes=shapes),) if values or shapes else ()


def samples_from(source: DataSource, graph: Graph, seed: int) -> Data:
    """Return the samples of a path or of feeds; without any, made-up ones."""
    if source is None:
        return made_up_samples(graph, seed)
    return source if isinstance(source, Data) else Data.of(source, graph)
