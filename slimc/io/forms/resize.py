"""Upsample and Resize: six forms in twelve opsets."""

from __future__ import annotations

import numpy as np

from slimc.io.forms.change import Change, Site, keep
from slimc.ir.graph import Attr
from slimc.ir.types import DType, Shape


def _upsample_scales(site: Site) -> None:
    site.set_operand(1, site.constant(site.need("scales"), DType.F32, "scales"))


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
        one = site.constant(1, DType.F32, "one")
        grown = [data, "", site.add("Max", [scales, one])]
        data = site.add("Resize", grown, {**asymmetric, "nearest_mode": b"floor"})
        scales, shrinks = site.add("Min", [scales, one]), True
    site.editor.update(site.name, inputs=(data, "", scales))
    site.set_attrs(**asymmetric, nearest_mode=b"ceil" if shrinks else b"floor")


def _resize_11_to_13(site: Site) -> None:
    """Resize 11 takes empty tensors for absent regions and scales; later ones, no operand."""
    if site.node.attrs.get("coordinate_transformation_mode") == b"tf_half_pixel_for_nn":
        raise site.refusal("its mode 'tf_half_pixel_for_nn' ended with opset 11")
    for i in (1, 2, 3):
        array = site.elements(i)
        if array is not None and not array.size:
            site.set_operand(i, "")


def _resize_every_axis(site: Site) -> None:
    """Spell out scales or sizes of all axes; Resize 13 has no choice of axes."""
    if site.take("keep_aspect_ratio_policy", b"stretch") != b"stretch" and site.operand(3):
        raise site.refusal("it keeps the aspect ratio, which came with opset 18")
    axes = site.take("axes")
    if not isinstance(axes, tuple):
        return
    shape = site.shape(0)
    if shape is None or site.operand(1):
        raise site.refusal("it resizes or crops chosen axes of a value, as from opset 18 on")
    if site.operand(2):
        _spread(site, 2, axes, (1,) * len(shape), np.float32, "scales")
    if site.operand(3):
        _spread(site, 3, axes, shape, np.int64, "sizes")


def _spread(
    site: Site, i: int, axes: tuple[Attr, ...], rest: Shape, dtype: type[np.generic], hint: str
) -> None:
    """Make operand i, which is of `axes`, one of all axes; those left out have `rest`."""
    whole: list[object] = list(rest)
    chosen = site.elements(i)
    known = chosen if chosen is not None and chosen.size == len(axes) else [None] * len(axes)
    for axis, size in zip(axes, known, strict=True):
        whole[site.axis(axis, len(rest))] = size
    if any(size is None or isinstance(size, str) for size in whole):
        raise site.refusal(f"it resizes chosen axes; before opset 18 all {hint} must be known")
    site.set_operand(i, site.editor.add_constant(np.array(whole, dtype), f"{site.name}.{hint}"))


def _no_symmetric_pixels(site: Site) -> None:
    if site.node.attrs.get("coordinate_transformation_mode") == b"half_pixel_symmetric":
        raise site.refusal("its mode 'half_pixel_symmetric' came with opset 19")


RESIZE: tuple[Change, ...] = (
    Change("Upsample", 9, _upsample_scales),
    Change("Upsample", 10, _upsample_to_resize),
    Change("Resize", 11, _resize_10_to_11),
    Change("Resize", 13, _resize_11_to_13),
    Change("Resize", 18, keep, _resize_every_axis),
    Change("Resize", 19, keep, _no_symmetric_pixels),
)
