"""Poolings: windows over spatial axes, channel by channel."""

from __future__ import annotations

from slimc.ir.types import Dim, DType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, Quant, SizedSignature, make_table
from slimc.ops.windows import spatial_axes, windows


def pool_axes(call: Call) -> SizedSignature:
    """Windows of `kernel_shape`, per channel. Indices of MaxPool are into the flattened data."""
    kernel = call.required_attr("kernel_shape")
    if len(kernel) != call.rank(0) - 2:
        raise Unmatched(f"a kernel of {len(kernel)} axes on rank {call.rank(0)}")
    data, result, sizes = spatial_axes(call.shape(0)[2:], windows(call, kernel))
    if call.results > 1:
        return f"n! c! {data} -> n! c! {result}, n! c! {result}", sizes
    return f"n c {data} -> n c {result}", sizes


def unpool_axes(call: Call) -> SizedSignature:
    """X, indices, output_shape? -> Y; the indices are into the flattened result."""
    kernel = call.required_attr("kernel_shape")
    shape = call.ints(2) if call.has_operand(2) else None
    if call.has_operand(2) and shape is None:
        raise Unmatched("output_shape is computed at run time")
    axes = zip(windows(call, kernel), call.shape(0)[2:], strict=True)
    default_sizes = [window.transposed_size(size, 0) for window, size in axes]
    sizes = dict(enumerate(shape[2:] if shape else default_sizes))
    text = f"n! c! *s!, n! c! *s!{', ' if call.has_operand(2) else ''} -> n! c! *t!"
    return text, {f"t{i}": d for i, d in sizes.items()}


def roi_axes(call: Call) -> SizedSignature:
    """Every region of interest becomes y x cells, channel by channel."""
    if call.op == "MaxRoiPool":
        height, width = call.required_attr("pooled_shape")
        return "n! c h! w!, r box! -> r c y! x!", {"y": int(height), "x": int(width)}
    sizes: dict[str, Dim] = {
        "y": int(call.attr("output_height", 1)),
        "x": int(call.attr("output_width", 1)),
    }
    return "n! c h! w!, r box!, r -> r c y! x!", sizes


POOL = make_table(
    Op("AveragePool", pool_axes, quant=Quant.POINTWISE, homogeneous=True, windowed=True),
    Op(
        "MaxPool",
        pool_axes,
        quant=Quant.PASS_THROUGH,
        dtypes=lambda c: (c.dtype(0), DType.I64),
        windowed=True,
    ),
    Op("LpPool", pool_axes, windowed=True),
    Op(
        "GlobalAveragePool",
        "n c *s~ -> n c *1",
        quant=Quant.POINTWISE,
        growth="sum",
        homogeneous=True,
        alone="element",
    ),
    Op("GlobalMaxPool", "n c *s~ -> n c *1", quant=Quant.PASS_THROUGH, alone="element"),
    Op("GlobalLpPool", "n c *s -> n c *1", growth="sum"),
    Op("MaxUnpool", unpool_axes),
    Op("MaxRoiPool", roi_axes),
    Op("RoiAlign", roi_axes),
)
