"""In which order kernels sum the products of a contraction, as its axis signature tells."""

from __future__ import annotations

from slimc.ops.axes import Axis, Bound
from slimc.ops.op import Weighted


def sum_order(bound: Bound, parts: Weighted) -> tuple[int, ...]:
    """Return the axes of a weight that are summed, outermost first; none if it is depthwise.

    Kernels lay data out with channels innermost: a convolution sums over its window, and over the
    channels within that. Where one channel makes one result, they sum over the window alone, vector
    by vector of channels, and no two weights of a channel meet in an instruction.
    """
    weight = bound.inputs[parts.weight] or ()
    data, made = _labels(bound.inputs[parts.data]), _labels(bound.outputs[0])
    summed = [i for i, axis in enumerate(weight) if not _labels((axis,)) & made]
    channels = [i for i in summed if _labels((weight[i],)) & data]
    window = [i for i in summed if i not in channels]
    made_alone = _labels(weight) & made - data
    ones = all(bound.sizes.get(label) == 1 for label in made_alone)
    if window and ones and all(bound.size(weight[i]) == 1 for i in channels):
        return ()
    return (*window, *channels)


def data_channels(bound: Bound, parts: Weighted) -> tuple[int, int] | None:
    """Return the axis of channels of the data, and its size, if that is known."""
    weight = _labels(bound.inputs[parts.weight])
    for i, axis in enumerate(bound.inputs[parts.data] or ()):
        size = bound.size(axis)
        if _labels((axis,)) & weight and isinstance(size, int):
            return i, size
    return None


def _labels(axes: tuple[Axis, ...] | None) -> set[str]:
    return {label.name for axis in axes or () for term in axis for label in term}
