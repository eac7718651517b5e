"""A cost as a sum of tables over the candidate widths of one family, and of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

from slimc.analysis.removal_cost import Cost
from slimc.errors import SlimcError
from slimc.ir.arrays import Floats, Ints

MAX_PAIRS = 40_000  # of candidate widths of two families: HiGHS needs minutes for more

Parts = dict[tuple[int, ...], np.ndarray]  # families -> numbers, one axis each: its candidates


@dataclass(frozen=True, eq=False)
class CostTables:
    """constant + sum of single[f][i] + sum of pairs[f, g][i, j], for candidate i of f, j of g."""

    constant: float
    single: Sequence[Floats]
    pairs: Mapping[tuple[int, int], Floats]


def expand_cost(cost: Cost, lost: Sequence[Ints]) -> CostTables:
    """Expand a cost. lost: per family, the units that are gone at each of its candidate widths.

    Exact, except where an axis that is rounded up joins several families: there each loss counts in
    whole multiples only, so that the sum is never too low.
    Raises SlimcError "too-many-choices" beyond MOST_PAIRS, or if a product has three families.
    """
    total: Parts = {(): np.zeros(())}
    usage = cost.usage.tocsr()
    factors: list[Parts] = []
    for size, (a, b) in enumerate(pairwise(usage.indptr.tolist())):
        uses = zip(usage.indices[a:b].tolist(), usage.data[a:b].tolist(), strict=True)
        falls = {f: count * lost[f] for f, count in uses if lost[f].any()}
        factors.append(_expand_size(int(cost.base[size]), int(cost.multiple[size]), falls))
    for term, weight in zip(cost.terms.tolist(), cost.weight.tolist(), strict=True):
        for families, part in reduce(_multiply, (factors[size] for size in term)).items():
            total[families] = total.get(families, 0) + weight * part
    pairs = {(f[0], f[1]): part for f, part in total.items() if len(f) == 2}
    if sum(part.size for part in pairs.values()) > MAX_PAIRS:
        raise _too_many_choices(f"more than {MAX_PAIRS} pairs of candidate widths")
    zeros = [np.zeros(len(group_losses)) for group_losses in lost]
    single = [zero + total.get((number,), 0) for number, zero in enumerate(zeros)]
    return CostTables(float(total[()]), single, pairs)


def _expand_size(base: int, multiple: int, falls: Mapping[int, Ints]) -> Parts:
    """Return a size as a sum over the families that it falls with."""
    if len(falls) == 1:
        return {
            (f,): _round_up(base - fall, multiple).astype(np.float64) for f, fall in falls.items()
        }
    parts: Parts = {(): _round_up(np.array(base), multiple).astype(np.float64)}
    for family, fall in falls.items():
        parts[(family,)] = -(fall // multiple * multiple).astype(np.float64)
    return parts


def _round_up(sizes: Ints, multiple: int) -> Ints:
    return -(-sizes // multiple) * multiple


def _multiply(first: Parts, second: Parts) -> Parts:
    product: Parts = {}
    for a, x in first.items():
        for b, y in second.items():
            families = tuple(sorted({*a, *b}))
            if len(families) > 2:
                raise _too_many_choices("a cost that multiplies the widths of three families")
            term = _broadcast(x, a, families) * _broadcast(y, b, families)
            product[families] = product.get(families, 0) + term
    return product


def _broadcast(part: Floats, own: tuple[int, ...], families: tuple[int, ...]) -> Floats:
    """Give a part an axis for every family."""
    sizes = iter(part.shape)
    return part.reshape([next(sizes) if f in own else 1 for f in families])


def _too_many_choices(what: str) -> SlimcError:
    return SlimcError(
        "too-many-choices",
        f"the exact choice of widths cannot be made: {what}",
        where="pass remove-channels",
        help="choose=greedy takes graphs of any size; keep=[...] leaves fewer families",
    )
