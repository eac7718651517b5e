"""From real numbers to integers and back."""

from __future__ import annotations

from slimc.ir.types import DType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Laid, Op, table
from slimc.ops.spelling import labels, replaced, words

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

MEASURE, SUMS = "DynamicQuantizeLinear", "MatMulInteger"


def scaled_axes(call: Call) -> Laid:
    """A scale and zero point for all, one per index of `axis`, or one per block along it."""
    axes, shape = labels(call.rank(0)), call.shape(0)
    zero = ", {}?" if len(call.types) > 2 else ""
    scale = call.shape(1)
    if len(scale) <= 1 and (not scale or scale == (1,)):
        return f"{words(axes)}, {zero.format('')} -> {words(axes)}", {}
    axis = call.axis(1)
    block = int(call.attr("block_size", 0))
    if len(scale) == 1 and not block:
        return f"{words(axes)}, {axes[axis]}{zero.format(axes[axis])} -> {words(axes)}", {}
    size = shape[axis]
    if not block or not isinstance(size, int) or size % block:
        raise Unmatched(f"blocks of {block} along an axis of {size}")
    data = words(replaced(axes, axis, "(q b!)"))
    beside = words(replaced(axes, axis, "q"))
    return f"{data}, {beside}{zero.format(beside)} -> {data}", {"b": block}


def _named(call: Call) -> DType | None:
    code = call.attr("output_dtype", 0)
    return DType.of_code(code) if code else None


QDQ = table(
    Op("QuantizeLinear", scaled_axes,
       dtypes=lambda c: (c.dtype(2) if c.present(2) else _named(c) or DType.U8,)),
    Op("DequantizeLinear", scaled_axes, dtypes=lambda c: (_named(c) or c.dtype(1),)),
    Op("DynamicQuantizeLinear", "*a~ -> *a~, [], []",
       dtypes=lambda c: (DType.U8, DType.F32, DType.U8)),
)  # fmt: skip
