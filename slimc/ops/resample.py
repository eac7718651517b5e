"""Operators that resize axes: padding, resizing, sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops import values
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, Quant, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import blank_rest, labels, spell


def _named_axes(call: Call, operand: int | None = None) -> list[int]:
    """Return the axes that attribute or operand `axes` names, by default all."""
    axes, rank = call.int_list("axes", operand), call.rank(0)
    return list(range(rank)) if axes is None else [a % rank for a in axes]


def _pads(call: Call) -> dict[int, tuple[int, Dim, Dim]]:
    """Return for every padded axis its position in `pads`, and the pads before and after."""
    axes = _named_axes(call, 3)
    elements = call.value(1)
    pads = [None] * (2 * len(axes)) if elements is None else elements.ravel().tolist()
    if len(pads) != 2 * len(axes):
        raise Unmatched(f"{len(pads)} pads for {len(axes)} axes")
    ends = pads[len(axes) :]
    return {a: (i, values.as_size(pads[i]), values.as_size(ends[i])) for i, a in enumerate(axes)}


def pad_axes(call: Call) -> SizedSignature:
    """Constant padding adds runs before and after; other modes need every index of the axis."""
    axes, constant = labels(call.rank(0)), call.attr("mode", "constant") == "constant"
    data, result = list(axes), list(axes)
    sizes: dict[str, Dim] = {}
    for a, (_, before, after) in _pads(call).items():
        if before == after == 0:
            continue
        runs = {f"b{a}": before, f"e{a}": after}
        if constant and all(isinstance(d, int) and d >= 0 for d in runs.values()):
            first, last = (name if d else "" for name, d in runs.items())
            result[a] = "+".join(part for part in (first, axes[a], last) if part)
            sizes |= runs
            continue
        data[a], result[a] = f"{axes[a]}!", f"y{a}!"
        sizes[f"y{a}"] = dims.add(call.shape(0)[a], before, after)
    return f"{spell(data)}{blank_rest(call)} -> {spell(result)}", sizes


def refit_pad(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the pads to the sizes of their runs."""
    pads = _pads(call)
    changed: dict[int, int] = {}
    for a, (place, _, _) in pads.items():
        for name, position in ((f"b{a}", place), (f"e{a}", place + len(pads))):
            if name in bound.sizes and after[name] != bound.sizes[name]:
                changed[position] = after[name]
    return ShapeRefit(elements={1: changed})


def _scale_size(size: Dim, scale: float) -> Dim:
    """Return floor(size * scale); for a named size only if the scale is a simple fraction."""
    if isinstance(size, int):
        return int(size * scale)
    ratio = Fraction(scale).limit_denominator(1 << 12)
    if float(ratio) != float(scale):
        return None
    return dims.floor_divide(dims.multiply(size, ratio.numerator), ratio.denominator)


def _resize_sizes(call: Call) -> dict[int, tuple[int, Dim]]:
    """Return for every axis that a Resize names its position in `sizes`, and its new size."""
    axes, shape = _named_axes(call), call.shape(0)
    if call.has_operand(3) and call.shape(3) != (0,):
        elements = call.value(3)
        sizes = (
            [None] * len(axes)
            if elements is None
            else [values.as_size(v) for v in elements.tolist()]
        )
        sizes = _keep_aspect_ratio(call, [shape[a] for a in axes], sizes)
        return {a: (i, sizes[i]) for i, a in enumerate(axes)}
    scales = call.value(2)
    factors = [None] * len(axes) if scales is None else scales.ravel().tolist()
    if len(factors) != len(axes):
        raise Unmatched(f"{len(factors)} scales for {len(axes)} axes")
    return {
        a: (i, None if f is None or isinstance(f, str) else _scale_size(shape[a], f))
        for i, (a, f) in enumerate(zip(axes, factors, strict=True))
    }


def _keep_aspect_ratio(call: Call, old: Sequence[Dim], new: Sequence[Dim]) -> list[Dim]:
    """Return the new sizes under `keep_aspect_ratio_policy`."""
    policy = call.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return list(new)
    pairs = [
        (a, b) for a, b in zip(old, new, strict=True) if isinstance(a, int) and isinstance(b, int)
    ]
    if len(pairs) < len(old):
        return [None] * len(old)
    ratios = [b / a for a, b in pairs]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(scale * a + 0.5) for a, _ in pairs]


