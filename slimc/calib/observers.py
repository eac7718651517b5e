"""Observers: look at the arrays of one value, feed after feed, and give its range.

Memory is constant: extremes, or a histogram of fixed size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np

from slimc.calib.histogram import Histogram
from slimc.calib.table import Range
from slimc.ir.arrays import Floats

TINY = float(np.finfo(np.float32).tiny)  # the least scale that is no subnormal number
_NEVER = 1e-12  # probability of a bin that Q leaves empty and P does not: finite, and bad
Calibrator = Literal["minmax", "moving-average", "percentile", "entropy", "mse", "auto"]


class Observer(ABC):
    """Looks at (a sample of) the elements of one value, feed after feed.

    As text it says what it is and with which settings.
    """

    def __str__(self) -> str:
        return type(self).__name__

    @abstractmethod
    def observe(self, array: np.ndarray) -> None:
        """Take one feed's array (never empty, all finite)."""

    @abstractmethod
    def range(self) -> Range | None:
        """Return the range found, None if nothing was observed."""


class FromExtremes(Observer):
    """An observer that the two extremes of each feed are enough for."""

    def __init__(self) -> None:
        self._found: Range | None = None

    def observe(self, array: np.ndarray) -> None:
        self.see(Range(float(array.min()), float(array.max())))

    def see(self, extremes: Range) -> None:
        """Take the extremes of one feed."""
        self._found = extremes if self._found is None else self._merged(self._found, extremes)

    def range(self) -> Range | None:
        return self._found

    @abstractmethod
    def _merged(self, old: Range, new: Range) -> Range: ...


class MinMax(FromExtremes):
    """The extremes of all feeds."""

    def _merged(self, old: Range, new: Range) -> Range:
        return old.join(new)


class MovingAverage(FromExtremes):
    """Exponentially moving average of each feed's extremes: a single odd feed counts little.

    Source: Jacob et al., CVPR 2018, section 3.1.
    """

    WEIGHT: ClassVar[float] = 0.1  # of a new feed: some ten feeds count

    def _merged(self, old: Range, new: Range) -> Range:
        low = old.low + self.WEIGHT * (new.low - old.low)
        return Range(low, old.high + self.WEIGHT * (new.high - old.high))


class FromHistogram(Observer):
    """An observer that chooses a range from the histogram of all feeds.

    Small arrays wait for each other, at most `WAITING` elements: counting has a price per call.
    """

    WAITING: ClassVar[int] = 8192

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._waiting: list[np.ndarray] = []
        self._size = 0

    def observe(self, array: np.ndarray) -> None:
        self._waiting.append(array.ravel())
        self._size += array.size
        if self._size >= self.WAITING:
            self._count()

    def range(self) -> Range | None:
        self._count()
        extremes = self._histogram.extremes
        return None if extremes is None else self._choose(self._histogram, extremes)

    def _count(self) -> None:
        if self._waiting:
            self._add(np.concatenate(self._waiting))
        self._waiting, self._size = [], 0

    def _add(self, elements: np.ndarray) -> None:
        self._histogram.add(elements)

    @abstractmethod
    def _choose(self, histogram: Histogram, extremes: Range) -> Range: ...


class Percentile(FromHistogram):
    """The range without the rarest elements at both ends: `percent` of 100 lie under its high."""

    def __init__(self, percent: float) -> None:
        super().__init__()
        self._share = percent / 100

    def __str__(self) -> str:
        return f"Percentile {self._share}"

    def _choose(self, histogram: Histogram, extremes: Range) -> Range:
        return Range(histogram.quantile(1 - self._share), histogram.quantile(self._share))


class LeastError(FromHistogram):
    """The clipped range with the least mean squared error of rounding and clipping.

    levels: integers of the grid; symmetric: as many below zero as above.
    """

    CANDIDATES: ClassVar[int] = 40
    LEAST: ClassVar[float] = 0.1  # of the magnitude: tighter clips have never won

    def __init__(self, levels: int, symmetric: bool) -> None:
        super().__init__()
        self._levels, self._symmetric = levels, symmetric

    def __str__(self) -> str:
        return f"LeastError {self._levels} {self._symmetric}"

    def _choose(self, histogram: Histogram, extremes: Range) -> Range:
        shares = np.linspace(1, self.LEAST, self.CANDIDATES)
        clipped = [clip(extremes, float(share) * extremes.magnitude) for share in shares]
        errors = [squared_error(c, histogram, self._levels, self._symmetric) for c in clipped]
        return clipped[int(np.argmin(errors))]


