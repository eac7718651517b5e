"""Is it faster: time graphs in turn on one feed, and hold promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from slimc.calib.feeds import macs_of
from slimc.errors import PromiseError, SlimcError, did_you_mean
from slimc.execute.ort import time_rounds
from slimc.execute.speedup import MARGIN, Speedup, speedup
from slimc.ir.graph import Graph
from slimc.passes import LOWERING
from slimc.passes.context import Context
from slimc.pipeline.integer_layers import ONNXRUNTIME
from slimc.pipeline.runner import apply
from slimc.remarks import Latency
from slimc.targets.onnxruntime.machine import this_cpu
from slimc.targets.target import Target

Feed = Mapping[str, np.ndarray]
Timer = Callable[[Sequence[Graph], Feed, int, int], np.ndarray]

ONE_THREAD = 1  # decides: its seconds are steady on a busy machine too
ALL_THREADS = 0
_MACS = 10**10  # of all rounds of a measurement: some seconds
_ROUNDS = (30, 200)  # at least, and at most
_WHOLE = 3  # times the rounds for what a promise is held to


@dataclass(frozen=True)
class Stopwatch:
    """Times graphs in turn, on one feed: what `slimc.passes.timing.Timing` lends to passes."""

    feed: Feed
    """An array for every input."""
    samples: int
    """That the feed holds."""
    rounds: int
    """Of a comparison, by the MACs of the feed and never by the clock."""
    time: Timer = time_rounds
    """Takes (graphs, feed, rounds, threads), returns seconds f64[graphs, rounds]: onnxruntime on
    this machine, or whatever the caller brings, such as runs on a device."""

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

    def lowered(self, graph: Graph, ctx: Context) -> Graph:
        """Return what the target's runtime gets of a graph with records."""
        return apply(LOWERING, graph, ctx)

    def obstacle(self, target: Target) -> str:
        """Say why integers of a target cannot be timed here; empty: they can."""
        here = this_cpu().name
        if self.time is not time_rounds or (target.runtime, target.name) == (ONNXRUNTIME, here):
            return ""
        where = here
        if target.runtime != ONNXRUNTIME:
            where = f"{target.name} runs on {target.runtime}"
        return f"integers are not timed: this machine is no {target.name} ({where})"

    def whole(self, before: Graph, after: Graph) -> tuple[Latency, ...]:
        """Compare the original with what came of it, with one thread and with all."""
        return tuple(
            _latency(self.compare(before, after, threads, times), self.samples, threads)
            for threads, times in ((ONE_THREAD, _WHOLE), (ALL_THREADS, 1))
        )


def _latency(found: Speedup, samples: int, threads: int) -> Latency:
    return Latency(threads, samples, found.rounds, *found.seconds, found.median, *found.bounds)


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
    row = next(row for row in latency if row.threads == ONE_THREAD)
    if row.low >= required_ratio(require):
        return
    raise PromiseError(
        "not-faster",
        f"{require} was required (at least {required_ratio(require):.3g} times as fast), measured: "
        f"{row.ratio:.3g} times as fast, surely between {row.low:.3g} and {row.high:.3g}",
        where=f"{1e3 * row.before_seconds:.3g} ms before, {1e3 * row.after_seconds:.3g} ms after, "
        f"{row.samples} samples, one thread, {row.rounds} rounds in turn; nothing was written",
        help="remove more (ratio), or widths that kernels like (align); or ask for less",
    )
