"""MACs and parameters as polynomials in the number of units that each family loses.

A node costs the product of its distinct label sizes, a constant the product of its axis sizes, and
each of those sizes falls by a fixed number of indices with every unit of a family. So the cost of
any removal is exact without making the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimc.analysis.channels import Coupling, sizes_of
from slimc.analysis.families import Family
from slimc.analysis.index_space import LabelOf, Place
from slimc.ir.graph import Node

Quantity = Literal["macs", "parameters"]


@dataclass(frozen=True, eq=False)
class Cost:
    """The sum over terms of products of sizes: size = base - usage @ removed.

    base: [sizes]; usage: [sizes, families]; terms: [terms, factors], numbers of sizes, where the
    last size is a constant 1 that fills short terms up.
    """

    base: np.ndarray
    usage: np.ndarray
    terms: np.ndarray

    def of(self, removed: np.ndarray) -> int:
        """Return the cost after the removal. removed: [families]."""
        sizes = self.base - self.usage @ removed
        return int(sizes[self.terms].prod(axis=1).sum())

    def slope(self, removed: np.ndarray) -> np.ndarray:
        """Return, per family, what one more unit saves, to first order."""
        sizes = (self.base - self.usage @ removed).astype(np.float64)
        factors = sizes[self.terms]
        others = _products_of_others(factors)
        per_size = np.bincount(self.terms.ravel(), others.ravel(), len(self.base))
        slope: np.ndarray = per_size @ self.usage
        return slope


def cost(coupling: Coupling, families: Sequence[Family], quantity: Quantity) -> Cost:
    """Return MACs or parameters of the graph as a function of the units removed per family."""
    terms = _mac_terms(coupling) if quantity == "macs" else _parameter_terms(coupling)
    columns: dict[Place, list[tuple[int, int]]] = {}
    for number, family in enumerate(families):
        for member in family.members:
            columns.setdefault(member.place, []).append((number, member.count))
    sizes: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
    rows: list[list[int]] = []
    for term in terms:
        rows.append(
            [
                sizes.setdefault((extent, tuple(columns.get(place, ()))), len(sizes))
                for place, extent in term
            ]
        )
    longest = max((len(row) for row in rows), default=1)
    padded = [row + [len(sizes)] * (longest - len(row)) for row in rows] or [[0]]
    usage = np.zeros((len(sizes) + 1, len(families)), np.int64)
    for (_, uses), row_number in sizes.items():
        for number, count in uses:
            usage[row_number, number] = count
    base = np.array([extent for extent, _ in sizes] + [1 if rows else 0], np.int64)
    return Cost(base, usage, np.array(padded, np.int64))


Terms = list[list[tuple[Place, int]]]


def _mac_terms(coupling: Coupling) -> Terms:
    found: Terms = []
    for node in coupling.graph.nodes:
        bound = coupling.bound_of(node)
        row = coupling.ops.get(node.kind)
        if bound is None or row is None:
            continue
        sizes = sizes_of(bound)
        for names in row.mac_labels(bound):
            found.append([(LabelOf(node.name, name), sizes[name]) for name in names])
    return found


def _parameter_terms(coupling: Coupling) -> Terms:
    """Count every floating constant with more than one element once, by its first use.

    A vector that several nodes share counts once, also where the removal makes copies of it.
    """
    found: Terms = []
    seen: set[str] = set()
    for node, operand, value in constant_uses(coupling):
        constant = coupling.graph.constants[value]
        if value in seen or not constant.dtype.is_float or constant.array.size < 2:
            continue
        seen.add(value)
        places = [coupling.axis(node, operand, axis) for axis in range(len(constant.shape))]
        found.append(list(zip(places, constant.shape, strict=True)))
    return found


def constant_uses(coupling: Coupling) -> Iterable[tuple[Node, int, str]]:
    """Yield (node, operand, constant) for every operand that is a constant."""
    for node in coupling.graph.nodes:
        for operand, value in enumerate(node.inputs):
            if value in coupling.graph.constants:
                yield node, operand, value


def _products_of_others(factors: np.ndarray) -> np.ndarray:
    """Return, per factor of every row, the product of the other factors of the row."""
    before = np.ones_like(factors)
    after = np.ones_like(factors)
    for k in range(1, factors.shape[1]):
        before[:, k] = before[:, k - 1] * factors[:, k - 1]
        after[:, -k - 1] = after[:, -k] * factors[:, -k]
    others: np.ndarray = before * after
    return others
