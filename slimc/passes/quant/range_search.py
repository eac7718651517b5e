"""Which of several grids a value loses least on: what rounding it does to those that read it.

    error of a product:  (E |W d|^2 + (c - 1) E |W k|^2) / E |W x|^2     at sampled results
    error of the value:  (E d^2 + (c - 1) E k^2) / E x^2                 at sampled elements

with d = Q(x) - x, and k that part of d which clipping causes. c, how much clipping counts, is at
least 1: what is rounded errs either way and averages out further on, what is clipped errs one way.
Both on samples to choose by and on samples held out; sums in f64, nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from slimc.calib.observers import TINY
from slimc.calib.table import ValueRange
from slimc.ir.arrays import Floats, Mask, Singles
from slimc.ir.graph import Quantization

MAX_ELEMENTS = 1 << 15  # of a value, all samples together, where it is looked at itself
RANGE_FACTORS = (
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    0.95,
    1.05,
    1.1,
    1.2,
    1.35,
    1.6,
    2.0,
)  # times both ends
END_FACTORS = (0.6, 0.75, 0.9, 1.15, 1.35)  # times one end of a range that has two


def range_of(record: Quantization) -> ValueRange:
    """Return the numbers that a grid reaches from and to. record: of a tensor, not of channels."""
    zero, scale = int(record.zero_point), float(record.scale)
    return ValueRange((record.low - zero) * scale, (record.high - zero) * scale)


def rescale_to(record: Quantization, range_: ValueRange) -> Quantization:
    """Return the grid of a record laid over another range; zero stays one of its numbers."""
    scale = max((range_.high - range_.low) / (record.high - record.low), TINY)
    zero = int(np.clip(np.rint(record.low - range_.low / scale), record.low, record.high))
    return replace(
        record,
        scale=np.array(scale, np.float32),
        zero_point=np.array(zero, record.zero_point.dtype),
    )


def candidates(record: Quantization) -> tuple[Quantization, ...]:
    """Return the record, and others over shrunk, widened and shifted ranges.

    A zero point of 0 stays: the grid may have to be symmetric.
    """
    old = range_of(record)
    scaled = [replace(record, scale=(record.scale * f).astype(np.float32)) for f in RANGE_FACTORS]
    shifted: list[ValueRange] = []
    if int(record.zero_point) and old.low < 0 < old.high:
        shifted += [ValueRange(old.low * f, old.high) for f in END_FACTORS]
        shifted += [ValueRange(old.low, old.high * f) for f in END_FACTORS]
    return (record, *scaled, *(rescale_to(record, range_) for range_ in shifted))


_Energy = Callable[[np.ndarray], np.ndarray]  # an error -> its squared length in each row


@dataclass
class RangeSearch:
    """Errors of candidates, summed over what reads the values of one group, and their extremes."""

    grids: tuple[Quantization, ...]
    extremes: ValueRange | None = None
    _terms: dict[str, _Term] = field(default_factory=dict)

    def observe_range(self, x: np.ndarray) -> None:
        """Take a value of one feed: no grid need reach beyond what is there."""
        if x.size:
            range_ = ValueRange(float(x.min()), float(x.max()))
            self.extremes = range_ if self.extremes is None else self.extremes.join(range_)

    def observe_contraction(self, name: str, x: np.ndarray, w: np.ndarray, is_held: Mask) -> None:
        """Take what a product reads. x: [r, g, p]; w: [g, o, p]; is_held: bool[r]."""
        columns, matrix = np.ascontiguousarray(x.transpose(1, 0, 2)), w.transpose(0, 2, 1)
        self._observe(name, columns, is_held, lambda d: squared_row_norms(d @ matrix))

    def observe_value(self, name: str, x: np.ndarray, is_held: Mask) -> None:
        """Take elements of a value itself. x: [r, elements]; is_held: bool[r]."""
        self._observe(name, x, is_held, lambda d: np.square(d, dtype=np.float64).sum(axis=1))

    def _observe(self, name: str, x: np.ndarray, is_held: Mask, energy: _Energy) -> None:
        term = self._terms.setdefault(name, _Term.of(len(self.grids)))
        term.energy[:] += sum_halves(energy(x), is_held)
        for i, grid in enumerate(self.grids):
            error = grid.nearest(x) - x
            term.errors[:, i] += sum_halves(energy(error), is_held)
            range_ = range_of(grid)
            clipped = np.where((x < range_.low) | (x > range_.high), error, 0)
            if clipped.any():
                term.clipped[:, i] += sum_halves(energy(clipped), is_held)

    def best(self, clipping: float) -> SearchResult:
        """Return the grid with the least error, the present one unless it is so on both halves.

        clipping: how much it counts.
        """
        none, terms = np.zeros(len(self.grids)), self._terms.values()
        chosen, judged = (sum((t.relative(h, clipping) for t in terms), none) for h in (0, 1))
        if not self._terms or not (np.isfinite(chosen).all() and np.isfinite(judged).all()):
            return SearchResult(self.grids[0], False, 0.0, 0.0)
        allowed = [i for i, grid in enumerate(self.grids) if i == 0 or self._fits(grid)]
        best = min(allowed, key=lambda i: chosen[i])
        best = best if judged[best] < judged[0] else 0
        return SearchResult(self.grids[best], best > 0, float(judged[0]), float(judged[best]))

    def _fits(self, grid: Quantization) -> bool:
        """Tell whether a grid is no wider than the present one, or than what is there."""
        if self.extremes is None:
            return True
        old, new, seen = range_of(self.grids[0]), range_of(grid), self.extremes
        low, high = min(old.low, seen.low), max(old.high, seen.high)
        step = float(self.grids[0].scale)
        return new.low >= low - step / 2 and new.high <= high + step / 2


@dataclass(frozen=True)
class SearchResult:
    """A grid, whether it is another one, and the errors before and after on samples held out."""

    grid: Quantization
    is_new: bool
    before: float
    after: float


@dataclass(frozen=True)
class _Term:
    """Sums over rows, [0] those to choose by and [1] those held out.

    energy: [2]; errors, clipped: [2, grids], of the whole error and of what clipping causes.
    """

    energy: Floats
    errors: Floats
    clipped: Floats

    @classmethod
    def of(cls, grids: int) -> _Term:
        return cls(np.zeros(2), np.zeros((2, grids)), np.zeros((2, grids)))

    def relative(self, half: int, clipping: float) -> Floats:
        error = self.errors[half] + (clipping - 1) * self.clipped[half]
        energy: Floats = error / max(self.energy[half], TINY)
        return energy


def sum_halves(rows: Floats, is_held: Mask) -> Floats:
    """Return the sum over rows to choose by, and over rows held out."""
    return np.array([rows[~is_held].sum(), rows[is_held].sum()])


def squared_row_norms(y: np.ndarray) -> Floats:
    """Return the squared length of [g, r, o] per row r."""
    energy: Floats = np.einsum("gro,gro->r", y, y, dtype=np.float64)
    return energy


def sample_elements(x: np.ndarray, samples: int, count: int) -> Singles:
    """Return about `wanted` elements of every sample, [samples, elements], evenly spread.

    [1, elements] where the array cannot be parted by samples.
    """
    rows = x.reshape(samples, -1) if x.size and x.size % samples == 0 else x.reshape(1, -1)
    step = max(1, rows.shape[1] // count)
    elements: np.ndarray = rows[:, :: step | 1]  # odd: it falls in with few axis sizes
    return elements.astype(np.float32)
