"""What is known of the operands of a node: element types, elements, labels of axes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType
from slimc.ops.axes import Axis


def is_f32(graph: Graph, value: str) -> bool:
    """Tell whether a value is known to hold f32."""
    kind = graph.type_of(value)
    return isinstance(kind, TensorType) and kind.dtype is DType.F32


def finite(graph: Graph, constant: str) -> bool:
    """Tell whether a constant holds neither NaN nor infinity."""
    return bool(np.isfinite(graph.constants[constant].array).all())


def labels_of(axes: tuple[Axis, ...] | None) -> set[str]:
    """Return the names of all labels of some axes."""
    return {label.name for axis in axes or () for term in axis for label in term}


def axis_with(axes: tuple[Axis, ...] | None, labels: Collection[str]) -> int | None:
    """Return the first axis that has one of the labels."""
    for i, axis in enumerate(axes or ()):
        if any(label.name in labels for term in axis for label in term):
            return i
    return None
