"""A histogram of fixed size whose range grows with what it is given."""

from __future__ import annotations

from math import frexp

import numpy as np

from slimc.calib.table import Range
from slimc.ir.arrays import Floats

BINS = 8192  # at least half of them on the side of the largest element: 2048 or more to its scale
CHUNK = 32768  # elements at a time: what fits the second-level cache is twice as fast
LEAST_LIMIT = 2.0**-100  # smaller numbers share the two middle bins


class Histogram:
    """Counts of elements between -limit and limit, in BINS bins of one width.

    The limit is a power of two: when a larger element comes it doubles and neighbouring bins merge,
    so that one run over the data does. Exact zeros are counted apart. `width`: of a bin.
    """

    def __init__(self) -> None:
        self.extremes: Range | None = None
        self._limit = LEAST_LIMIT
        self._counts = np.zeros(BINS, np.int64)
        self._zeros = 0

    @property
    def width(self) -> float:
        return 2 * self._limit / BINS

    def add(self, array: np.ndarray) -> None:
        """Count the (finite) elements of an array."""
        flat = array.ravel().astype(np.float32, copy=False)
        found = Range(float(flat.min()), float(flat.max()))
        self.extremes = found if self.extremes is None else self.extremes.join(found)
        self._grow(found.magnitude)
        counts = np.zeros(BINS + 1, np.int64)
        for start in range(0, flat.size, CHUNK):
            place = flat[start : start + CHUNK] * np.float32(1 / self.width)
            place += np.float32(BINS / 2)
            counts += np.bincount(place.astype(np.intp), minlength=BINS + 1)
        counts[BINS - 1] += counts[BINS]  # an element at the limit itself
        zeros = flat.size - int(np.count_nonzero(flat))
        counts[BINS // 2] -= zeros
        self._counts += counts[:BINS]
        self._zeros += zeros

    def joined(self, other: Histogram) -> Histogram:
        """Return the histogram of the elements of both."""
        both = Histogram()
        for one in (self, other):
            if one.extremes is not None:
                widened = one.extremes
                both.extremes = widened if both.extremes is None else both.extremes.join(widened)
        both._limit = max(self._limit, other._limit)
        for one in (self, other):
            grown = Histogram()
            grown._limit, grown._counts = one._limit, one._counts
            grown._grow(both._limit)
            both._counts = both._counts + grown._counts
            both._zeros += one._zeros
        return both

    def quantile(self, share: float) -> float:
        """Return the number that `share` (0..1) of the elements lie below, within one bin."""
        if self.extremes is None:
            raise ValueError("the histogram is empty")
        middle = BINS // 2
        counts = np.insert(self._counts, middle, self._zeros)
        below = np.concatenate([[0], np.cumsum(counts)])
        wanted = share * below[-1]
        i = int(np.searchsorted(below, wanted, "left")) - 1
        i = min(max(i, 0), BINS)
        if i == middle:
            return 0.0
        left = ((i if i < middle else i - 1) - middle) * self.width
        part = (wanted - below[i]) / counts[i] if counts[i] else 0.0
        found = min(max(left + part * self.width, self.extremes.low), self.extremes.high)
        return float(found)

    def points(self) -> tuple[np.ndarray, Floats]:
        """Return the middles of the bins that are not empty, and their counts; zeros left out."""
        full = np.flatnonzero(self._counts)
        return (full - BINS / 2 + 0.5) * self.width, self._counts[full].astype(np.float64)

    def within(self, part: Range) -> tuple[Floats, tuple[float, float]]:
        """Return the counts of the bins that meet `part`, and how many lie below and above them."""
        first = max(int(np.floor(part.low / self.width)) + BINS // 2, 0)
        last = min(int(np.ceil(part.high / self.width)) + BINS // 2, BINS)
        inside = self._counts[first:last].astype(np.float64)
        return inside, (float(self._counts[:first].sum()), float(self._counts[last:].sum()))

    def _grow(self, magnitude: float) -> None:
        """Double the limit until `magnitude` fits."""
        mantissa, exponent = frexp(magnitude)
        wanted = max(2.0 ** (exponent - (mantissa == 0.5)), LEAST_LIMIT)
        if not self._counts.any():  # nothing to merge
            self._limit = max(self._limit, wanted)
        while self._limit < wanted:
            self._limit *= 2
            merged = np.zeros_like(self._counts)
            merged[BINS // 4 : BINS * 3 // 4] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = merged
