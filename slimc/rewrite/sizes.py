"""Shapes as operands: what a Reshape is to be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimc.ir import dims
from slimc.ir.types import Dim


def target_of(sizes: Sequence[Dim], source: Sequence[Dim] | None) -> np.ndarray | None:
    """Return i64 operands of a Reshape that makes `sizes` of a value of shape `source`.

    A size that is no number is 0 where it is that of the same axis of the source, and -1 once;
    None where that does not do.
    """
    if 0 in sizes:
        return None
    found: list[int] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int):
            found.append(size)
        else:
            copied = (
                source is not None and axis < len(source) and dims.are_equal(size, source[axis])
            )
            found.append(0 if copied else -1)
    if 0 in found and -1 not in found:
        found[found.index(0)] = -1  # one size may always be left to count; it reads best
    return np.array(found, np.int64) if found.count(-1) <= 1 else None
