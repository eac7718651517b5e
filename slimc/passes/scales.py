"""Scales and zero points: ranges and weights -> quantization records."""

from __future__ import annotations

import numpy as np

from slimc.calib.observers import TINY
from slimc.calib.table import Range
from slimc.ir.graph import Quantization
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


def weight_record(grid: Grid, weight: np.ndarray, axis: int | None) -> Quantization:
    """Lay a symmetric grid over each channel along `axis` (None, or no per_channel: the tensor).

    scale = max |w| / high. A channel of zeros takes the largest scale of the others.
    """
    magnitude = np.abs(weight.astype(np.float32))
    axis = axis if grid.per_channel else None
    if axis is None:
        amax = np.asarray(magnitude.max(initial=0.0))
    else:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        amax = magnitude.max(axis=others, initial=0.0)
    filler = float(amax.max(initial=0.0)) or DEAD
    scale = np.maximum(np.where(amax > 0, amax, filler) / np.float32(grid.high), np.float32(TINY))
    zero = np.zeros(scale.shape, grid.dtype.numpy)
    return Quantization(grid.dtype, scale, zero, grid.low, grid.high, axis)


def simulate(record: Quantization, array: np.ndarray) -> np.ndarray:
    """Return what integer arithmetic sees of an array: rounded to the grid and back, as f32."""
    return record.dequantize(record.quantize(array))
