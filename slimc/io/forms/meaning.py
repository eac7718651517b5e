"""Operators whose meaning or spelling changed: softmax, normalisation, sampling, scatter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.io.forms.change import Adapter, Change, Site, keep_node
from slimc.ir.graph import Attr
from slimc.ir.types import DType, TensorType

_GRID_MODES: dict[Attr, Attr] = {b"bilinear": b"linear", b"bicubic": b"cubic"}


def _softmax_of_matrix(site: Site) -> None:
    """Softmax 1 and 11 flatten to a matrix: the axes before `axis`, and those from it on.

    The same as the newer one if `axis` is the last axis; else the operand is flattened.
    """
    axis, shape = site.pop_attr("axis", 1), site.shape(0)
    if shape is not None and axis != len(shape):
        axis = site.axis(axis, len(shape))
        if all(d == 1 for d in shape[axis + 1 :]):
            site.set_attrs(axis=axis)
            return
    data = site.operand(0)
    flat = site.add("Flatten", [data], {"axis": axis})
    old, fresh = site.detach(0, "flat")
    site.set_operand(0, flat)
    site.set_attrs(axis=-1)
    site.add("Reshape", [fresh, site.add("Shape", [data])], outputs=[old])


def _spatial_batch_norm(site: Site) -> None:
    if site.pop_attr("spatial", 1) != 1:
        raise site.refusal("it normalises every element separately (spatial=0)")


def _inference_batch_norm(site: Site) -> None:
    if any(site.node.outputs[1:]):
        help = "export the model in eval mode"
        raise site.refusal("it has training results", help)
    site.editor.update(site.name, outputs=site.node.outputs[:1])


def _group_norm_by_channel(site: Site) -> None:
    """GroupNormalization 18 has a scale and a bias per group, 21 one per channel."""
    groups, shape = site.node.attrs.get("num_groups"), site.shape(0)
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if not isinstance(channels, int):
        raise site.refusal("its number of channels is not known")
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise site.refusal(f"{channels} channels do not divide into {groups} groups")
    for i, hint in ((1, "scale"), (2, "bias")):
        array = site.elements(i)
        if array is not None:
            spread = np.repeat(array, channels // groups)
            site.set_operand(i, site.editor.add_constant(spread, f"{site.name}.{hint}"))
            continue
        column = site.add("Reshape", [site.operand(i), site.constant([-1, 1], DType.I64, "column")])
        size = site.constant([groups, channels // groups], DType.I64, "groups")
        spread_out = site.add("Expand", [column, size])
        flat = site.constant([-1], DType.I64, "flat")
        site.set_operand(i, site.add("Reshape", [spread_out, flat]))


def _grid_sample_up(site: Site) -> None:
    mode = site.node.attrs.get("mode", b"bilinear")
    site.set_attrs(mode=_GRID_MODES.get(mode, mode))


def _grid_sample_down(site: Site) -> None:
    if site.rank(0) != 4:
        raise site.refusal("its data is not 4-D, which came with opset 20")
    mode = site.node.attrs.get("mode", b"linear")
    site.set_attrs(mode={new: old for old, new in _GRID_MODES.items()}.get(mode, mode))


def _roi_align_up(site: Site) -> None:
    """RoiAlign 10 does not shift boxes by half a pixel; later ones do by default."""
    site.set_attrs(coordinate_transformation_mode=b"output_half_pixel")


def _roi_align_down(site: Site) -> None:
    if site.pop_attr("coordinate_transformation_mode", b"half_pixel") != b"output_half_pixel":
        raise site.refusal("it shifts boxes by half a pixel, which came with opset 16")


def _rename(op: str) -> Adapter:
    def adapter(site: Site) -> None:
        site.editor.update(site.name, op=op)

    return adapter


def _no_reduction(*reductions: bytes) -> Adapter:
    """Refuse the reductions that came with the change."""

    def adapter(site: Site) -> None:
        reduction = site.node.attrs.get("reduction", b"none")
        if reduction in reductions:
            raise site.refusal(f"its reduction {reduction!r} came with a later opset")

    return adapter


def _without_saturation(site: Site) -> None:
    """`saturate` applies to 8-bit floats only, which came with it."""
    site.pop_attr("saturate")


def _no_float_mod(site: Site) -> None:
    if site.dtype(0).is_float and not site.node.attrs.get("fmod", 0):
        raise site.refusal("it floors a quotient of floats (fmod=0), which came with opset 28")


def _quantize_by_zero_point(site: Site) -> None:
    """State the integer type with a zero point: QuantizeLinear 19 has no `output_dtype`."""
    code = site.pop_attr("output_dtype", 0)
    if not code or site.operand(2) or not isinstance(code, int):
        return
    kind = site.type_of(1)
    if not isinstance(kind, TensorType) or kind.shape is None:
        raise site.refusal("the shape of its scale is not known")
    sizes = [d for d in kind.shape if isinstance(d, int)]
    if len(sizes) < len(kind.shape):
        raise site.refusal("the shape of its scale is not known")
    site.set_operand(2, site.constant(np.zeros(sizes), DType.of_code(code), "zero_point"))


def _changes() -> Iterator[Change]:
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        yield Change(op, 13, _softmax_of_matrix)
    yield Change("BatchNormalization", 9, _spatial_batch_norm)
    yield Change("BatchNormalization", 14, _inference_batch_norm, keep_node)
    yield Change("GroupNormalization", 21, _group_norm_by_channel)
    yield Change("GridSample", 20, _grid_sample_up, _grid_sample_down)
    yield Change("RoiAlign", 16, _roi_align_up, _roi_align_down)
    yield Change("Scatter", 11, _rename("ScatterElements"))
    for op in ("ScatterElements", "ScatterND"):
        yield Change(op, 18, keep_node, _no_reduction(b"min", b"max"))
    for op in ("Cast", "CastLike", "QuantizeLinear"):
        yield Change(op, 19, keep_node, _without_saturation)
    yield Change("Mod", 28, keep_node, _no_float_mod)
    yield Change("QuantizeLinear", 21, keep_node, _quantize_by_zero_point)


MEANING: tuple[Change, ...] = tuple(_changes())
