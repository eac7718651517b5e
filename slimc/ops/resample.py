"""Operators that make spatial axes longer or shorter: padding, resizing, sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops import values
from slimc.ops.axes import Bound, Unmatched
from slimc.ops.op import Call, Laid, Op, Quant, Refit, table
from slimc.ops.spelling import labels, unsaid, words


def _named_axes(call: Call, operand: int | None = None) -> list[int]:
    """Return the axes that attribute or operand `axes` names, by default all."""
    axes, rank = call.list_of("axes", operand), call.rank(0)
    return list(range(rank)) if axes is None else [a % rank for a in axes]


def _pads(call: Call) -> dict[int, tuple[int, Dim, Dim]]:
    """Return for every padded axis its place in `pads`, and what comes before and behind."""
    axes = _named_axes(call, 3)
    found = call.value(1)
    pads = [None] * (2 * len(axes)) if found is None else found.ravel().tolist()
    if len(pads) != 2 * len(axes):
        raise Unmatched(f"{len(pads)} pads for {len(axes)} axes")
    ends = pads[len(axes) :]
    return {a: (i, values.whole(pads[i]), values.whole(ends[i])) for i, a in enumerate(axes)}


def pad_axes(call: Call) -> Laid:
    """Constant padding adds runs before and behind; other modes need every index of the axis."""
    axes, constant = labels(call.rank(0)), call.attr("mode", "constant") == "constant"
    left, right = list(axes), list(axes)
    sizes: dict[str, Dim] = {}
    for a, (_, before, behind) in _pads(call).items():
        if before == behind == 0:
            continue
        runs = {f"b{a}": before, f"e{a}": behind}
        if constant and all(isinstance(d, int) and d >= 0 for d in runs.values()):
            first, last = (name if d else "" for name, d in runs.items())
            right[a] = "+".join(part for part in (first, axes[a], last) if part)
            sizes |= runs
            continue
        left[a], right[a] = f"{axes[a]}!", f"y{a}!"
        sizes[f"y{a}"] = dims.add(call.shape(0)[a], before, behind)
    return f"{words(left)}{unsaid(call)} -> {words(right)}", sizes


def refit_pad(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Pads are the sizes of the runs that they add."""
    pads = _pads(call)
    changed: dict[int, int] = {}
    for a, (place, _, _) in pads.items():
        for name, at in ((f"b{a}", place), (f"e{a}", place + len(pads))):
            if name in bound.sizes and after[name] != bound.sizes[name]:
                changed[at] = after[name]
    return Refit(elements={1: changed})


def _scaled(size: Dim, scale: float) -> Dim:
    """Return floor(size * scale); of a named size only for whole scales and their inverses."""
    if isinstance(size, int):
        return int(size * scale)
    ratio = Fraction(scale).limit_denominator(1 << 12)
    if float(ratio) != float(scale):
        return None
    return dims.floor_divide(dims.multiply(size, ratio.numerator), ratio.denominator)


def _resized(call: Call) -> dict[int, tuple[int, Dim]]:
    """Return for every axis that a Resize names its place in `sizes`, and its new size."""
    axes, shape = _named_axes(call), call.shape(0)
    if call.present(3) and call.shape(3) != (0,):
        found = call.value(3)
        wanted = [None] * len(axes) if found is None else [values.whole(v) for v in found.tolist()]
        wanted = _in_proportion(call, [shape[a] for a in axes], wanted)
        return {a: (i, wanted[i]) for i, a in enumerate(axes)}
    scales = call.value(2)
    factors = [None] * len(axes) if scales is None else scales.ravel().tolist()
    if len(factors) != len(axes):
        raise Unmatched(f"{len(factors)} scales for {len(axes)} axes")
    return {
        a: (i, None if f is None or isinstance(f, str) else _scaled(shape[a], f))
        for i, (a, f) in enumerate(zip(axes, factors, strict=True))
    }


def _in_proportion(call: Call, old: Sequence[Dim], wanted: Sequence[Dim]) -> list[Dim]:
    """Return the sizes wanted under `keep_aspect_ratio_policy`."""
    policy = call.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return list(wanted)
    pairs = [
        (a, b)
        for a, b in zip(old, wanted, strict=True)
        if isinstance(a, int) and isinstance(b, int)
    ]
    if len(pairs) < len(old):
        return [None] * len(old)
    ratios = [b / a for a, b in pairs]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(scale * a + 0.5) for a, _ in pairs]


