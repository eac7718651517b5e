"""Scales and zero points: ranges and weights -> quantization records."""

from __future__ import annotations

import numpy as np

from slimc.calib.observers import TINY
from slimc.calib.table import Range
from slimc.ir.graph import Quantization
from slimc.ir.pairs import LARGEST_PAIR, pair_sums
from slimc.passes.context import Grid

DEAD = 1.0  # magnitude given to a value that is always zero: any scale is right, none may be zero


def activation_record(grid: Grid, of: Range) -> Quantization:
    """Lay a grid, one scale for the tensor, over a range; zero is always one of its numbers.

    symmetric: scale = max |x| / high; else scale = (max - min) / (high - low) and
    zero_point = low - min / scale, rounded.
    """
    low, high = min(of.low, 0.0), max(of.high, 0.0)
    if low == high:
        high = DEAD
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
    grid: Grid, weight: np.ndarray, axis: int | None, order: tuple[int, ...] = ()
) -> Quantization:
    """Lay a symmetric grid over each channel along `axis` (None, or no per_channel: the tensor).

    scale = max |w| / high. A channel of zeros takes the largest scale of the others. order: of the
    axes that are summed (`sum_order`). Where the grid is paired, scales are at least the largest
    sum of neighbours / what 16 bits hold: a channel has the 7 to 8 bits that its pairs leave it.
    """
    weight = weight.astype(np.float32)
    axis = axis if grid.per_channel else None
    amax = _largest(np.abs(weight), axis)
    filler = float(amax.max(initial=0.0)) or DEAD
    scale = np.maximum(np.where(amax > 0, amax, filler) / np.float32(grid.high), np.float32(TINY))
    pairs = order if grid.paired else ()
    if pairs:
        scale = np.maximum(scale, _paired_scale(weight, axis, pairs))
    zero = np.zeros(scale.shape, grid.dtype.numpy)
    return Quantization(grid.dtype, scale, zero, grid.low, grid.high, axis, pairs=pairs)


def _paired_scale(weight: np.ndarray, axis: int | None, order: tuple[int, ...]) -> np.ndarray:
    """Return the least scales at which neighbours of one sign fit 16 bits; rounding may add 1."""
    sums = pair_sums(weight, order)
    rest = [i for i in range(weight.ndim) if i not in order]
    largest = _largest(sums, None if axis is None else rest.index(axis))
    return largest / np.float32(LARGEST_PAIR)


def _largest(magnitude: np.ndarray, axis: int | None) -> np.ndarray:
    """Return the largest magnitude, of each index along an axis."""
    if axis is None:
        return np.asarray(magnitude.max(initial=0.0))
    others = tuple(i for i in range(magnitude.ndim) if i != axis)
    largest: np.ndarray = magnitude.max(axis=others, initial=0.0)
    return largest


def simulate(record: Quantization, array: np.ndarray) -> np.ndarray:
    """Return what integer arithmetic sees of an array: rounded to the grid and back, as f32."""
    return record.dequantize(record.quantize(array))
