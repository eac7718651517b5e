"""What a graph costs, as a polynomial in the number of units that each family loses.

A node costs the product of its distinct label sizes, a constant the product of its axis sizes, and
each of those sizes falls by a fixed number of indices with every unit of a family. So the cost of
any removal is exact without making the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from slimc.analysis.cost import size_bytes
from slimc.analysis.coupling import Coupling, sizes_of
from slimc.analysis.index_space import LabelOf, Place
from slimc.analysis.prune_groups import Family
from slimc.ir.arrays import Ints
from slimc.ir.graph import Node

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Quantity = Literal["macs", "parameters", "bytes"]


@dataclass(frozen=True, eq=False)
class Cost:
    """The weighted sum over terms of products of sizes: size = base - usage @ removed.

    base: [sizes]; usage: [sizes, families]; terms: [terms, factors], numbers of sizes, where the
    last size is a constant 1 that fills short terms up; weight: [terms]; multiple: [sizes], what a
    size is rounded up to before it counts. Exact integers if the weights are.
    """

    base: Ints
    usage: csc_array
    terms: Ints
    weight: np.ndarray
    multiple: Ints

    def of(self, removed: Ints) -> float:
        """Return the cost after the removal. removed: [families]."""
        return self.sum_of(self.base - self.usage @ removed, np.arange(len(self.terms)))

    def sum_of(self, sizes: Ints, terms: Ints) -> float:
        """Return the cost of some terms at these sizes."""
        rounded = -(-sizes // self.multiple) * self.multiple
        found: float = (rounded[self.terms[terms]].prod(axis=1) * self.weight[terms]).sum().item()
        return found

    def column(self, family: int) -> tuple[np.ndarray, Ints]:
        """Return the sizes that fall with a family, and by how much for every unit."""
        run = slice(self.usage.indptr[family], self.usage.indptr[family + 1])
        return self.usage.indices[run], self.usage.data[run]

    def terms_with(self, sizes: np.ndarray) -> Ints:
        """Return the numbers of the terms that have any of these sizes."""
        starts, order = self._by_size
        runs = [order[starts[s] : starts[s + 1]] for s in sizes]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *runs]))

    @cached_property
    def _by_size(self) -> tuple[Ints, Ints]:
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
        self.total = cost.sum_of(self._sizes, np.arange(len(cost.terms)))

    def _touched(self, family: int) -> tuple[Ints, Ints, Ints]:
        """Return the sizes that fall with a family, by how much, and the terms that have them."""
        if family not in self._known:
            sizes, counts = self.cost.column(family)
            self._known[family] = sizes, counts, self.cost.terms_with(sizes)
        return self._known[family]

    def saved(self, family: int, count: int) -> float:
        """Return what the loss of `count` more units of a family would save."""
        sizes, counts, terms = self._touched(family)
        before = self.cost.sum_of(self._sizes, terms)
        self._sizes[sizes] -= counts * count
        after = self.cost.sum_of(self._sizes, terms)
        self._sizes[sizes] += counts * count
        return before - after

    def take(self, family: int, count: int) -> None:
        """Let a family lose `count` more units."""
        self.total -= self.saved(family, count)
        sizes, counts, _ = self._touched(family)
        self._sizes[sizes] -= counts * count


class Size(NamedTuple):
    """The number of indices of a place, rounded up to a multiple before it counts."""

    place: Place
    extent: int
    multiple: int = 1


class Term(NamedTuple):
    """A weight times a product of sizes."""

    sizes: tuple[Size, ...]
    weight: float = 1


def cost(coupling: Coupling, families: Sequence[Family], quantity: Quantity) -> Cost:
    """Return a quantity of the graph as a function of the units removed per family.

    bytes: of all constants, as they are stored.
    """
    terms = {"macs": mac_terms, "parameters": _parameter_terms, "bytes": _byte_terms}
    return cost_of_terms(terms[quantity](coupling), families)


def cost_of_terms(terms: Sequence[Term], families: Sequence[Family]) -> Cost:
    """Return the sum of terms as a function of the units removed per family."""
    from scipy.sparse import coo_array

    columns: dict[Place, list[tuple[int, int]]] = {}
    for number, family in enumerate(families):
        for member in family.members:
            columns.setdefault(member.place, []).append((number, member.count))
    sizes: dict[tuple[int, int, tuple[tuple[int, int], ...]], int] = {}
    rows = [
        [
            sizes.setdefault((s.extent, s.multiple, tuple(columns.get(s.place, ()))), len(sizes))
            for s in term.sizes
        ]
        for term in terms
    ]
    longest = max((len(row) for row in rows), default=1)
    padded = [row + [len(sizes)] * (longest - len(row)) for row in rows]
    entries = [(row, number, count) for (_, _, u), row in sizes.items() for number, count in u]
    at, loses, counts = (np.array([e[i] for e in entries], np.int64) for i in range(3))
    return Cost(
        base=np.array([extent for extent, _, _ in sizes] + [1], np.int64),
        usage=coo_array((counts, (at, loses)), shape=(len(sizes) + 1, len(families))).tocsc(),
        terms=np.array(padded, np.int64).reshape(len(rows), longest),
        weight=np.array([term.weight for term in terms], None if terms else np.int64),
        multiple=np.array([multiple for _, multiple, _ in sizes] + [1], np.int64),
    )


def mac_terms(coupling: Coupling) -> list[Term]:
    """Return the multiply-accumulates of every contraction."""
    return [term for node in coupling.graph.nodes for term in mac_terms_of(coupling, node)]


def mac_terms_of(coupling: Coupling, node: Node) -> list[Term]:
    """Return the multiply-accumulates of a node, none where it contracts nothing."""
    bound, row = coupling.bound_of(node), coupling.ops.get(node.kind)
    if bound is None or row is None:
        return []
    sizes = sizes_of(bound)
    return [
        Term(tuple(Size(LabelOf(node.name, name), sizes[name]) for name in names))
        for names in row.mac_labels(bound)
    ]


def _parameter_terms(coupling: Coupling) -> list[Term]:
    """Count every floating constant with more than one element once, by its first use.

    A vector that several nodes share counts once, also where the removal makes copies of it.
    """
    constants = coupling.graph.constants
    return [
        Term(sizes)
        for value, sizes in _first_uses(coupling).items()
        if constants[value].dtype.is_float and constants[value].array.size > 1
    ]


def _byte_terms(coupling: Coupling) -> list[Term]:
    """Count the bytes of every constant once, by its first use; unread ones and bodies as fixed."""
    constants = coupling.graph.constants
    made = [
        Term(sizes, constants[value].dtype.bits // 8)
        for value, sizes in _first_uses(coupling).items()
        if constants[value].dtype.bits % 8 == 0
    ]
    counted = sum(prod(s.extent for s in term.sizes) * int(term.weight) for term in made)
    return [*made, Term((), size_bytes(coupling.graph) - counted)]


def _first_uses(coupling: Coupling) -> dict[str, tuple[Size, ...]]:
    """Return constants with the sizes of their axes, as the first node reads them."""
    found: dict[str, tuple[Size, ...]] = {}
    for node, operand, value in constant_uses(coupling):
        if value not in found:
            shape = coupling.graph.constants[value].shape
            found[value] = tuple(
                Size(coupling.axis(node, operand, axis), extent)
                for axis, extent in enumerate(shape)
            )
    return found


def constant_uses(coupling: Coupling) -> Iterable[tuple[Node, int, str]]:
    """Yield (node, operand, constant) for every operand that is a constant."""
    for node in coupling.graph.nodes:
        for operand, value in enumerate(node.inputs):
            if value in coupling.graph.constants:
                yield node, operand, value
