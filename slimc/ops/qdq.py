"""Quantize and dequantize operators."""

from __future__ import annotations

from slimc.ir.types import DType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, SizedSignature, make_table
from slimc.ops.spelling import labels, replace_axis, spell

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

DYNAMIC_QUANTIZE, MATMUL_INTEGER = "DynamicQuantizeLinear", "MatMulInteger"


def qdq_axes(call: Call) -> SizedSignature:
    """Scales and zero points per tensor, per index of `axis`, or per block along it."""
    axes, shape = labels(call.rank(0)), call.shape(0)
    zero = ", {}?" if len(call.types) > 2 else ""
    scale = call.shape(1)
    if len(scale) <= 1 and (not scale or scale == (1,)):
        return f"{spell(axes)}, {zero.format('')} -> {spell(axes)}", {}
    axis = call.axis(1)
    block = int(call.attr("block_size", 0))
    if len(scale) == 1 and not block:
        return f"{spell(axes)}, {axes[axis]}{zero.format(axes[axis])} -> {spell(axes)}", {}
    size = shape[axis]
    if not block or not isinstance(size, int) or size % block:
        raise Unmatched(f"blocks of {block} along an axis of {size}")
    data = spell(replace_axis(axes, axis, "(q b!)"))
    scale_axes = spell(replace_axis(axes, axis, "q"))
    return f"{data}, {scale_axes}{zero.format(scale_axes)} -> {data}", {"b": block}


def _output_dtype(call: Call) -> DType | None:
    code = call.attr("output_dtype", 0)
    return DType.of_code(code) if code else None


QDQ = make_table(
    Op("QuantizeLinear", qdq_axes,
       dtypes=lambda c: (c.dtype(2) if c.has_operand(2) else _output_dtype(c) or DType.U8,)),
    Op("DequantizeLinear", qdq_axes, dtypes=lambda c: (_output_dtype(c) or c.dtype(1),)),
    Op("DynamicQuantizeLinear", "*a~ -> *a~, [], []",
       dtypes=lambda c: (DType.U8, DType.F32, DType.U8)),
)  # fmt: skip
