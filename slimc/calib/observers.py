"""Observers: they see the arrays of one value, feed after feed, and give its range.

Memory is constant: two extremes, or a histogram of fixed size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np

from slimc.calib.histogram import Histogram
from slimc.calib.table import ValueRange
from slimc.ir.arrays import Floats

TINY = float(np.finfo(np.float32).tiny)  # the least scale: the smallest normal f32
_LEAST_PROBABILITY = 1e-12  # probability of a bin that is empty in Q and not in P: finite, and bad
Calibrator = Literal["minmax", "moving-average", "percentile", "entropy", "mse", "auto"]


class Observer(ABC):
    """Observes (a sample of) the elements of one value, feed after feed.

    Its text gives its kind and settings.
    """

    def __str__(self) -> str:
        return type(self).__name__

    @abstractmethod
    def observe(self, array: np.ndarray) -> None:
        """Observe the array of one feed (never empty, all finite)."""

    @abstractmethod
    def range(self) -> ValueRange | None:
        """Return the range, None if nothing was observed."""


class ExtremesObserver(Observer):
    """An observer that needs only the two extremes of each feed."""

    def __init__(self) -> None:
        self._range: ValueRange | None = None

    def observe(self, array: np.ndarray) -> None:
        self.observe_extremes(ValueRange(float(array.min()), float(array.max())))

    def observe_extremes(self, extremes: ValueRange) -> None:
        """Observe the extremes of one feed."""
        self._range = extremes if self._range is None else self._merge(self._range, extremes)

    def range(self) -> ValueRange | None:
        return self._range

    @abstractmethod
    def _merge(self, old: ValueRange, new: ValueRange) -> ValueRange: ...


class MinMax(ExtremesObserver):
    """The extremes of all feeds."""

    def _merge(self, old: ValueRange, new: ValueRange) -> ValueRange:
        return old.join(new)


class MovingAverage(ExtremesObserver):
    """Exponential moving average of each feed's extremes: a single outlier weighs little.

    Source: Jacob et al., CVPR 2018, section 3.1.
    """

    WEIGHT: ClassVar[float] = 0.1  # of a new feed: about ten feeds count

    def _merge(self, old: ValueRange, new: ValueRange) -> ValueRange:
        low = old.low + self.WEIGHT * (new.low - old.low)
        return ValueRange(low, old.high + self.WEIGHT * (new.high - old.high))


class HistogramObserver(Observer):
    """An observer that chooses the range from a histogram of all feeds.

    Small arrays are buffered, at most `WAITING` elements: counting has a fixed cost per call.
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

    def range(self) -> ValueRange | None:
        self._count()
        extremes = self._histogram.extremes
        return None if extremes is None else self._choose_range(self._histogram, extremes)

    def _count(self) -> None:
        if self._waiting:
            self._add(np.concatenate(self._waiting))
        self._waiting, self._size = [], 0

    def _add(self, elements: np.ndarray) -> None:
        self._histogram.add(elements)

    @abstractmethod
    def _choose_range(self, histogram: Histogram, extremes: ValueRange) -> ValueRange: ...


class Percentile(HistogramObserver):
    """The range without outliers at both ends: `percent` of 100 elements lie under its high end."""

    def __init__(self, percent: float) -> None:
        super().__init__()
        self._share = percent / 100

    def __str__(self) -> str:
        return f"Percentile {self._share}"

    def _choose_range(self, histogram: Histogram, extremes: ValueRange) -> ValueRange:
        return ValueRange(histogram.quantile(1 - self._share), histogram.quantile(self._share))


class LeastError(HistogramObserver):
    """The clipped range with the least mean squared error of rounding and clipping.

    levels: number of quantized values; symmetric: as many below zero as above.
    """

    CANDIDATES: ClassVar[int] = 40
    LEAST: ClassVar[float] = 0.1  # of the magnitude: tighter clipping never won

    def __init__(self, levels: int, symmetric: bool) -> None:
        super().__init__()
        self._levels, self._symmetric = levels, symmetric

    def __str__(self) -> str:
        return f"LeastError {self._levels} {self._symmetric}"

    def _choose_range(self, histogram: Histogram, extremes: ValueRange) -> ValueRange:
        shares = np.linspace(1, self.LEAST, self.CANDIDATES)
        clipped = [clip_range(extremes, float(share) * extremes.magnitude) for share in shares]
        errors = [squared_error(c, histogram, self._levels, self._symmetric) for c in clipped]
        return clipped[int(np.argmin(errors))]


