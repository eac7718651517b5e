"""What a model will get: shape, range, mean and spread of each input over the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from slimc.calib.data import Data


@dataclass(frozen=True)
class Seen:
    """Numbers of one input over all feeds. text: no numbers; bad: elements that are not finite."""

    name: str
    kinds: tuple[str, ...]
    low: float
    high: float
    mean: float
    deviation: float
    bad: int
    text: bool


def summarize(data: Data, progress: Callable[[int, int], None]) -> tuple[Seen, ...]:
    """Go through the feeds once. progress: told (feeds seen, feeds)."""
    sums = {name: _Sums() for name in data.graph.inputs}
    for i, feed in enumerate(data):
        for name, one in sums.items():
            one.add(feed[name])
        progress(i + 1, len(data))
    kinds = {n: tuple(dict.fromkeys(str(one[n]) for one in data.all_specs)) for n in sums}
    return tuple(one.seen(name, kinds[name]) for name, one in sums.items())


class _Sums:
    """Extremes and moments of what was added, the elements that are finite."""

    def __init__(self) -> None:
        self.low, self.high, self.total, self.squares = inf, -inf, 0.0, 0.0
        self.count = self.bad = 0
        self.text = False

    def add(self, array: np.ndarray) -> None:
        if array.dtype.kind in "OUS":
            self.text = True
            return
        x = array.astype(np.float64).ravel()
        x = x[np.isfinite(x)]
        self.bad += array.size - x.size
        if x.size:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
            self.count += x.size
            self.total += float(x.sum())
            self.squares += float(np.square(x).sum())

    def seen(self, name: str, kinds: tuple[str, ...]) -> Seen:
        mean = self.total / max(1, self.count)
        deviation = sqrt(max(0.0, self.squares / max(1, self.count) - mean * mean))
        ends = (self.low, self.high) if self.count else (0.0, 0.0)
        return Seen(name, kinds, *ends, mean, deviation, self.bad, self.text)
