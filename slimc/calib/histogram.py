"""A histogram of fixed size whose range grows with the data."""

from __future__ import annotations

from math import frexp

import numpy as np

from slimc.calib.table import ValueRange
from slimc.ir.arrays import Floats

BINS = 8192  # half of them on the side of the largest element: 2048 or more up to it
CHUNK = 32768  # elements per step: what fits the L2 cache is twice as fast
LEAST_LIMIT = 2.0**-100  # smaller numbers share the two middle bins


class Histogram:
    """Counts of elements between -limit and limit, in BINS bins of equal width.

    The limit is a power of two. It doubles when a larger element comes, and neighbouring bins
    merge: one pass over the data is enough. Exact zeros are counted separately. `width`: of a bin.
    """

    def __init__(self) -> None:
        self.extremes: ValueRange | None = None
        self._limit = LEAST_LIMIT
        self._counts = np.zeros(BINS, np.int64)
        self._zeros = 0

    @property
    def width(self) -> float:
        return 2 * self._limit / BINS

    def add(self, array: np.ndarray) -> None:
        """Count the (finite) elements of an array."""
        flat = array.ravel().astype(np.float32, copy=False)
        extremes = ValueRange(float(flat.min()), float(flat.max()))
        self.extremes = extremes if self.extremes is None else self.extremes.join(extremes)
        self._grow(extremes.magnitude)
        counts = np.zeros(BINS + 1, np.int64)
        for start in range(0, flat.size, CHUNK):
            bins = flat[start : start + CHUNK] * np.float32(1 / self.width)
            bins += np.float32(BINS / 2)
            counts += np.bincount(bins.astype(np.intp), minlength=BINS + 1)
        counts[BINS - 1] += counts[BINS]  # an element at the limit itself
        zeros = flat.size - int(np.count_nonzero(flat))
        counts[BINS // 2] -= zeros
        self._counts += counts[:BINS]
        self._zeros += zeros

    def merge(self, other: Histogram) -> Histogram:
        """Return the histogram of the elements of both histograms."""
        merged = Histogram()
        for part in (self, other):
            if part.extremes is not None:
                widened = part.extremes
                merged.extremes = (
                    widened if merged.extremes is None else merged.extremes.join(widened)
                )
        merged._limit = max(self._limit, other._limit)
        for part in (self, other):
            grown = Histogram()
            grown._limit, grown._counts = part._limit, part._counts
            grown._grow(merged._limit)
            merged._counts = merged._counts + grown._counts
            merged._zeros += part._zeros
        return merged

    def quantile(self, share: float) -> float:
        """Return the value that a `share` (0..1) of the elements lie below, within one bin."""
        if self.extremes is None:
            raise ValueError("the histogram is empty")
        middle = BINS // 2
        counts = np.insert(self._counts, middle, self._zeros)
        below = np.concatenate([[0], np.cumsum(counts)])
        target = share * below[-1]
        i = int(np.searchsorted(below, target, "left")) - 1
        i = min(max(i, 0), BINS)
        if i == middle:
            return 0.0
        left_edge = ((i if i < middle else i - 1) - middle) * self.width
        fraction = (target - below[i]) / counts[i] if counts[i] else 0.0
        value = min(max(left_edge + fraction * self.width, self.extremes.low), self.extremes.high)
        return float(value)

    def points(self) -> tuple[np.ndarray, Floats]:
        """Return the centers of the non-empty bins and their counts, without exact zeros."""
        full = np.flatnonzero(self._counts)
        return (full - BINS / 2 + 0.5) * self.width, self._counts[full].astype(np.float64)

    def count_bins(self, part: ValueRange) -> tuple[Floats, tuple[float, float]]:
        """Return the counts of the bins that overlap `part`, and the totals below and above."""
        first = max(int(np.floor(part.low / self.width)) + BINS // 2, 0)
        last = min(int(np.ceil(part.high / self.width)) + BINS // 2, BINS)
        inside = self._counts[first:last].astype(np.float64)
        return inside, (float(self._counts[:first].sum()), float(self._counts[last:].sum()))

    def _grow(self, magnitude: float) -> None:
        """Double the limit until `magnitude` fits."""
        mantissa, exponent = frexp(magnitude)
        limit = max(2.0 ** (exponent - (mantissa == 0.5)), LEAST_LIMIT)
        if not self._counts.any():  # nothing to merge
            self._limit = max(self._limit, limit)
        while self._limit < limit:
            self._limit *= 2
            merged = np.zeros_like(self._counts)
            merged[BINS // 4 : BINS * 3 // 4] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = merged
