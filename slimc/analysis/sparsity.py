"""2:4 sparsity: of every four neighbours along the input channels at most two are not zero.

The groups stand along the axis that is summed with channels of the data, at each place of a kernel
by itself. Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from math import prod

import numpy as np

from slimc.ir.arrays import Mask
from slimc.ops.axes import Axis, BoundSignature, labels_of
from slimc.ops.op import Weighted

CHANNELS = 256  # in and out, from which sparse kernels are faster (NVIDIA/TensorRT issue 3849)

GROUP, STAY = 4, 2  # neighbours, and how many of them may be other than zero
MULTIPLE = 16  # of input channels, that sparse kernels of 16-bit floats take (TensorRT's guide)


def input_axis(weight: tuple[Axis, ...] | None, ins: Collection[str]) -> int | None:
    """Return the axis of a weight that runs along the input channels, None if none alone does.

    ins: the labels of input channels, which the data have and the result has not.
    """
    along = [i for i, axis in enumerate(weight or ()) if not labels_of((axis,)).isdisjoint(ins)]
    return along[0] if len(along) == 1 else None


def separate_groups(bound: BoundSignature, parts: Weighted) -> int:
    """Return how many groups of channels a contraction computes apart, 1 where it is one."""
    weight = labels_of(bound.inputs[parts.weight])
    return _size(bound, weight & labels_of(bound.inputs[parts.data]) & labels_of(bound.outputs[0]))


def output_channels(bound: BoundSignature, parts: Weighted) -> int:
    """Return how many output channels a contraction has, of all groups."""
    return _size(bound, labels_of(bound.inputs[parts.weight]) & labels_of(bound.outputs[0]))


def crowded(array: np.ndarray, axis: int) -> int:
    """Count the groups of four along an axis that hold more than two numbers other than zero."""
    return int((np.count_nonzero(_groups(array, axis), axis=-1) > STAY).sum())


def is_sparse(array: np.ndarray, axis: int) -> bool:
    """Tell whether a weight is 2:4 along an axis."""
    return array.shape[axis] % GROUP == 0 and crowded(array, axis) == 0


def largest_two(array: np.ndarray, axis: int) -> Mask:
    """Tell which numbers are the two largest of their groups; of equal ones the first."""
    split = _groups(np.abs(array), axis)
    order = np.argsort(-split, axis=-1, kind="stable")
    stays = np.zeros(split.shape, bool)
    np.put_along_axis(stays, order[..., :STAY], True, axis=-1)
    return np.moveaxis(stays.reshape(*split.shape[:-2], -1), -1, axis)


def _groups(array: np.ndarray, axis: int) -> np.ndarray:
    """Return an array as [..., groups, 4]."""
    last = np.moveaxis(array, axis, -1)
    return last.reshape(*last.shape[:-1], -1, GROUP)


def _size(bound: BoundSignature, labels: Set[str]) -> int:
    sizes = (bound.sizes.get(label) for label in labels)
    return prod(size for size in sizes if isinstance(size, int))
