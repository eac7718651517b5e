"""Promises on accuracy: what they ask, and whether a graph keeps them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, log10
from pathlib import Path

from slimc.analysis.coupling import couple
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.output_loss import Loss, Metric, MetricLoss, OutputError, evaluation_feeds
from slimc.errors import PromiseError, SlimcError
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.pipeline.catalogue import run_file
from slimc.pipeline.region_losses import load_for

_PERCENT = 100
LEAST_JUDGED = 32  # samples, where there are so many: on fewer the noise is that of single ones


@dataclass(frozen=True)
class Promise:
    """What the result must keep; None: not asked.

    sqnr: least signal over noise at the outputs, in dB, on samples that calibration has not seen.
    drop: the most that the metric may lose; relative: as a share of the original's score.
    """

    sqnr: float | None = None
    drop: float | None = None
    relative: bool = False
    metric: Metric | None = None

    def __bool__(self) -> bool:
        return self.sqnr is not None or self.drop is not None

    def __str__(self) -> str:
        said = [] if self.sqnr is None else [f"min-sqnr {self.sqnr:g}"]
        if self.drop is not None:
            said.append(
                f"max-drop {100 * self.drop:g}%" if self.relative else f"max-drop {self.drop:g}"
            )
        return " and ".join(said)


def promised(
    min_sqnr: float | None,
    max_drop: str,
    score: str | Path | Metric | None,
    stop_after: str = "",
) -> Promise:
    """Read what is asked of the result. Raises SlimcError: bad-option-value, -metric, -plugin.

    stop_after: the pass that the compile stops after; then nothing is made that could be judged.
    """
    if stop_after and (min_sqnr is not None or max_drop):
        message = f"nothing can be promised of a compile that stops after '{stop_after}'"
        raise _wrong(message, "leave out one of them")
    if min_sqnr is not None and not isfinite(min_sqnr):
        raise _wrong(f"min-sqnr is {min_sqnr}, not a number of dB", "for example --min-sqnr 30")
    if bool(max_drop) != (score is not None):
        raise _wrong(
            "max-drop and a score belong together",
            "for example --max-drop 1% --score scorer.py; or --min-sqnr 30, which needs no score",
        )
    if score is None:
        return Promise(min_sqnr)
    drop, relative = _drop(max_drop)
    return Promise(min_sqnr, drop, relative, metric_of(score))


def _drop(text: str) -> tuple[float, bool]:
    number, percent, rest = text.partition("%")
    try:
        drop = float(number)
    except ValueError:
        drop = -1.0
    if rest or not 0 <= drop < inf:
        help = "1% of the original's score, or 0.01 of the score itself"
        raise _wrong(f"max-drop is '{text}', not a number from 0 upwards", help)
    return (drop / _PERCENT, True) if percent else (drop, False)


def _wrong(message: str, help: str) -> SlimcError:
    return SlimcError("bad-option-value", message, "promises of the result", help)


def metric_of(source: str | Path | Metric) -> Metric:
    """Return a function, or that of a file. Raises SlimcError "bad-plugin", "bad-metric"."""
    if callable(source):
        return source
    path = Path(source)
    metric: Metric | None = getattr(run_file(path), "score", None)
    if not callable(metric):
        raise SlimcError(
            "bad-metric",
            "it defines no function 'score'",
            f"'{path}'",
            "def score(run) -> float: run(feed) gives the list of outputs; higher is better",
        )
    return metric


def output_error(original: Graph, ctx: Context, unseen: Data) -> OutputError:
    """Return the error against a graph as the target runs. Raises SlimcError "no-float-output"."""
    coupling = couple(original, ctx.ops, infer(original, ctx.ops, ctx.sizes_of(original)))
    feeds = evaluation_feeds(coupling, unseen)
    if sum(count_samples(specs_of(feed), original) for feed in feeds) < LEAST_JUDGED:
        feeds = evaluation_feeds(coupling, unseen, LEAST_JUDGED)
    error = OutputError.of(coupling, feeds)
    return replace(error, load=load_for(ctx.target))


@dataclass(frozen=True)
class Judged:
    """What a graph reaches of a promise.

    sqnr: dB, None where not asked; lost: of the metric, which the original has at `baseline`;
    excess: how many times the loss that is allowed: the promise is kept up to 1.
    """

    excess: float
    sqnr: float | None = None
    lost: float | None = None
    baseline: float = 0.0

    def __str__(self) -> str:
        said = [] if self.sqnr is None else [f"{self.sqnr:.1f} dB"]
        if self.lost is not None:
            said.append(f"a score of {self.baseline - self.lost:.4g} of {self.baseline:.4g}")
        return " and ".join(said)


@dataclass(frozen=True, eq=False)
class Judge:
    """Measures whether graphs keep a promise.

    error, metric: losses, None where not asked; samples: that the error is of; unseen: passes have
    left them out.
    """

    promise: Promise
    error: OutputError | None
    metric: MetricLoss | None
    samples: int
    unseen: bool

    @classmethod
    def of(cls, promise: Promise, original: Graph, ctx: Context, unseen: Data) -> Judge:
        """Run the original."""
        error = metric = None
        if promise.sqnr is not None:
            error = output_error(original, ctx, unseen)
        if promise.metric is not None:
            metric = replace(MetricLoss.of(original, promise.metric), load=load_for(ctx.target))
        feeds = error.feeds if error is not None else ()
        count = sum(count_samples(specs_of(feed), original) for feed in feeds)
        return cls(promise, error, metric, count, unseen is not ctx.data)

    @property
    def where(self) -> str:
        """Say on which samples outputs are compared, if they are."""
        if not self.samples:
            return ""
        seen = "has not seen" if self.unseen else "has seen too: there is one feed only"
        return f" on {self.samples} samples that calibration {seen}"

    def __call__(self, graph: Graph) -> Judged:
        """Measure a graph with Q/DQ."""
        sqnr = lost = None
        excess, baseline = 0.0, 0.0
        if self.error is not None and self.promise.sqnr is not None:
            noise = self.error(graph)
            sqnr = decibels(noise)
            excess = noise * 10 ** (self.promise.sqnr / 10)
        if self.metric is not None and self.promise.drop is not None:
            lost, baseline = self.metric(graph), self.metric.baseline
            allowed = self.promise.drop * (abs(baseline) if self.promise.relative else 1.0)
            excess = max(excess, _over(lost, allowed))
        return Judged(excess, sqnr, lost, baseline)

    def broken(self, best: Judged, how: str) -> PromiseError:
        """Return the error of a promise that cannot be kept."""
        return PromiseError(
            "promise-missed",
            f"{self.promise} was asked for, and {how} reaches {best}{self.where}",
            where="nothing was written",
            help="ask for less; or remove less before (prune), which loses accuracy too",
        )


def _over(lost: float, allowed: float) -> float:
    if lost <= allowed:
        return max(0.0, lost) / allowed if allowed else 0.0
    return lost / allowed if allowed else inf


def decibels(noise: float) -> float:
    """Return signal over noise in dB."""
    return -10 * log10(noise) if noise > 0 else inf


def ranking_loss(judge: Judge, original: Graph, ctx: Context, unseen: Data) -> Loss:
    """Return the loss that ranks regions: the outputs' error, which tells small losses apart.

    A score on few samples is the same for most; it ranks where no output is a float.
    """
    if judge.error is not None:
        return judge.error
    try:
        return output_error(original, ctx, unseen)
    except SlimcError as error:
        if error.name != "no-float-output" or judge.metric is None:
            raise
    return judge.metric
