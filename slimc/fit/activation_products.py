"""Products of two activations: the share of the energy that each summed index holds."""

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
class ProductEnergies:
    """Energies of a product of two activations, which has no weights to refit.

    shares: label that is summed over -> f64[size], the share of each index in the energy of the
    products, sum over the others of |a_i|^2 |b_i|^2.
    """

    shares: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class ActivationProduct:
    """A product of two activations."""

    operands: tuple[str, str]
    """Names of the two values."""
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    """Labels of the operands' axes."""
    summed: tuple[str, ...]
    """Labels that are summed over."""

    def energies(self, walk: Walk, feeds: int) -> ProductEnergies:
        """Sum |a_i|^2 |b_i|^2 over all feeds, for each index i of a summed label.

        Elements that are not finite count as zero.
        """
        energies: dict[str, np.ndarray] = {}
        for feed in range(feeds):
            arrays = [walk.value(v, feed).astype(np.float64) for v in self.operands]
            squares = [np.square(np.where(np.isfinite(a), a, 0)) for a in arrays]
            for label in self.summed:
                energy = self._energy(squares, label)
                energies[label] = energies.get(label, np.zeros(len(energy))) + energy
        return ProductEnergies(
            {label: e / (float(e.sum()) or 1.0) for label, e in energies.items()}
        )

    def _energy(self, squares: list[np.ndarray], label: str) -> Floats:
        batch_labels = [n for n in self.labels[0] if n in self.labels[1] and n not in self.summed]
        number = {n: i for i, n in enumerate(dict.fromkeys((*self.labels[0], *self.labels[1])))}
        output_axes = [number[n] for n in (*batch_labels, label)]
        sums = [
            np.einsum(square, [number[n] for n in names], output_axes)
            for square, names in zip(squares, self.labels, strict=True)
        ]
        energy: Floats = (sums[0] * sums[1]).reshape(-1, sums[0].shape[-1]).sum(axis=0)
        return energy


def activation_product(graph: Graph, facts: Facts, node: Node) -> ActivationProduct | None:
    """Return a node as a product of two activations; None if an axis is not a single label."""
    bound = facts.bounds.get(node.name)
    if bound is None or len(node.inputs) != _OPERANDS or set(node.inputs) & set(graph.constants):
        return None
    axes = [bound.inputs[0], bound.inputs[1], bound.outputs[0]]
    names = []
    for value_axes in axes:
        if value_axes is None or any(len(axis) != 1 or len(axis[0]) != 1 for axis in value_axes):
            return None
        names.append(tuple(axis[0][0].name for axis in value_axes))
    summed = tuple(n for n in names[0] if n in names[1] and n not in names[2])
    return ActivationProduct((node.inputs[0], node.inputs[1]), (names[0], names[1]), summed)