class Entropy(HistogramObserver):
    """The clipped range that keeps most information: least Kullback-Leibler divergence.

    levels, symmetric: as in LeastError. Exact zeros are left out: zero is always a quantized value.
    Source: Migacz, "8-bit inference with TensorRT", GTC 2017.
    """

    CANDIDATES: ClassVar[int] = 128

    def __init__(self, levels: int, symmetric: bool) -> None:
        super().__init__()
        self._levels, self._symmetric = levels, symmetric

    def __str__(self) -> str:
        return f"Entropy {self._levels} {self._symmetric}"

    def _choose_range(self, histogram: Histogram, extremes: ValueRange) -> ValueRange:
        best, least = extremes, np.inf
        for share in np.linspace(1, 1 / self.CANDIDATES, self.CANDIDATES):
            clipped = clip_range(extremes, float(share) * extremes.magnitude)
            inside, outside = histogram.count_bins(clipped)
            step = step_size(clipped, self._levels, self._symmetric)
            levels = max(1, round((clipped.high - clipped.low) / step))
            if len(inside) < 2 * levels:
                break  # the histogram is too coarse for tighter ranges
            divergence = _divergence(inside, outside, levels)
            if divergence < least:
                best, least = clipped, divergence
        return best


class LeastUnseenError(HistogramObserver):
    """The range of the rule with the least error on elements that it has not seen.

    Rules: the extremes, three percentiles, entropy, squared error. Each chooses from one half of
    the elements and is validated by its squared error on the other half, both ways. The best rule
    (the first of equal ones) chooses from all elements. levels, symmetric: as in LeastError.
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

    def _choose_range(self, histogram: Histogram, extremes: ValueRange) -> ValueRange:
        rules = self._ranges_by_rule(histogram.merge(self._other))
        if self._other.extremes is None:
            return extremes
        errors = np.zeros(len(rules))
        for seen, unseen in ((histogram, self._other), (self._other, histogram)):
            errors += [self._error(range_, unseen) for range_ in self._ranges_by_rule(seen)]
        return rules[int(np.argmin(errors))]

    def _ranges_by_rule(self, histogram: Histogram) -> list[ValueRange]:
        choosers: tuple[HistogramObserver, ...] = (
            LeastError(self._levels, self._symmetric),
            Entropy(self._levels, self._symmetric),
            *(Percentile(percent) for percent in self.PERCENTILES),
        )
        extremes = histogram.extremes
        if extremes is None:
            return []
        return [*(chooser._choose_range(histogram, extremes) for chooser in choosers), extremes]

    def _error(self, range_: ValueRange, histogram: Histogram) -> float:
        return squared_error(range_, histogram, self._levels, self._symmetric)


def squared_error(range_: ValueRange, histogram: Histogram, levels: int, symmetric: bool) -> float:
    """Return the summed squared error of rounding and clipping to `levels` quantized values."""
    x, counts = histogram.points()
    step = step_size(range_, levels, symmetric)
    rounded = np.rint(np.clip(x, range_.low, range_.high) / step) * step
    return float(counts @ np.square(x - rounded))


def _divergence(inside: Floats, outside: tuple[float, float], levels: int) -> float:
    """Return KL(P || Q): P saturates outside the range, Q has `levels` quantized values inside.

    The count of each quantized value spreads evenly over its non-empty bins.
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
    p, q = p[seen] / p.sum(), np.maximum(q[seen] / total, _LEAST_PROBABILITY)
    return float(p @ np.log(p / q))


def make_observer(calibrator: Calibrator, percent: float, levels: int, symmetric: bool) -> Observer:
    """Make the observer of a calibrator, for `levels` quantized values."""
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


def clip_range(range_: ValueRange, magnitude: float) -> ValueRange:
    """Return the part of a range between -magnitude and magnitude."""
    return ValueRange(max(range_.low, -magnitude), min(range_.high, magnitude))


def step_size(range_: ValueRange, levels: int, symmetric: bool) -> float:
    """Return the step between quantized values that cover the range and zero."""
    if symmetric:
        return max(range_.magnitude / (levels // 2), TINY)
    low, high = min(range_.low, 0.0), max(range_.high, 0.0)
    return max((high - low) / (levels - 1), TINY)
