"""Changes of Split, Pad, Shape, Reshape and pooling."""

from __future__ import annotations

import numpy as np

from slimc.io.forms.change import Change, Site, keep_node
from slimc.ir.types import DType


def _split_evenly(site: Site) -> None:
    """Without sizes, the number of results is the number of parts."""
    if not site.operand(1):
        site.set_attrs(num_outputs=len(site.node.outputs))


def _split_by_sizes(site: Site) -> None:
    """State the sizes if the parts are not equal; by default Split 13 makes equal ones.

    If the size is not known, the runtime refuses one that does not divide.
    """
    count = site.pop_attr("num_outputs")
    shape = site.shape(0)
    if not isinstance(count, int) or shape is None:
        return
    size = shape[site.axis(site.node.attrs.get("axis", 0), len(shape))]
    if isinstance(size, int) and size % count:
        part = -(-size // count)
        sizes = [*([part] * (count - 1)), size - part * (count - 1)]
        site.set_operand(1, site.constant(sizes, DType.I64, "split"))


def _pad_every_axis(site: Site) -> None:
    """State the pads of all axes; Pad 13 has no `axes`."""
    if not site.operand(3):
        return
    axes, pads, rank = site.elements(3), site.elements(1), site.rank(0)
    if axes is None or pads is None or rank is None or pads.size != 2 * axes.size:
        raise site.refusal("it pads only some axes; before opset 18 axes and pads must be constant")
    full = np.zeros((2, rank), np.int64)
    full[:, [site.axis(int(axis), rank) for axis in axes.ravel()]] = pads.reshape(2, -1)
    site.set_operand(3, "")
    site.set_operand(1, site.constant(full.ravel(), DType.I64, "pads"))


def _no_wrap(site: Site) -> None:
    if site.node.attrs.get("mode") == b"wrap":
        raise site.refusal("its mode 'wrap' came with opset 19")


def _whole_shape(site: Site) -> None:
    """Replace `start` and `end` of Shape 15 by a Slice."""
    start, end = site.pop_attr("start", 0), site.pop_attr("end")
    if start == 0 and end is None:
        return
    old, fresh = site.detach(0, "whole")
    last = np.iinfo(np.int64).max if end is None else end
    bounds = [site.constant([b], DType.I64, n) for b, n in ((start, "start"), (last, "end"))]
    site.add("Slice", [fresh, *bounds], outputs=[old])


def _without_allowed_zeros(site: Site) -> None:
    """`allowzero` matters only if the new shape has a 0."""
    shape = site.elements(1)
    if site.pop_attr("allowzero", 0) and (shape is None or (shape == 0).any()):
        raise site.refusal("its shape has a 0 that means 0 (allowzero=1), which came with opset 14")


def _without_unit_dilations(site: Site) -> None:
    dilations = site.pop_attr("dilations", ())
    if isinstance(dilations, tuple) and any(d != 1 for d in dilations):
        raise site.refusal("its dilations came with a later opset")


SHAPES: tuple[Change, ...] = (
    Change("Split", 18, _split_evenly, _split_by_sizes),
    Change("Pad", 18, keep_node, _pad_every_axis),
    Change("Pad", 19, keep_node, _no_wrap),
    Change("Shape", 15, keep_node, _whole_shape),
    Change("Reshape", 14, keep_node, _without_allowed_zeros),
    Change("AveragePool", 19, keep_node, _without_unit_dilations),
    Change("LpPool", 18, keep_node, _without_unit_dilations),
)
