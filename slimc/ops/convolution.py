"""Convolutions: grouped, depthwise, transposed, deformable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from slimc.ir import dims
from slimc.ir.graph import Attr
from slimc.ir.types import Dim, DType
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import RESULT, Call, Op, Quant, ShapeRefit, SizedSignature, Weighted, make_table
from slimc.ops.windows import conv_taps, conv_transpose_taps, spatial_axes, windows


def _kernel_sizes(call: Call, weight: int) -> Sequence[Dim]:
    shape, rank = call.shape(weight)[2:], call.rank(0) - 2
    if len(shape) != rank:
        raise Unmatched(f"a kernel of {len(shape)} axes over {rank} spatial axes")
    return shape


def _spatial_axes(call: Call, weight: int) -> tuple[str, str, str, dict[str, Dim]]:
    """Return the spatial axes of data, kernel and result, and the sizes of labels."""
    kernel = _kernel_sizes(call, weight)
    data, result, sizes = spatial_axes(call.shape(0)[2:], windows(call, kernel))
    taps = " ".join(f"k{i}!" for i in range(len(kernel)))
    return data, taps, result, {"g": int(call.attr("group", 1)), **sizes}


def conv_axes(call: Call) -> SizedSignature:
    """X, W, B -> Y in g groups: whole groups may be removed, or the same channel of each.

    A depthwise convolution has one input channel per group.
    """
    data, kernel, result, sizes = _spatial_axes(call, 1)
    return f"n (g i) {data}, (g o) i {kernel}, (g o)? -> n (g o) {result}", sizes


def conv_integer_axes(call: Call) -> SizedSignature:
    """X, W and their zero points -> Y; that of the weight may be per output channel."""
    data, kernel, result, sizes = _spatial_axes(call, 1)
    zero = "(g o)" if call.has_operand(3) and call.rank(3) else "[]"
    return f"n (g i) {data}, (g o) i {kernel}, []?, {zero}? -> n (g o) {result}", sizes


def qlinear_conv_axes(call: Call) -> SizedSignature:
    """X, W and their scales and zero points, those of Y, B -> Y; W's may be per output channel."""
    data, kernel, result, sizes = _spatial_axes(call, 3)
    scale = "(g o)" if call.rank(4) and call.shape(4) != (1,) else ""
    zero = "(g o)" if call.rank(5) and call.shape(5) != (1,) else ""
    weight = f"(g o) i {kernel}, {scale}, {zero}"
    return f"n (g i) {data}, , , {weight}, , , (g o)? -> n (g o) {result}", sizes


def own_qlinear_conv_axes(call: Call) -> SizedSignature:
    """As that of ONNX, where channels are not last."""
    if call.attr("channels_last", 0):
        raise Unmatched("its channels are the last axis")
    return qlinear_conv_axes(call)


def conv_transpose_axes(call: Call) -> SizedSignature:
    """X, W, B -> Y; the weight has input channels first. `output_shape` overrides the pads."""
    kernel = _kernel_sizes(call, 1)
    rank = len(kernel)
    extra = call.attr("output_padding") or (0,) * rank
    output_shape = call.attr("output_shape")
    result: Sequence[Dim] = [
        window.transposed_size(size, int(padding))
        for window, size, padding in zip(
            windows(call, kernel), call.shape(0)[2:], extra, strict=True
        )
    ]
    if output_shape is not None:
        result = [int(size) for size in output_shape[-rank:]]
    sizes = {"g": int(call.attr("group", 1)), **{f"t{i}": d for i, d in enumerate(result)}}
    return "n (g i) *s!, (g i) o *k!, (g o)? -> n (g o) *t!", sizes


def deform_conv_axes(call: Call) -> SizedSignature:
    """X, W, offset, B, mask -> Y; each offset group serves a run of input channels."""
    kernel = _kernel_sizes(call, 1)
    taps = " ".join(f"k{i}!" for i in range(len(kernel)))
    channels = "(g i)" if int(call.attr("offset_group", 1)) == 1 else "(g! i!)"
    result_sizes = {f"t{i}": d for i, d in enumerate(call.shape(2)[2:])}
    text = f"n {channels} *s!, (g o) i {taps}, n f! *t!, (g o)?, n m! *t!? -> n (g o) *t!"
    return text, {"g": int(call.attr("group", 1)), **result_sizes}


def causal_conv_axes(call: Call) -> SizedSignature:
    """Depthwise over time; the state is the last k - 1 inputs: n c t, c 1 k, c, n c p."""
    return "n c t!, c 1 k!, c?, n c p!? -> n c t!, n c p!", {
        "p": dims.subtract(call.shape(1)[2], 1)
    }


def refit_group(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the attribute `group`, which repeats the size of label g."""
    changed = after["g"] != bound.sizes["g"]
    return ShapeRefit(attrs={"group": after["g"]} if changed else {})


def pads(attrs: Mapping[str, Attr]) -> bool:
    """Tell whether windows reach into padding."""
    given, auto = attrs.get("pads", ()), attrs.get("auto_pad", b"NOTSET")
    return auto in (b"SAME_UPPER", b"SAME_LOWER") or (isinstance(given, tuple) and any(given))


def always(attrs: Mapping[str, Attr]) -> bool:
    """Fewer windows of a transposed convolution meet at the border of its result."""
    return True


DATA_WEIGHT = Weighted(data=0, weight=1, bias=2, channel="o", in_part=pads)

CONVOLUTION = make_table(
    Op("Conv", conv_axes, quant=Quant.WEIGHTED, weighted=DATA_WEIGHT,
       macs=((1, RESULT),), refit=refit_group, taps=conv_taps),
    Op("ConvTranspose", conv_transpose_axes, quant=Quant.WEIGHTED,
       weighted=replace(DATA_WEIGHT, in_part=always),
       macs=((1, 0),), refit=refit_group, taps=conv_transpose_taps),
    Op("DeformConv", deform_conv_axes, macs=((1, RESULT),), refit=refit_group),
    Op("CausalConvWithState", causal_conv_axes, macs=((1, 0),)),
    Op("ConvInteger", conv_integer_axes, dtypes=DType.I32, macs=((1, RESULT),), refit=refit_group,
       integers="operands"),
    Op("QLinearConv", qlinear_conv_axes, dtypes=7, macs=((3, RESULT),), refit=refit_group,
       integers="operands"),
    Op("com.microsoft.QLinearConv", own_qlinear_conv_axes, dtypes=7, macs=((3, RESULT),),
       refit=refit_group, integers="operands"),
)  # fmt: skip
