"""Operators that take integers as they are, without DQ: what QOperator files are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.integer_products import INTEGER_PRODUCTS, IntegerProduct


@dataclass(frozen=True, eq=False)
class QOperator:
    """A contraction of integers. sums: the axes of its weight that it sums, outermost first."""

    node: Node
    data: DType
    weight: np.ndarray
    slides: bool
    sums: tuple[int, ...]


def qoperators(graph: Graph) -> Iterator[QOperator]:
    """Yield the nodes of a graph that sum products of integers with a constant weight."""
    for node in graph.nodes:
        places = INTEGER_PRODUCTS.get(node.kind)
        weight = graph.array(node.inputs[places.weight]) if places is not None else None
        if places is None or weight is None or weight.ndim < 2:
            continue
        kind = graph.type_of(node.inputs[places.data])
        data = kind.dtype if isinstance(kind, TensorType) else None
        if data is None or data.is_float:
            data = DType.U8  # it is measured in each run
        yield QOperator(node, data, weight, places.slides, _sums(node, weight, places))


def _sums(node: Node, weight: np.ndarray, places: IntegerProduct) -> tuple[int, ...]:
    if not places.slides:
        return (weight.ndim - 1 if node.attrs.get("transB") else weight.ndim - 2,)
    depthwise = weight.shape[1] == 1 and node.attrs.get("group", 1) == weight.shape[0]
    return () if depthwise else (*range(2, weight.ndim), 1)
