"""Attributes that became operands, and operands that became optional."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.io.forms.change import Adapter, Change, Site
from slimc.ir.types import DType

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")


def axes_to_operand(site: Site) -> None:
    """Turn the attribute `axes` into operand 1; an absent or empty one means all axes."""
    axes = site.pop_attr("axes")
    if axes:
        site.set_operand(1, site.constant(axes, DType.I64, "axes"))


def axes_to_attribute(site: Site) -> None:
    """Turn operand 1 into the attribute `axes`."""
    axes = site.elements(1)
    if site.operand(1) and axes is None:
        raise site.refusal("its axes are computed at run time; they must be constant")
    keeps = site.pop_attr("noop_with_empty_axes", 0)
    if axes is not None and axes.size:
        site.set_attrs(axes=tuple(int(a) for a in axes.ravel()))
    elif keeps:
        raise site.refusal("it reduces no axis (noop_with_empty_axes=1)")
    if site.operand(1):
        site.set_operand(1, "")


def _to_operand(attribute: str, i: int, dtype: DType | None, default: object = None) -> Adapter:
    """Make an adapter that turns an attribute into operand i. dtype: default that of operand 0.

    An attribute that is absent or equal to `default` leaves the operand absent.
    """

    def adapter(site: Site) -> None:
        value = site.pop_attr(attribute, default)
        if value is None or value == default:
            return
        site.set_operand(i, site.constant(value, dtype or site.dtype(0), attribute))

    return adapter


def _chain(*adapters: Adapter) -> Adapter:
    def chained(site: Site) -> None:
        for adapter in adapters:
            adapter(site)

    return chained


def _top_k(site: Site) -> None:
    site.set_operand(1, site.constant([site.pop_required_attr("k")], DType.I64, "k"))


def _clip(site: Site) -> None:
    """Clip 6 has its limits as attributes; the largest f32 means no limit."""
    largest = float(np.finfo(np.float32).max)
    for i, (key, none) in enumerate((("min", -largest), ("max", largest)), 1):
        limit = site.pop_attr(key, none)
        if limit != none:
            site.set_operand(i, site.constant(limit, site.dtype(0), key))


def _dropout_mask(site: Site) -> None:
    """Dropout 7 returns its mask in the element type of the data, later ones as booleans."""
    if len(site.node.outputs) > 1 and site.node.outputs[1]:
        dtype = site.dtype(0)
        old, fresh = site.detach(1, "bool")
        site.add("Cast", [fresh], {"to": dtype.code}, [old])


def _dft_to_operand(site: Site) -> None:
    axis = site.pop_attr("axis", 1)
    site.set_operand(2, site.constant(axis, DType.I64, "axis"))


def _dft_to_attribute(site: Site) -> None:
    axis = site.elements(2)
    if site.operand(2) and axis is None:
        raise site.refusal("its axis is computed at run time; it must be constant")
    if site.operand(2):
        site.set_operand(2, "")
    site.set_attrs(axis=-2 if axis is None else int(axis))


def _changes() -> Iterator[Change]:
    for reduction in REDUCTIONS:
        yield Change(f"Reduce{reduction}", 18, axes_to_operand, axes_to_attribute)
    for op in ("ReduceSum", "Squeeze", "Unsqueeze"):
        yield Change(op, 13, axes_to_operand)
    slices = (_to_operand(key, i, DType.I64) for i, key in enumerate(("starts", "ends", "axes"), 1))
    yield Change("Slice", 10, _chain(*slices))
    yield Change("TopK", 10, _top_k)
    yield Change("Clip", 11, _clip)
    pads = _to_operand("pads", 1, DType.I64)
    yield Change("Pad", 11, _chain(pads, _to_operand("value", 2, None, 0.0)))
    yield Change("Dropout", 10, _dropout_mask)
    yield Change("Dropout", 12, _to_operand("ratio", 1, DType.F32))
    yield Change("Split", 13, _to_operand("split", 1, DType.I64))
    yield Change("DFT", 20, _dft_to_operand, _dft_to_attribute)


OPERANDS: tuple[Change, ...] = tuple(_changes())