def _resample_axes(
    call: Call, new_sizes: Mapping[int, tuple[int, Dim]]
) -> tuple[list[str], list[str], dict[str, Dim]]:
    """Return the axes of data and result and label sizes; axes that keep their size are tied."""
    data = labels(call.rank(0))
    result = list(data)
    sizes: dict[str, Dim] = {}
    for a, (_, size) in new_sizes.items():
        if not dims.are_equal(size, call.shape(0)[a]):
            data[a], result[a], sizes[f"y{a}"] = f"a{a}!", f"y{a}!", size
    return data, result, sizes


def _changed_sizes(
    new_sizes: Mapping[int, tuple[int, Dim]], bound: BoundSignature, after: Mapping[str, int]
) -> dict[int, int]:
    """Return {position: new size} for the axes that keep their size and have lost indices."""
    names = {place: f"a{a}" for a, (place, _) in new_sizes.items()}
    return {i: after[n] for i, n in names.items() if after[n] != bound.sizes[n]}


def resize_axes(call: Call) -> SizedSignature:
    """An axis that keeps its size is tied; an axis that is sampled needs every index."""
    data, result, sizes = _resample_axes(call, _resize_sizes(call))
    return f"{spell(data)}{blank_rest(call)} -> {spell(result)}", sizes


def refit_resize(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update `sizes` of axes that are not sampled; scales of one need no change."""
    if not call.has_operand(3):
        return ShapeRefit()
    return ShapeRefit(elements={3: _changed_sizes(_resize_sizes(call), bound, after)})


def _crop_sizes(call: Call) -> dict[int, tuple[int, Dim]]:
    """Return for every axis that a CenterCropPad names its position in the shape and new size."""
    axes, elements = _named_axes(call), call.value(1)
    sizes = [None] * len(axes) if elements is None else elements.tolist()
    if len(sizes) != len(axes):
        raise Unmatched(f"{len(sizes)} sizes for {len(axes)} axes")
    return {a: (i, values.as_size(sizes[i])) for i, a in enumerate(axes)}


def crop_or_pad_axes(call: Call) -> SizedSignature:
    """An axis that keeps its size is tied; others need every index."""
    data, result, sizes = _resample_axes(call, _crop_sizes(call))
    return f"{spell(data)}, -> {spell(result)}", sizes


def refit_crop_or_pad(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the shape for axes that keep their size."""
    return ShapeRefit(elements={1: _changed_sizes(_crop_sizes(call), bound, after)})


def col_to_im_axes(call: Call) -> SizedSignature:
    """Col2Im: columns of n (c block) l, summed into images n c ...; sizes are operands."""
    image, block = call.value(1), call.value(2)
    if image is None or block is None:
        raise Unmatched("its sizes are computed at run time")
    sizes = {f"y{i}": values.as_size(d) for i, d in enumerate(image.tolist())}
    kernel = {f"k{i}": values.as_size(d) for i, d in enumerate(block.tolist())}
    result = " ".join(f"{name}!" for name in sizes)
    return f"n (c {' '.join(f'{k}!' for k in kernel)}) l!, , -> n c {result}", {**sizes, **kernel}


def affine_grid_axes(call: Call) -> SizedSignature:
    """AffineGrid: theta, size n c (d) h w -> grid n (d) h w coordinates."""
    elements = call.value(1)
    length = call.shape(1)[0]
    if not isinstance(length, int):
        raise Unmatched("the rank of its grid is computed at run time")
    sizes = [None] * length if elements is None else [values.as_size(v) for v in elements.tolist()]
    points = {f"y{i}": d for i, d in enumerate(sizes[2:])}
    result = " ".join(f"{name}!" for name in points)
    return f"n! r! e!, -> n! {result} z!", {**points, "z": length - 2}


RESAMPLE = make_table(
    Op("Pad", pad_axes, quant=Quant.PASS_THROUGH, refit=refit_pad),
    Op("Resize", resize_axes, quant=Quant.PASS_THROUGH, refit=refit_resize),
    Op("CenterCropPad", crop_or_pad_axes, refit=refit_crop_or_pad),
    Op("GridSample", "n c *s!, n *t z! -> n c *t"),
    Op("AffineGrid", affine_grid_axes),
    Op("Col2Im", col_to_im_axes),
)
