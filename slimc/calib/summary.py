"""Summary of the input data: shape, range, mean and standard deviation of each input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from slimc.calib.data import Data


@dataclass(frozen=True)
class InputSummary:
    """Statistics of one input over all feeds."""

    name: str
    """Name of the graph input."""
    kinds: tuple[str, ...]
    """Types and shapes that occur."""
    low: float
    """Smallest finite element."""
    high: float
    """Largest finite element."""
    mean: float
    """Mean of the finite elements."""
    deviation: float
    """Standard deviation of the finite elements."""
    bad: int
    """Number of elements that are not finite."""
    text: bool
    """Whether the elements are strings: they have no statistics."""


def summarize_inputs(data: Data, progress: Callable[[int, int], None]) -> tuple[InputSummary, ...]:
    """Summarize every input in one iteration. progress: called with (feeds read, feeds)."""
    sums = {name: _InputSums() for name in data.graph.inputs}
    for i, feed in enumerate(data):
        for name, input_sums in sums.items():
            input_sums.add(feed[name])
        progress(i + 1, len(data))
    kinds = {n: tuple(dict.fromkeys(str(specs[n]) for specs in data.all_specs)) for n in sums}
    return tuple(input_sums.summary(name, kinds[name]) for name, input_sums in sums.items())


class _InputSums:
    """Extremes and moments of the finite elements added so far."""

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

    def summary(self, name: str, kinds: tuple[str, ...]) -> InputSummary:
        mean = self.total / max(1, self.count)
        deviation = sqrt(max(0.0, self.squares / max(1, self.count) - mean * mean))
        ends = (self.low, self.high) if self.count else (0.0, 0.0)
        return InputSummary(name, kinds, *ends, mean, deviation, self.bad, self.text)
