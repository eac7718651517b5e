"""Grids of integers, and wishes for schemes, that several families of targets share."""

from __future__ import annotations

from dataclasses import replace

from slimc.ir.types import DType
from slimc.targets.target import Grid, Quantize

# Activations.
U8 = Grid(DType.U8, 0, 255, symmetric=False)
U16 = Grid(DType.U16, 0, 65535, symmetric=False)
S8 = Grid(DType.I8, -128, 127, symmetric=True)
S8_ASYMMETRIC = Grid(DType.I8, -128, 127, symmetric=False)

# Weights: -128 is left out, so that zero is in the middle.
W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)
W8_TENSOR = replace(W8, per_channel=False)
# VPMADDUBSW adds pairs of products u8 * s8 in 16 bits: 2 * 255 * 64 fits, 2 * 255 * 127 saturates,
# and the sum is wrong without a warning. 7 bits are safe for any weights (onnxruntime, "Quantize
# ONNX models", reduce_range); a channel takes as many as its own pairs leave it, never fewer.
W8_PAIRED = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True, paired=True)
# Weights alone: the runtime computes with floats, so every integer is used.
W4 = Grid(DType.I4, -8, 7, symmetric=True, per_channel=True, block=32)
W4_ZERO = Grid(DType.U4, 0, 15, symmetric=False, per_channel=True, block=32)
# 8-bit floats: their largest number takes the place of the largest integer.
E4M3 = Grid(DType.F8E4M3FN, -448, 448, symmetric=True)


def rows(kinds: str, wish: Quantize) -> dict[str, Quantize]:
    """Give several operators the same wish."""
    return dict.fromkeys(kinds.split(), wish)


def stored(kinds: str, weights: Grid) -> dict[str, Quantize]:
    """Let operators compute in floats with weights that are stored in integers."""
    return rows(kinds, Quantize(None, weights))


def measured(kinds: str, weights: Grid) -> dict[str, Quantize]:
    """Let operators run in integers, with data whose range the runtime measures."""
    return rows(kinds, Quantize(None, weights, dynamic=True))
