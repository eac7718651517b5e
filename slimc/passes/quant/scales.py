"""Scales and zero points: ranges and weights -> quantization records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimc.calib.observers import TINY
from slimc.calib.table import ValueRange
from slimc.ir.arrays import Floats, Singles
from slimc.ir.graph import Quantization
from slimc.ir.pairs import MAX_PAIR_SUM, sum_pairs
from slimc.targets.target import Grid

CLIP_RATIOS = 40
FEW_LEVELS = 16  # 4 bits and fewer
LEAST_RATIO = 0.4  # below that more is lost of what is clipped than rounding gains, even at 2 bits
DEAD = 1.0  # magnitude given to a value that is always zero: any scale is right, none may be zero


def activation_record(grid: Grid, range_: ValueRange) -> Quantization:
    """Lay a grid, one scale for the tensor, over a range; zero is always one of its numbers.

    symmetric: scale = max |x| / high; else scale = (max - min) / (high - low) and
    zero_point = low - min / scale, rounded. A range shorter than the grid's least one is widened.
    """
    low, high = min(range_.low, 0.0), max(range_.high, 0.0)
    if low == high:
        high = DEAD
    high = max(high, low + grid.least)
    zero = 0
    if grid.symmetric:
        scale = max(-low, high) / grid.high
    else:
        scale = (high - low) / (grid.high - grid.low)
        zero = int(np.clip(np.rint(grid.low - low / scale), grid.low, grid.high))
    return Quantization(
        grid.dtype,
        np.array(max(scale, TINY), np.float32),
        np.array(zero, grid.dtype.numpy),
        grid.low,
        grid.high,
    )


def weight_record(
    grid: Grid,
    weight: np.ndarray,
    axis: int | None,
    order: tuple[int, ...] = (),
    ratios: int | None = None,
    importance: Floats | None = None,
) -> Quantization:
    """Lay a grid over each channel along `axis`, each block of the grid along it, or the tensor.

    scale = r * max |w| / high, or r * (max - min) / (high - low) with a zero point; r: of as many
    clip ratios up to 1 the one of least squared error, each times the `importance` of its number.
    None: 40 for 4 bits and fewer, where clipping the largest numbers pays, else 1. What is all zero
    takes the largest scale of the others. order: of the axes that are summed (`sum_order`). Where
    the grid is paired, scales are at least the largest sum of neighbours / what 16 bits hold: a
    channel has the 7 to 8 bits that its pairs leave it.
    """
    weight = weight.astype(np.float32)
    axis = axis if grid.per_channel else None
    parts = _ScaledParts.of(weight, axis, grid.block if axis is not None else 0)
    if ratios is None:
        ratios = CLIP_RATIOS if grid.high - grid.low < FEW_LEVELS else 1
    counts = np.float32(1) if importance is None else importance.reshape(parts.array.shape)
    scale, zero = _least_error(grid, parts, counts, ratios)
    scale, zero = scale.reshape(parts.scales), zero.reshape(parts.scales)
    pairs = order if grid.paired else ()
    if pairs:
        scale = np.maximum(scale, _paired_scale(weight, axis, pairs))
    zero = zero.astype(grid.dtype.numpy)
    return Quantization(grid.dtype, scale, zero, grid.low, grid.high, axis, parts.block, pairs)


def grid_of(record: Quantization) -> Grid:
    """Return the grid that a weight's record lays."""
    return Grid(
        record.dtype,
        record.low,
        record.high,
        symmetric=record.low < 0,
        per_channel=record.axis is not None,
        block=record.block,
        paired=bool(record.pairs),
    )


@dataclass(frozen=True)
class _ScaledParts:
    """A weight as parts with one scale each: `shared` axes of `array` lie within a part."""

    array: np.ndarray
    shared: tuple[int, ...]
    scales: tuple[int, ...]  # the shape of the record's scales
    block: int = 0

    @classmethod
    def of(cls, weight: np.ndarray, axis: int | None, block: int) -> _ScaledParts:
        if axis is None:
            return cls(weight, tuple(range(weight.ndim)), ())
        if not block:
            others = tuple(i for i in range(weight.ndim) if i != axis)
            return cls(weight, others, (weight.shape[axis],))
        before, size, after = weight.shape[:axis], weight.shape[axis], weight.shape[axis + 1 :]
        blocks = weight.reshape(*before, size // block, block, *after)
        return cls(blocks, (axis + 1,), (*before, size // block, *after), block)


def _least_error(
    grid: Grid, parts: _ScaledParts, counts: Floats | np.float32, ratios: int
) -> tuple[Singles, Singles]:
    """Return the scale and zero point of each part that lose least of its numbers."""
    numbers, shared = parts.array, parts.shared
    low = np.minimum(numbers.min(axis=shared, keepdims=True, initial=0.0), 0)
    high = np.maximum(numbers.max(axis=shared, keepdims=True, initial=0.0), 0)
    best = _fit_grid(grid, low, high)
    if ratios == 1:
        return best
    least = np.full(low.shape, np.inf, np.float32)
    for ratio in np.linspace(1, LEAST_RATIO, ratios, dtype=np.float32):
        scale, zero = _fit_grid(grid, low * ratio, high * ratio)
        q = np.clip(np.rint(numbers / scale) + zero, grid.low, grid.high)
        errors = counts * np.square((q - zero) * scale - numbers)
        error = errors.sum(axis=shared, keepdims=True)
        better = error < least
        least = np.where(better, error, least)
        best = np.where(better, scale, best[0]), np.where(better, zero, best[1])
    return best


def _fit_grid(grid: Grid, low: Singles, high: Singles) -> tuple[Singles, Singles]:
    """Lay the grid over ranges around zero: scales and zero points."""
    if grid.symmetric:
        span, steps = np.maximum(-low, high), grid.high
    else:
        span, steps = high - low, grid.high - grid.low
    filler = float(span.max(initial=0.0)) or DEAD
    scale = np.maximum(np.where(span > 0, span, filler) / np.float32(steps), np.float32(TINY))
    zero = np.zeros(scale.shape, np.float32)
    if not grid.symmetric:
        zero = np.clip(np.rint(grid.low - low / scale), grid.low, grid.high)
    return scale, zero


def _paired_scale(weight: np.ndarray, axis: int | None, order: tuple[int, ...]) -> np.ndarray:
    """Return the least scales at which neighbours of one sign fit 16 bits; rounding may add 1."""
    sums = sum_pairs(weight, order)
    rest = [i for i in range(weight.ndim) if i not in order]
    place = None if axis is None else rest.index(axis)
    others = tuple(i for i in range(sums.ndim) if i != place)
    largest: np.ndarray = sums.max(axis=others, initial=0.0)
    return largest / np.float32(MAX_PAIR_SUM)
