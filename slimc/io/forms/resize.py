"""Upsample and Resize: six forms in twelve opsets."""

from __future__ import annotations

import numpy as np

from slimc.io.forms.change import Change, Site, keep
from slimc.ir.types import DType


def _upsample_scales(site: Site) -> None:
    site.set_operand(1, site.constant(site.take("scales"), DType.F32, "scales"))


def _upsample_to_resize(site: Site) -> None:
    site.editor.update(site.name, op="Resize")


def _resize_10_to_11(site: Site) -> None:
    """Resize 10 maps pixel i to i / scale and takes the one below; operands: data, scales."""
    site.editor.update(site.name, inputs=(site.operand(0), "", site.operand(1)))
    site.set_attrs(coordinate_transformation_mode=b"asymmetric", nearest_mode=b"floor")


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
    axes = site.take("axes")
    policy = site.take("keep_aspect_ratio_policy", b"stretch")
    if policy != b"stretch" and site.operand(3):
        raise site.refusal("it keeps the aspect ratio, which came with opset 18")
    if not isinstance(axes, tuple):
        return
    rank, shape = site.rank(0), site.shape(0)
    if rank is None or shape is None:
        raise site.refusal("it resizes chosen axes of a value of unknown rank")
    places = [int(a) % rank for a in axes if isinstance(a, int)]
    for i, rest in ((2, np.ones(rank, np.float32)), (3, np.zeros(rank, np.int64))):
        if not site.operand(i):
            continue
        chosen = site.elements(i)
        others = [shape[a] for a in range(rank) if a not in places]
        if chosen is None or (i == 3 and not all(isinstance(d, int) for d in others)):
            raise site.refusal("it resizes chosen axes; here all sizes must be constant")
        if i == 3:
            rest[[a for a in range(rank) if a not in places]] = others
        rest[places] = chosen
        site.set_operand(i, site.editor.add_constant(rest, f"{site.name}.{'scales' if i == 2 else 'sizes'}"))
    if site.operand(1):
        raise site.refusal("it crops chosen axes, which came with opset 18")


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
