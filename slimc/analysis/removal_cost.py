"""MACs and parameters as polynomials in the number of units that each family loses.

A node costs the product of its distinct label sizes, a constant the product of its axis sizes, and
each of those sizes falls by a fixed number of indices with every unit of a family. So the cost of
any removal is exact without making the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.sparse import coo_array, csc_array

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
    usage: csc_array
    terms: np.ndarray

    def of(self, removed: np.ndarray) -> int:
        """Return the cost after the removal. removed: [families]."""
        sizes = self.base - self.usage @ removed
        return int(sizes[self.terms].prod(axis=1).sum())

    def column(self, family: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sizes that fall with a family, and by how much for every unit."""
        run = slice(self.usage.indptr[family], self.usage.indptr[family + 1])
        return self.usage.indices[run], self.usage.data[run]

    def terms_with(self, sizes: np.ndarray) -> np.ndarray:
        """Return the numbers of the terms that have any of these sizes."""
        starts, order = self._by_size
        runs = [order[starts[s] : starts[s + 1]] for s in sizes]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *runs]))

    @cached_property
    def _by_size(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the terms of each size start in the second array, which lists terms by size."""
        flat = self.terms.ravel()
        counts = np.bincount(flat, minlength=len(self.base))
        starts = np.concatenate([[0], np.cumsum(counts)])
        return starts, np.argsort(flat, kind="stable") // self.terms.shape[1]


class Tally:
    """A cost while families lose units, one family after another. Each step costs what it touches.

    total: the cost of what is left.
    """

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._sizes = cost.base.copy()
        self._known: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.total = int(self._sizes[cost.terms].prod(axis=1).sum())

    def _touched(self, family: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sizes that fall with a family, by how much, and the terms that have them."""
        if family not in self._known:
            sizes, counts = self.cost.column(family)
            self._known[family] = sizes, counts, self.cost.terms[self.cost.terms_with(sizes)]
        return self._known[family]

    def saved(self, family: int, count: int) -> int:
        """Return what the loss of `count` more units of a family would save."""
        sizes, counts, terms = self._touched(family)
        before = int(self._sizes[terms].prod(axis=1).sum())
        self._sizes[sizes] -= counts * count
        after = int(self._sizes[terms].prod(axis=1).sum())
        self._sizes[sizes] += counts * count
        return before - after

    def take(self, family: int, count: int) -> None:
        """Let a family lose `count` more units."""
        self.total -= self.saved(family, count)
        sizes, counts, _ = self._touched(family)
        self._sizes[sizes] -= counts * count


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
    entries = [(row, number, count) for (_, u), row in sizes.items() for number, count in u]
    at, loses, counts = (np.array([e[i] for e in entries], np.int64) for i in range(3))
    usage = coo_array((counts, (at, loses)), shape=(len(sizes) + 1, len(families))).tocsc()
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