def _resampled(
    call: Call, wanted: Mapping[int, tuple[int, Dim]]
) -> tuple[list[str], list[str], dict[str, Dim]]:
    """Return the axes of data and result and sizes of labels; axes that keep their size are one."""
    left = labels(call.rank(0))
    right = list(left)
    sizes: dict[str, Dim] = {}
    for a, (_, size) in wanted.items():
        if not dims.same(size, call.shape(0)[a]):
            left[a], right[a], sizes[f"y{a}"] = f"a{a}!", f"y{a}!", size
    return left, right, sizes


def _followed(
    wanted: Mapping[int, tuple[int, Dim]], bound: Bound, after: Mapping[str, int]
) -> dict[int, int]:
    """Return {place: new size} for the axes that keep their size and have lost indices."""
    names = {place: f"a{a}" for a, (place, _) in wanted.items()}
    return {i: after[n] for i, n in names.items() if after[n] != bound.sizes[n]}


def resize_axes(call: Call) -> Laid:
    """An axis that keeps its size is the same; an axis that is sampled needs every index."""
    left, right, sizes = _resampled(call, _resized(call))
    return f"{words(left)}{unsaid(call)} -> {words(right)}", sizes


def refit_resize(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """`sizes` repeats the sizes of axes that are not sampled; scales of one need no change."""
    if not call.present(3):
        return Refit()
    return Refit(elements={3: _followed(_resized(call), bound, after)})


def _cropped(call: Call) -> dict[int, tuple[int, Dim]]:
    """Return for every axis that a CenterCropPad names its place in the shape, and its new size."""
    axes, found = _named_axes(call), call.value(1)
    wanted = [None] * len(axes) if found is None else found.tolist()
    if len(wanted) != len(axes):
        raise Unmatched(f"{len(wanted)} sizes for {len(axes)} axes")
    return {a: (i, values.whole(wanted[i])) for i, a in enumerate(axes)}


def crop_or_pad_axes(call: Call) -> Laid:
    """An axis that has the wanted size is the same; others need every index."""
    left, right, sizes = _resampled(call, _cropped(call))
    return f"{words(left)}, -> {words(right)}", sizes


def refit_crop_or_pad(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """The shape repeats the sizes of axes that stay as they are."""
    return Refit(elements={1: _followed(_cropped(call), bound, after)})


def col_to_im_axes(call: Call) -> Laid:
    """Col2Im: columns of n (c block) l, summed into images n c ...; sizes are operands."""
    image, block = call.value(1), call.value(2)
    if image is None or block is None:
        raise Unmatched("its sizes are computed at run time")
    sizes = {f"y{i}": values.whole(d) for i, d in enumerate(image.tolist())}
    over = {f"k{i}": values.whole(d) for i, d in enumerate(block.tolist())}
    right = " ".join(f"{name}!" for name in sizes)
    return f"n (c {' '.join(f'{k}!' for k in over)}) l!, , -> n c {right}", {**sizes, **over}


def affine_grid_axes(call: Call) -> Laid:
    """AffineGrid: theta, size n c (d) h w -> grid n (d) h w coordinates."""
    found = call.value(1)
    length = call.shape(1)[0]
    if not isinstance(length, int):
        raise Unmatched("the rank of its grid is computed at run time")
    sizes = [None] * length if found is None else [values.whole(v) for v in found.tolist()]
    over = {f"y{i}": d for i, d in enumerate(sizes[2:])}
    right = " ".join(f"{name}!" for name in over)
    return f"n! r! e!, -> n! {right} z!", {**over, "z": length - 2}


RESAMPLE = table(
    Op("Pad", pad_axes, quant=Quant.PASS_THROUGH, refit=refit_pad),
    Op("Resize", resize_axes, quant=Quant.PASS_THROUGH, refit=refit_resize),
    Op("CenterCropPad", crop_or_pad_axes, refit=refit_crop_or_pad),
    Op("GridSample", "n c *s!, n *t z! -> n c *t"),
    Op("AffineGrid", affine_grid_axes),
    Op("Col2Im", col_to_im_axes),
)
