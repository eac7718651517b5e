"""Changes of Upsample and Resize."""

from __future__ import annotations

import numpy as np

from slimc.io.forms.change import Change, Site, keep_node
from slimc.ir.graph import Attr
from slimc.ir.types import DType, Shape


def _upsample_scales(site: Site) -> None:
    site.set_operand(1, site.constant(site.pop_required_attr("scales"), DType.F32, "scales"))


def _upsample_to_resize(site: Site) -> None:
    site.editor.update(site.name, op="Resize")


def _resize_10_to_11(site: Site) -> None:
    """Resize 10 maps pixel i to i / scale; operands: data, scales.

    Its nearest pixel is the one below where an axis grows, the one above where it shrinks.
    """
    data, scales = site.operand(0), site.operand(1)
    array = site.elements(1)
    asymmetric: dict[str, Attr] = {"coordinate_transformation_mode": b"asymmetric"}
    shrinks = array is not None and bool((array <= 1).all())
    grows = array is not None and bool((array >= 1).all())
    if site.node.attrs.get("mode", b"nearest") == b"nearest" and not (shrinks or grows):
        unit = site.constant(1, DType.F32, "one")
        inputs = [data, "", site.add("Max", [scales, unit])]
        data = site.add("Resize", inputs, {**asymmetric, "nearest_mode": b"floor"})
        scales, shrinks = site.add("Min", [scales, unit]), True
    site.editor.update(site.name, inputs=(data, "", scales))
    site.set_attrs(**asymmetric, nearest_mode=b"ceil" if shrinks else b"floor")


def _resize_11_to_13(site: Site) -> None:
    """Resize 11 has empty tensors for absent regions and scales; later ones, no operand."""
    if site.node.attrs.get("coordinate_transformation_mode") == b"tf_half_pixel_for_nn":
        raise site.refusal("its mode 'tf_half_pixel_for_nn' was removed after opset 11")
    for i in (1, 2, 3):
        array = site.elements(i)
        if array is not None and not array.size:
            site.set_operand(i, "")


def _resize_every_axis(site: Site) -> None:
    """State scales or sizes of all axes; Resize 13 has no `axes`."""
    if site.pop_attr("keep_aspect_ratio_policy", b"stretch") != b"stretch" and site.operand(3):
        raise site.refusal("it keeps the aspect ratio, which came with opset 18")
    axes = site.pop_attr("axes")
    if not isinstance(axes, tuple):
        return
    shape = site.shape(0)
    if shape is None or site.operand(1):
        raise site.refusal("it resizes or crops only some axes, which came with opset 18")
    if site.operand(2):
        _spread(site, 2, axes, (1,) * len(shape), np.float32, "scales")
    if site.operand(3):
        _spread(site, 3, axes, shape, np.int64, "sizes")


def _spread(
    site: Site, i: int, axes: tuple[Attr, ...], rest: Shape, dtype: type[np.generic], hint: str
) -> None:
    """Extend operand i from `axes` to all axes; the others get `rest`."""
    values: list[object] = list(rest)
    elements = site.elements(i)
    known = elements if elements is not None and elements.size == len(axes) else [None] * len(axes)
    for axis, size in zip(axes, known, strict=True):
        values[site.axis(axis, len(rest))] = size
    if any(size is None or isinstance(size, str) for size in values):
        raise site.refusal(f"it resizes only some axes; before opset 18 all {hint} must be known")
    site.set_operand(i, site.editor.add_constant(np.array(values, dtype), f"{site.name}.{hint}"))


def _no_symmetric_pixels(site: Site) -> None:
    if site.node.attrs.get("coordinate_transformation_mode") == b"half_pixel_symmetric":
        raise site.refusal("its mode 'half_pixel_symmetric' came with opset 19")


RESIZE: tuple[Change, ...] = (
    Change("Upsample", 9, _upsample_scales),
    Change("Upsample", 10, _upsample_to_resize),
    Change("Resize", 11, _resize_10_to_11),
    Change("Resize", 13, _resize_11_to_13),
    Change("Resize", 18, keep_node, _resize_every_axis),
    Change("Resize", 19, keep_node, _no_symmetric_pixels),
)