class Entropy(FromHistogram):
    """The clipped range whose integers keep most information: least Kullback-Leibler divergence.

    levels, symmetric: as in LeastError. Exact zeros are left out: every grid holds them.
    Source: Migacz, "8-bit inference with TensorRT", GTC 2017.
    """

    CANDIDATES: ClassVar[int] = 128

    def __init__(self, levels: int, symmetric: bool) -> None:
        super().__init__()
        self._levels, self._symmetric = levels, symmetric

    def __str__(self) -> str:
        return f"Entropy {self._levels} {self._symmetric}"

    def _choose(self, histogram: Histogram, extremes: Range) -> Range:
        best, least = extremes, np.inf
        for share in np.linspace(1, 1 / self.CANDIDATES, self.CANDIDATES):
            clipped = clip(extremes, float(share) * extremes.magnitude)
            inside, outside = histogram.within(clipped)
            step = grid_step(clipped, self._levels, self._symmetric)
            levels = max(1, round((clipped.high - clipped.low) / step))
            if len(inside) < 2 * levels:
                break  # the histogram is too coarse to tell more
            divergence = _divergence(inside, outside, levels)
            if divergence < least:
                best, least = clipped, divergence
        return best


class LeastUnseenError(FromHistogram):
    """The range of the rule that loses least on elements which it has not seen.

    Rules: the extremes, three percentiles, entropy, squared error. Each chooses from one half of
    the elements and is judged by its squared error on the other half, both ways; the best one (of
    equal ones the first) chooses from all. levels, symmetric: as in LeastError.
    """

    PERCENTILES: ClassVar[tuple[float, ...]] = (99.9, 99.99, 99.999)

    def __init__(self, levels: int, symmetric: bool) -> None:
        super().__init__()
        self._levels, self._symmetric = levels, symmetric
        self._other = Histogram()

    def __str__(self) -> str:
        return f"LeastUnseenError {self._levels} {self._symmetric}"

    def _add(self, elements: np.ndarray) -> None:
        self._histogram.add(elements[::2])
        if elements.size > 1:
            self._other.add(elements[1::2])

    def _choose(self, histogram: Histogram, extremes: Range) -> Range:
        rules = self._rules(histogram.joined(self._other))
        if self._other.extremes is None:
            return extremes
        errors = np.zeros(len(rules))
        for seen, unseen in ((histogram, self._other), (self._other, histogram)):
            errors += [self._error(one, unseen) for one in self._rules(seen)]
        return rules[int(np.argmin(errors))]

    def _rules(self, histogram: Histogram) -> list[Range]:
        choosers: tuple[FromHistogram, ...] = (
            LeastError(self._levels, self._symmetric),
            Entropy(self._levels, self._symmetric),
            *(Percentile(percent) for percent in self.PERCENTILES),
        )
        extremes = histogram.extremes
        if extremes is None:
            return []
        return [*(one._choose(histogram, extremes) for one in choosers), extremes]

    def _error(self, of: Range, histogram: Histogram) -> float:
        return squared_error(of, histogram, self._levels, self._symmetric)


def squared_error(of: Range, histogram: Histogram, levels: int, symmetric: bool) -> float:
    """Return the sum of squared errors of rounding and clipping to a grid over the range."""
    x, counts = histogram.points()
    step = grid_step(of, levels, symmetric)
    rounded = np.rint(np.clip(x, of.low, of.high) / step) * step
    return float(counts @ np.square(x - rounded))


def _divergence(inside: Floats, outside: tuple[float, float], levels: int) -> float:
    """Return KL(P || Q): P saturates what is outside, Q has `levels` integers for what is inside.

    Each integer's count spreads evenly over those of its bins that are not empty.
    """
    group = np.arange(len(inside)) * levels // len(inside)
    full = inside > 0
    bins = np.bincount(group, full, levels)
    spread = np.bincount(group, inside, levels) / np.maximum(bins, 1)
    q = np.where(full, spread[group], 0.0)
    p = inside.copy()
    p[0] += outside[0]
    p[-1] += outside[1]
    seen = p > 0
    total = q.sum()
    if not total:
        return float(np.inf)
    p, q = p[seen] / p.sum(), np.maximum(q[seen] / total, _NEVER)
    return float(p @ np.log(p / q))


def observer(calibrator: Calibrator, percent: float, levels: int, symmetric: bool) -> Observer:
    """Make an observer by name, for a grid of `levels` integers."""
    if calibrator == "minmax":
        return MinMax()
    if calibrator == "moving-average":
        return MovingAverage()
    if calibrator == "percentile":
        return Percentile(percent)
    if calibrator == "entropy":
        return Entropy(levels, symmetric)
    if calibrator == "auto":
        return LeastUnseenError(levels, symmetric)
    return LeastError(levels, symmetric)


def clip(whole: Range, magnitude: float) -> Range:
    """Return the part of a range between -magnitude and magnitude."""
    return Range(max(whole.low, -magnitude), min(whole.high, magnitude))


def grid_step(of: Range, levels: int, symmetric: bool) -> float:
    """Return the distance of neighbours on a grid that covers the range and zero."""
    if symmetric:
        return max(of.magnitude / (levels // 2), TINY)
    low, high = min(of.low, 0.0), max(of.high, 0.0)
    return max((high - low) / (levels - 1), TINY)
