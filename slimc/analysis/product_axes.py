"""Which factor of a product axis may lose indices, where the signature leaves two or more free.

Attention reshapes `(h d) -> h d`: either whole heads leave, or the same `d` of every head. What the
rest of the graph pins decides. Where that leaves a choice: the factor that the node is cut along
elsewhere already, else one that no statistics run over, else the one with more indices, because it
cuts in finer steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from slimc.analysis.index_space import IndexSpace, LabelOf
from slimc.ir.arrays import Ints


@dataclass(frozen=True)
class Product:
    """A run of indices of an axis that is the row-major product of `labels` (sizes `extents`)."""

    start: int
    labels: tuple[LabelOf, ...]
    extents: tuple[int, ...]
    free: tuple[int, ...]  # positions of the labels that the signature does not pin
    node: str  # for reasons: 'name' (Operator)

    def tie(self, space: IndexSpace, factor: int) -> None:
        """Let every index leave with its index of one factor."""
        count = prod(self.extents)
        digits = np.arange(count) // prod(self.extents[factor + 1 :]) % self.extents[factor]
        space.tie(
            np.arange(self.start, self.start + count),
            space.start[self.labels[factor]] + digits,
        )

    def pin(self, space: IndexSpace) -> None:
        """Let no index of the run leave."""
        indices = np.arange(self.start, self.start + prod(self.extents))
        space.pin(indices, f"{self.node}, which needs whole rows of it")


def resolve(space: IndexSpace, products: Sequence[Product]) -> None:
    """Tie every product to one factor: forced ones first, again and again, then by choice."""
    waiting = list(products)
    taken: set[LabelOf] = set()
    while waiting:
        choice = _Choice(space, taken)
        forced = [p for p in waiting if len(choice.alive(p)) < 2]
        settled = forced or choice.independent(waiting)
        for product in settled:
            taken.update(_settle(space, product, choice.ranked(product)))
        done = {id(p) for p in settled}
        waiting = [p for p in waiting if id(p) not in done]


class _Choice:
    """The factors of products as the graph stands in one round."""

    def __init__(self, space: IndexSpace, taken: set[LabelOf]) -> None:
        self.space, self.taken = space, taken
        self.unit = space.solve()
        self.pinned = space.pinned_units(self.unit)
        self.soft = space.soft_units(self.unit)

    def alive(self, product: Product) -> list[int]:
        """Return the free factors of which some index may still leave."""
        return [f for f in product.free if not self.pinned[self._units(product, f)].all()]

    def ranked(self, product: Product) -> list[int]:
        """Return the factors that are alive, the best first."""

        def rank(factor: int) -> tuple[bool, bool, int]:
            taken = product.labels[factor] in self.taken
            soft = bool(self.soft[self._units(product, factor)].any())
            return not taken, soft, -product.extents[factor]

        return sorted(self.alive(product), key=rank)

    def independent(self, waiting: Sequence[Product]) -> list[Product]:
        """Return the first product, and all that no choice for an earlier one can change."""
        touched = np.zeros(len(self.pinned), bool)
        found: list[Product] = []
        for product in waiting:
            near = np.unique(np.concatenate([self._units(product, f) for f in product.free]))
            if not touched[near].any():
                found.append(product)
            touched[near] = True
        return found

    def _units(self, product: Product, factor: int) -> Ints:
        return self.unit[self.space.of(product.labels[factor])]


def _settle(space: IndexSpace, product: Product, factors: Sequence[int]) -> list[LabelOf]:
    """Tie to the first of `factors` and pin the other labels; with none, pin the whole run."""
    if not factors:
        product.pin(space)
        return []
    product.tie(space, factors[0])
    chosen = product.labels[factors[0]]
    for f in product.free:
        if f != factors[0]:
            reason = f"{product.node}, where the other factor '{chosen.label}' of the axis is cut"
            space.pin(space.of(product.labels[f]), reason)
    return [chosen]
