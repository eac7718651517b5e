"""Integer grids and wishes that several families of targets share."""

from __future__ import annotations

from slimc.ir.types import DType
from slimc.passes.context import Grid, Quantize

# Activations.
U8 = Grid(DType.U8, 0, 255, symmetric=False)
S8 = Grid(DType.I8, -128, 127, symmetric=True)
S8_ASYMMETRIC = Grid(DType.I8, -128, 127, symmetric=False)

# Weights: -128 is left out, so that zero is in the middle.
W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)
# VPMADDUBSW adds pairs of products u8 * s8 in 16 bits: 2 * 255 * 64 fits, 2 * 255 * 127 saturates,
# and the sum is wrong without a warning. 7 bits are safe for any weights (onnxruntime, "Quantize
# ONNX models", reduce_range); a channel takes as many as its own pairs leave it, never fewer.
W8_PAIRED = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True, paired=True)


def rows(kinds: str, wish: Quantize) -> dict[str, Quantize]:
    """Give several operators the same wish."""
    return dict.fromkeys(kinds.split(), wish)
