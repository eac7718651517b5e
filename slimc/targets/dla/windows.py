"""Means, maxima and transposed convolutions within the windows of DLA."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from slimc.ir.graph import Attr
from slimc.targets.dla.limits import KERNEL, MAPS, WINDOW
from slimc.targets.dla.maps import Shape, Way, make_map, map_of, no_map
from slimc.targets.express.old_node import OldNode


def global_pool(kind: str) -> Way:
    """Give the way of a pool over whole maps."""

    def way(old: OldNode) -> str:
        shape = map_of(old, old.operand(0))
        if not shape:
            return no_map(old)
        return _pooled(old, kind, shape, shape[2:], (*shape[:2], 1, 1))

    return way


def reduce_mean(old: OldNode) -> str:
    """Take a mean over height, width or both by a pool."""
    shape = map_of(old, old.operand(0))
    axes = old.array(1)
    if not shape or axes is None:
        return no_map(old) if not shape else "its axes are no constants"
    gone = {int(axis) % len(shape) for axis in axes.reshape(-1)}
    if not gone or not gone <= {2, 3}:
        return "it reduces other axes than height and width"
    window = tuple(size if axis in gone else 1 for axis, size in enumerate(shape))[2:]
    kept = [size for axis, size in enumerate(shape) if axis not in gone]
    result = tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return _pooled(old, "AveragePool", shape, window, result if old.whole("keepdims", 1) else kept)


def _pooled(
    old: OldNode, kind: str, shape: Shape, window: Sequence[int], result: Sequence[int]
) -> str:
    """Put pools over `window` in the place of a node: one, or one after another.

    A mean of more than one window is a convolution of each channel with weights 1 / (h w) instead,
    whose result is rounded once, and has a scale of its own.
    """
    steps = _steps(window)
    x = old.operand(0)
    if kind == "AveragePool" and len(steps) != 1 and max(window) <= KERNEL and shape[1] <= MAPS:
        weight = np.full((shape[1], 1, *window), 1 / np.prod(window))
        op, inputs = "Conv", [x, old.constant(weight)]
        attrs: dict[str, Attr] = {"group": shape[1], "kernel_shape": tuple(window)}
    elif not steps:
        sizes = " x ".join(map(str, window))
        return f"no windows of {WINDOW} at most make up {sizes}"
    else:
        for step in steps[:-1]:
            x = old.add(kind, x, kernel_shape=step, strides=step)
        op, inputs = kind, [x]
        attrs = {"kernel_shape": steps[-1], "strides": steps[-1]}
    pooled = (*shape[:2], *(s // w for s, w in zip(shape[2:], window, strict=True)))
    then = () if tuple(result) == pooled else ("Reshape", result)
    make_map(old, pooled, op, *inputs, then=then, **attrs)
    return ""


def wide_max(old: OldNode) -> str:
    """Put maxima of small windows, one after another, in the place of one of a wide window.

    That is so for windows 2 p + 1 at stride 1 with padding p: their p add up.
    """
    attrs = old.node.attrs
    kernel, pads = attrs.get("kernel_shape"), attrs.get("pads", (0, 0, 0, 0))
    if not isinstance(kernel, tuple) or max(kernel) <= WINDOW:
        return ""
    plain = not any(old.node.outputs[1:]) and {"strides", "dilations"}.isdisjoint(
        key for key, value in attrs.items() if value != (1, 1)
    )
    same = pads == tuple(size // 2 for size in (*kernel, *kernel))
    if not plain or not same or any(size % 2 == 0 for size in kernel):
        return (
            f"a window of {' x '.join(map(str, kernel))} is made of smaller ones at stride 1 only"
        )
    halves = [size // 2 for size in kernel]
    most = (WINDOW - 1) // 2
    count = -(-max(halves) // most)
    parts = [[half // count + (i < half % count) for half in halves] for i in range(count)]
    x = old.operand(0)
    for i, part in enumerate(parts):
        sizes: dict[str, Attr] = {
            "kernel_shape": tuple(2 * half + 1 for half in part),
            "pads": (*part, *part),
        }
        if i == count - 1:
            old.become("MaxPool", x, **sizes)
        else:
            x = old.add("MaxPool", x, **sizes)
    return ""


def _steps(window: Sequence[int]) -> list[tuple[int, ...]]:
    """Return windows that make up one, at most 8 wide each; none where a prime of it is wider."""
    if max(window) <= WINDOW:
        return [tuple(window)]
    sides = [_factors(size) for size in window]
    return [*zip_longest(*sides, fillvalue=1)] if all(sides) else []


def _factors(size: int) -> list[int]:
    found: list[int] = []
    while size > 1:
        side = next((one for one in range(WINDOW, 1, -1) if size % one == 0), None)
        if side is None:
            return []
        found.append(side)
        size //= side
    return found or [1]


def cropped(old: OldNode) -> str:
    """Cut padding off the result of a transposed convolution, which is then without padding."""
    attrs = dict(old.node.attrs)
    pads = attrs.pop("pads", (0, 0, 0, 0))
    if not isinstance(pads, tuple) or not any(pads):
        return ""
    result = map_of(old, old.node.outputs[0])
    other = {"auto_pad", "output_shape", "output_padding"} & attrs.keys()
    if not result or other:
        return f"it has {min(other)}" if other else no_map(old)
    begin, end = pads[:2], pads[2:]
    whole = [size + a + b for size, a, b in zip(result[2:], begin, end, strict=True)]
    stops = [size - cut for size, cut in zip(whole, end, strict=True)]
    then = ("Slice", begin, stops, (2, 3))
    shape = (*result[:2], *whole)
    make_map(old, shape, "ConvTranspose", *old.node.inputs, then=then, **attrs)
    return ""
