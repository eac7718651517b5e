"""Products of two activations: how much of their energy each summed index holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.execute.piecewise import Walk
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph, Node

_OPERANDS = 2


@dataclass(frozen=True, eq=False)
class Energies:
    """A product of two activations, of which nothing can be refitted.

    shares: label that is summed over -> f64[size], of each index in the energy of the products,
    sum over the others of |a_i|^2 |b_i|^2.
    """

    shares: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Product:
    """A product of two activations: labels of its operands' axes, and those it sums over."""

    operands: tuple[str, str]
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    summed: tuple[str, ...]

    def energies(self, walk: Walk, feeds: int) -> Energies:
        """Sum |a_i|^2 |b_i|^2 over all feeds, for each index i of a summed label.

        Elements that are not finite count as zeros.
        """
        found: dict[str, np.ndarray] = {}
        for feed in range(feeds):
            arrays = [walk.value(v, feed).astype(np.float64) for v in self.operands]
            squares = [np.square(np.where(np.isfinite(a), a, 0)) for a in arrays]
            for label in self.summed:
                seen = self._energy(squares, label)
                found[label] = found.get(label, np.zeros(len(seen))) + seen
        return Energies({label: e / (float(e.sum()) or 1.0) for label, e in found.items()})

    def _energy(self, squares: list[np.ndarray], label: str) -> Floats:
        both = [n for n in self.labels[0] if n in self.labels[1] and n not in self.summed]
        number = {n: i for i, n in enumerate(dict.fromkeys((*self.labels[0], *self.labels[1])))}
        kept = [number[n] for n in (*both, label)]
        sums = [
            np.einsum(square, [number[n] for n in names], kept)
            for square, names in zip(squares, self.labels, strict=True)
        ]
        energy: Floats = (sums[0] * sums[1]).reshape(-1, sums[0].shape[-1]).sum(axis=0)
        return energy


def product_of(graph: Graph, facts: Facts, node: Node) -> Product | None:
    """Return a node as a product of two activations; None if an axis is no single label."""
    bound = facts.bounds.get(node.name)
    if bound is None or len(node.inputs) != _OPERANDS or set(node.inputs) & set(graph.constants):
        return None
    axes = [bound.inputs[0], bound.inputs[1], bound.outputs[0]]
    names = []
    for one in axes:
        if one is None or any(len(axis) != 1 or len(axis[0]) != 1 for axis in one):
            return None
        names.append(tuple(axis[0][0].name for axis in one))
    summed = tuple(n for n in names[0] if n in names[1] and n not in names[2])
    return Product((node.inputs[0], node.inputs[1]), (names[0], names[1]), summed)
