"""Attributes that became operands, and operands that became optional."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.io.forms.change import Change, Site, Way
from slimc.ir.types import DType

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")


def axes_to_operand(site: Site) -> None:
    """Make operand 1 of the attribute `axes`; none, or an empty one, means every axis."""
    axes = site.take("axes")
    if axes:
        site.set_operand(1, site.constant(axes, DType.I64, "axes"))


def axes_to_attribute(site: Site) -> None:
    """Make the attribute `axes` of operand 1."""
    axes = site.elements(1)
    if site.operand(1) and axes is None:
        raise site.refusal("its axes are computed, here they must be constant")
    keeps = site.take("noop_with_empty_axes", 0)
    if axes is not None and axes.size:
        site.set_attrs(axes=tuple(int(a) for a in axes.ravel()))
    elif keeps:
        raise site.refusal("it reduces no axis (noop_with_empty_axes=1)")
    if site.operand(1):
        site.set_operand(1, "")


def _to_operand(attribute: str, i: int, dtype: DType | None, default: object = None) -> Way:
    """Make a way that turns an attribute into operand i, of the element type of operand 0 if None.

    An attribute that is absent or equal to `default` leaves the operand absent.
    """

    def way(site: Site) -> None:
        value = site.take(attribute, default)
        if value is None or value == default:
            return
        site.set_operand(i, site.constant(value, dtype or site.dtype(0), attribute))

    return way


def _all(*ways: Way) -> Way:
    def way(site: Site) -> None:
        for each in ways:
            each(site)

    return way


def _top_k(site: Site) -> None:
    site.set_operand(1, site.constant([site.need("k")], DType.I64, "k"))


def _clip(site: Site) -> None:
    """Clip 6 has f32 limits as attributes; the largest f32 numbers mean none."""
    largest = float(np.finfo(np.float32).max)
    for i, (key, none) in enumerate((("min", -largest), ("max", largest)), 1):
        limit = site.take(key, none)
        if limit != none:
            site.set_operand(i, site.constant(limit, site.dtype(0), key))


def _dropout_mask(site: Site) -> None:
    """Dropout 7 gives its mask in the element type of the data, later ones as booleans."""
    if len(site.node.outputs) > 1 and site.node.outputs[1]:
        dtype = site.dtype(0)
        old, fresh = site.detach(1, "bool")
        site.add("Cast", [fresh], {"to": dtype.code}, [old])


def _dft_to_operand(site: Site) -> None:
    axis = site.take("axis", 1)
    site.set_operand(2, site.constant(axis, DType.I64, "axis"))


def _dft_to_attribute(site: Site) -> None:
    axis = site.elements(2)
    if site.operand(2) and axis is None:
        raise site.refusal("its axis is computed, here it must be constant")
    if site.operand(2):
        site.set_operand(2, "")
    site.set_attrs(axis=-2 if axis is None else int(axis))


def _changes() -> Iterator[Change]:
    for reduction in REDUCTIONS:
        yield Change(f"Reduce{reduction}", 18, axes_to_operand, axes_to_attribute)
    for op in ("ReduceSum", "Squeeze", "Unsqueeze"):
        yield Change(op, 13, axes_to_operand)
    slices = (_to_operand(key, i, DType.I64) for i, key in enumerate(("starts", "ends", "axes"), 1))
    yield Change("Slice", 10, _all(*slices))
    yield Change("TopK", 10, _top_k)
    yield Change("Clip", 11, _clip)
    pads = _to_operand("pads", 1, DType.I64)
    yield Change("Pad", 11, _all(pads, _to_operand("value", 2, None, 0.0)))
    yield Change("Dropout", 10, _dropout_mask)
    yield Change("Dropout", 12, _to_operand("ratio", 1, DType.F32))
    yield Change("Split", 13, _to_operand("split", 1, DType.I64))
    yield Change("DFT", 20, _dft_to_operand, _dft_to_attribute)


OPERANDS: tuple[Change, ...] = tuple(_changes())
