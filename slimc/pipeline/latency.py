"""Is it faster: time what channel removal gains, give back what does not pay, and hold promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from slimc.analysis.cost import measure
from slimc.calib.feeds import macs_of
from slimc.errors import PromiseError, SlimcError, did_you_mean
from slimc.execute.ort import time_rounds
from slimc.execute.speedup import MARGIN, Speedup, speedup
from slimc.ir.graph import Graph
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.pipeline.give_back import Decision, Names, Trial, decide
from slimc.remarks import Latency, Remark, listed, note, skipped

Feed = Mapping[str, np.ndarray]
Timer = Callable[[Sequence[Graph], Feed, int, int], np.ndarray]

ONE_THREAD = 1  # decides: its seconds are steady on a busy machine too
ALL_THREADS = 0
_MACS = 10**10  # of all rounds of a measurement: some seconds
_ROUNDS = (30, 200)  # at least, and at most
_WHOLE = 3  # times the rounds for what a promise is held to
_DIGITS = 4  # of measured numbers in the report


@dataclass(frozen=True)
class Stopwatch:
    """Times graphs in turn, on one feed.

    rounds: of a comparison, by the MACs of the feed and never by the clock. time: (graphs, feed,
    rounds, threads) -> seconds f64[graphs, rounds]; onnxruntime on this machine, or whatever the
    caller brings, such as runs on a device.
    """

    feed: Feed
    samples: int
    rounds: int
    time: Timer = time_rounds

    @classmethod
    def of(cls, graph: Graph, feed: Feed, ctx: Context, time: Timer = time_rounds) -> Stopwatch:
        """Take as many rounds as make about `_MACS`."""
        macs, samples = macs_of(feed, graph, ctx.ops, ctx.sizes_of(graph))
        least, most = _ROUNDS
        return cls(feed, samples, min(most, max(least, _MACS // max(1, macs))), time)

    def compare(
        self, first: Graph, second: Graph, threads: int = ONE_THREAD, times: int = 1
    ) -> Speedup:
        """Return how many times as fast the second graph is."""
        return speedup(*self.time((first, second), self.feed, times * self.rounds, threads))

    def whole(self, before: Graph, after: Graph) -> tuple[Latency, ...]:
        """Compare the original with what came of it, with one thread and with all."""
        return tuple(
            _latency(self.compare(before, after, threads, times), self.samples, threads)
            for threads, times in ((ONE_THREAD, _WHOLE), (ALL_THREADS, 1))
        )


def _latency(found: Speedup, samples: int, threads: int) -> Latency:
    return Latency(threads, samples, found.rounds, *found.seconds, found.median, *found.bounds)


def judged(
    one: RemoveChannels, before: Graph, made: PassResult, ctx: Context, watch: Stopwatch
) -> tuple[RemoveChannels, PassResult]:
    """Measure a removal of channels, and give back what does not pay.

    Return the pass that does so, and its result with what was measured among the remarks and facts.
    """
    decision = _decide(one, before, made.facts["families"], ctx, watch)
    if decision.given_back:
        one = replace(one, give_back=(*one.give_back, *decision.given_back))
        made = one.run(before, ctx)
    whole = watch.compare(before, made.graph)
    remarks = (*_remarks(whole, decision, ctx), *made.remarks)
    facts = {**made.facts, "measured": measured(whole, decision, watch)}
    return one, replace(made, remarks=remarks, facts=facts)


def _decide(
    one: RemoveChannels,
    before: Graph,
    rows: Sequence[Mapping[str, Any]],
    ctx: Context,
    watch: Stopwatch,
) -> Decision:
    """Measure graphs with families given back. rows: of families, with their widths."""
    width = {row["name"]: row["width"] for row in rows}
    kept = {row["name"]: row["kept"] for row in rows}

    def macs(graph: Graph) -> int:
        return measure(graph, ctx.ops, ctx.sizes).macs

    def trial(families: Names, given_back: Names) -> Trial:
        narrow, wide = (
            one.narrowed(before, ctx, kept | {name: width[name] for name in whole})
            for whole in (given_back, (*given_back, *families))
        )
        promised = macs(wide) / max(1, macs(narrow))
        return Trial(families, promised, watch.compare(wide, narrow))

    return decide(tuple(name for name in kept if kept[name] < width[name]), trial)


def _remarks(whole: Speedup, decision: Decision, ctx: Context) -> tuple[Remark, ...]:
    when = " in float" if ctx.quantizes else ""
    said = [note(f"measured{when}: {whole}{meaning(whole)}")]
    for name in decision.given_back:
        last = next(t for t in reversed(decision.trials) if name in t.families)
        removal = f"the removal of '{name}'"
        if len(last.families) > 1:
            removal = f"the removal of {len(last.families)} families, '{name}' among them,"
        said.append(
            skipped(
                name.partition("#")[0],
                f"given back: {removal} makes it {last.measured}, "
                f"its MACs promise {last.promised:.3g}",
            )
        )
    if decision.undecided:
        said.append(
            note(f"noise hides whether the removal of {listed(list(decision.undecided))} pays")
        )
    return tuple(said)


def meaning(whole: Speedup) -> str:
    """Say what a ratio near or below one means."""
    low, high = whole.bounds
    if high * (1 + MARGIN) < 1:
        return ", slower"
    return "" if low > 1 + MARGIN else ", hardly a difference"


def measured(whole: Speedup, decision: Decision, watch: Stopwatch) -> dict[str, Any]:
    """Return the figures of a measurement, for the report."""
    return {
        "threads": ONE_THREAD,
        "samples": watch.samples,
        **_numbers(whole),
        "given_back": list(decision.given_back),
        "undecided": list(decision.undecided),
        "trials": [
            {
                "families": list(trial.families),
                "promised": round(trial.promised, _DIGITS),
                "verdict": trial.verdict,
                **_numbers(trial.measured),
            }
            for trial in decision.trials
        ],
    }


def _numbers(found: Speedup) -> dict[str, Any]:
    low, high = found.bounds
    return {
        "ratio": round(found.median, _DIGITS),
        "low": round(low, _DIGITS),
        "high": round(high, _DIGITS),
        "rounds": found.rounds,
    }


def required_ratio(text: str) -> float:
    """Read what must hold: `faster`, or `faster=1.2`; how many times as fast the result must be.

    Faster alone asks for more than two loads of one model differ. Nothing required: 0. Raises
    SlimcError "bad-option-value".
    """
    if not text:
        return 0.0
    word, equals, number = text.partition("=")
    if word != "faster":
        raise SlimcError(
            "bad-option-value",
            f"'{word}' cannot be required",
            where="require",
            help=did_you_mean(word, ["faster", "faster=1.2"]),
        )
    try:
        ratio = float(number) if equals else 1 + MARGIN
    except ValueError:
        ratio = 0.0
    if not 1 <= ratio < inf:
        raise SlimcError(
            "bad-option-value",
            f"faster takes a number from 1 upwards, not '{number}'",
            where="require",
            help="for example faster=1.2: at least 1.2 times as fast as the original",
        )
    return ratio


def hold(require: str, latency: Sequence[Latency]) -> None:
    """Raise PromiseError "not-faster" unless one thread is surely as fast as required."""
    one = next(row for row in latency if row.threads == ONE_THREAD)
    if one.low >= required_ratio(require):
        return
    raise PromiseError(
        "not-faster",
        f"{require} was required (at least {required_ratio(require):.3g} times as fast), measured: "
        f"{one.ratio:.3g} times as fast, surely between {one.low:.3g} and {one.high:.3g}",
        where=f"{1e3 * one.before_seconds:.3g} ms before, {1e3 * one.after_seconds:.3g} ms after, "
        f"{one.samples} samples, one thread, {one.rounds} rounds in turn; nothing was written",
        help="remove more (ratio), or widths that kernels like (align); or ask for less",
    )
