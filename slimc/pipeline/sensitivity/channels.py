"""Measure the sensitivity of a model, point by point into a file that a later run goes on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import Family, families
from slimc.analysis.sensitivity_curves import Curve, Curves, Point, Setup
from slimc.analysis.shapes import default_sizes, infer
from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.output_loss import (
    Loss,
    Metric,
    MetricLoss,
    OutputError,
    evaluation_feeds,
    held_out_error,
)
from slimc.errors import SlimcError
from slimc.execute.threads import one_blas_thread
from slimc.ir.digest import digest
from slimc.ir.graph import Form, Graph
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.passes.float_weights import check_float_weights
from slimc.passes.prune.input_scores import READER_SCORES, SAMPLES
from slimc.passes.prune.rankings import chosen_score, open_moments, rank_with
from slimc.passes.prune.sensitivity import RATIOS, measure_points
from slimc.pipeline import provenance
from slimc.pipeline.accuracy_criteria import metric_of
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.curves_file import gone_on_with, save_curves
from slimc.pipeline.prepare import DataSource, binding_passes, bound, load, samples_from
from slimc.pipeline.runner import apply

OUTPUT_ERROR = "output error"
REFITTED = " with readers refitted"
_TARGET = "generic-onnx"  # channels are cut before anything is lowered: the target does not matter

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Measured:
    """Curves, how many of their points an earlier run had measured, whether samples were made up.

    score: the curves are of a score of the user's own, not of the outputs' error.
    """

    curves: Curves
    taken_over: int
    synthetic: bool
    score: bool


@dataclass(frozen=True)
class _Score:
    """What is measured: the user's own metric, or the error of the outputs on some samples."""

    name: str = OUTPUT_ERROR
    metric: Metric | None = None
    samples: int = 0

    def loss(self, coupling: Coupling, data: Data, unseen: bool) -> tuple[Loss, int]:
        """Return the loss of a cut graph, and on how many samples it is measured (0: not ours).

        unseen: on samples that no moments are summed of.
        """
        whole = coupling.opened.whole
        if self.metric is not None:
            return MetricLoss.of(whole, self.metric), 0
        if unseen:
            error = held_out_error(coupling, data, SAMPLES, self.samples)
        else:
            error = OutputError.of(coupling, evaluation_feeds(coupling, data, self.samples))
        return error, sum(count_samples(specs_of(feed), whole) for feed in error.feeds)


def sensitivity(
    model: Graph | str | Path,
    data: DataSource = None,
    *,
    ratios: Sequence[float] = RATIOS,
    criterion: str = "auto",
    score: str | Path | None = None,
    samples: int = 0,
    refit: bool | None = None,
    file: str | Path | None = None,
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    seed: int = 0,
    names: Catalogue | None = None,
    watch: Watch | None = None,
) -> Measured:
    """Measure what the loss of a share of each family of channels, alone, does to the outputs.

    criterion: what orders the channels of a family, as option `score` of remove-channels. score: a
    Python file with `score(run) -> float`; then a curve is of the loss of that score. samples: how
    many are run for a point; 0: 64, fewer where those cost more than 8 GMACs; where moments of the
    data order the channels or refit, of those that are held out. refit: refit the weights that read
    a family before a point is measured, as repair-weights does; None: where samples are given.
    file: where every point is kept at once, and taken over from. watch: told (points done, points
    to do). Raises SlimcError.
    """
    _check_numbers(ratios, samples, score)
    measure = _user_score(score) if score is not None else _Score(samples=samples)
    names = names or catalogue()
    given = model if isinstance(model, Graph) else load(model)
    graph, ctx = _canonical(given, data, bind or {}, shape or {}, seed, names)
    coupling, found = _coupled(graph, ctx)
    order = chosen_score(criterion, ctx)
    refits = not ctx.data.synthetic if refit is None else refit
    reads = refits or order in READER_SCORES
    loss, count = measure.loss(coupling, ctx.data, unseen=reads)
    metric = measure.name + (REFITTED if refits else "")
    setup = Setup(digest(graph), ctx.data.digest, order, metric, seed, count)
    curves = Curves(setup, tuple(Curve(family.name, family.width) for family in found))
    path = Path(file) if file is not None else None
    if path is not None:
        curves = gone_on_with(path, curves)
        save_curves(curves, path)
    taken_over = curves.count
    wanted = sum(curve.at(ratio) is None for curve in curves.curves for ratio in set(ratios))
    missing = _points(coupling, found, ctx, curves, ratios, loss, refits) if wanted else ()
    with one_blas_thread():
        for name, point in missing:
            curves = curves.with_point(name, point)
            if path is not None:
                save_curves(curves, path)
            if watch is not None:
                watch(curves.count - taken_over, wanted)
    return Measured(curves, taken_over, ctx.data.synthetic, score is not None)


def _points(
    coupling: Coupling,
    found: Sequence[Family],
    ctx: Context,
    known: Curves,
    ratios: Sequence[float],
    loss: Loss,
    refits: bool,
) -> Iterator[tuple[str, Point]]:
    """Yield the missing points; moments of the data are summed where they order or refit."""
    order = known.setup.score
    reads = refits or order in READER_SCORES
    with open_moments(reads, coupling, found, ctx) as moments:
        rankings = rank_with(coupling, found, order, ctx, moments)
        refit = moments.refit if refits and moments is not None else None
        yield from measure_points(coupling, found, rankings, known.curves, ratios, loss, refit)


def _check_numbers(ratios: Sequence[float], samples: int, score: object) -> None:
    wrong = ""
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        wrong = f"ratios {', '.join(map(str, ratios))}: each must lie between 0 and 1"
    elif samples < 0:
        wrong = f"samples is {samples}, it must be at least 0"
    elif samples and score is not None:
        wrong = "a score of your own chooses its samples itself: leave out the number of samples"
    if wrong:
        help = "for example --ratios 0.25,0.5,0.75"
        raise SlimcError("bad-option-value", wrong, "slimc sensitivity", help)


def _user_score(path: str | Path) -> _Score:
    """Run the file that the user names. Raises SlimcError "bad-plugin", "bad-metric"."""
    path = Path(path)
    metric = metric_of(path)
    return _Score(f"score of {path.name} {provenance.digest(path)[:16]}", metric)


def _canonical(
    graph: Graph,
    data: DataSource,
    bind: Mapping[str, str],
    shape: Mapping[str, str],
    seed: int,
    names: Catalogue,
) -> tuple[Graph, Context]:
    """Return the graph as channel removal meets it in a compile, and the context of that."""
    target = names.target(_TARGET)
    graph = bound(graph, binding_passes(bind, shape), names, target).graph
    samples = samples_from(data, graph, seed)
    sizes = default_sizes(graph) | samples.sizes()
    ctx = Context(names.ops, target, samples, sizes, seed, names.scores)
    if graph.form is Form.IMPORTED:
        graph = apply([Canonicalize()], graph, ctx)
    where, help = "slimc sensitivity", "measure the model in floats"
    check_float_weights(graph, ctx.ops, "channels cannot leave", where, help)
    return graph, ctx


def _coupled(graph: Graph, ctx: Context) -> tuple[Coupling, tuple[Family, ...]]:
    """Return the coupling and the families that have a narrower form."""
    coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))
    found = tuple(family for family in families(coupling) if family.width > 1)
    if not found:
        raise SlimcError(
            "no-free-channels",
            "no channel of the model may leave",
            "slimc sensitivity",
            "slimc explain MODEL --pass prune says what pins them",
        )
    return coupling, found
