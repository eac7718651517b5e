"""Axes of contractions: channels of the data, and the order in which a weight is summed."""

from __future__ import annotations

from collections.abc import Collection

from slimc.ops.axes import Axis, BoundSignature, labels_of
from slimc.ops.op import Weighted


def channels_of(bound: BoundSignature, parts: Weighted) -> tuple[int, ...]:
    """Return the channels of data and result, nothing where one is not known."""
    weight_labels = labels_of(bound.inputs[parts.weight])
    summed = weight_labels - labels_of(bound.outputs[0])
    places = (
        (bound.inputs[parts.data], summed),
        (bound.outputs[0], {parts.channel}),
    )
    sizes = []
    for axes, labels in places:
        axis = axis_with(axes, labels)
        size = bound.size(axes[axis]) if axes is not None and axis is not None else None
        sizes.append(size)
    known = tuple(s for s in sizes if isinstance(s, int))
    return known if len(known) == 2 else ()


def sum_order(bound: BoundSignature, parts: Weighted) -> tuple[int, ...]:
    """Return the axes of a weight that are summed, outermost first; none if it is depthwise.

    Kernels lay data out with channels innermost: a convolution sums over its window, and over the
    channels within that. Where one channel makes one result, they sum over the window alone, vector
    by vector of channels, and no two weights of a channel meet in an instruction.
    """
    weight = bound.inputs[parts.weight] or ()
    data, made = labels_of(bound.inputs[parts.data]), labels_of(bound.outputs[0])
    summed = [i for i, axis in enumerate(weight) if not labels_of((axis,)) & made]
    channels = [i for i in summed if labels_of((weight[i],)) & data]
    window = [i for i in summed if i not in channels]
    made_alone = labels_of(weight) & made - data
    ones = all(bound.sizes.get(label) == 1 for label in made_alone)
    if window and ones and all(bound.size(weight[i]) == 1 for i in channels):
        return ()
    return (*window, *channels)


def data_channels(bound: BoundSignature, parts: Weighted) -> tuple[int, int] | None:
    """Return the axis of channels of the data, and its size, if that is known."""
    weight = labels_of(bound.inputs[parts.weight])
    for i, axis in enumerate(bound.inputs[parts.data] or ()):
        size = bound.size(axis)
        if labels_of((axis,)) & weight and isinstance(size, int):
            return i, size
    return None


def axis_with(axes: tuple[Axis, ...] | None, labels: Collection[str]) -> int | None:
    """Return the first axis that has one of the labels."""
    for i, axis in enumerate(axes or ()):
        if any(label.name in labels for term in axis for label in term):
            return i
    return None
