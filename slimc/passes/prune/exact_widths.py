"""The widths with the least damage under a budget, as an integer program.

Every family has a few candidate widths w and a choice x[f, w] in {0, 1}, one of each family. A cost
is a sum of products of sizes, and each size a sum over families: expanded, it is a sum of functions
of one width, c[f](w), and of two, c[f, g](w, v). With pairs y[f, w, g, v] in [0, 1] such that
sum_v y = x[f, w] and sum_w y = x[g, v], which makes them the products x[f, w] x[g, v]:

    min sum damage[f](w) x[f, w]   subject to   sum c[f](w) x[f, w] + sum c[f, g](w, v) y <= goal

Source: Adams and Sherali, Management Science 1986 (the linear form of products of choices).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from slimc.analysis.removal_cost import Cost, Tally
from slimc.ir.arrays import Floats, Ints
from slimc.passes.prune.cost_tables import CostTables, expand_cost
from slimc.passes.prune.widths import WidthRange, compute_losses, cut_to_budget

if TYPE_CHECKING:
    from scipy.sparse import csc_array

CANDIDATES = 8  # widths per family: five over the whole range, three around the best known
ROUNDS = 2  # the second is around the widths that the first found
NODES = 2_000  # of the search tree: a limit that does not depend on the machine
Constraint: TypeAlias = "tuple[csc_array, float, float]"  # matrix, least, most
_SLACK = 2e-6  # HiGHS takes constraints as met within 1e-6


def cut_exactly(ranges: Sequence[WidthRange], cost: Cost, ratio: float, latency: Cost) -> Ints:
    """Return the units each family loses with the least damage among candidate widths.

    The first candidates include the greedy choice, so the result does no more damage than it. What
    greedy does not reach, nothing does. Raises SlimcError "too-many-choices".
    """
    best = cut_to_budget(ranges, cost, ratio, latency)
    goal = (1 - ratio) * cost.of(np.zeros(len(ranges), np.int64))
    if cost.of(best) > goal or not best.any():
        return best
    for _ in range(ROUNDS):
        tally = Tally(latency)
        candidates = [
            _candidate_widths(tally, number, range_, range_.width - lost)
            for number, (range_, lost) in enumerate(zip(ranges, best.tolist(), strict=True))
        ]
        tables = expand_cost(cost, [r.width - k for r, k in zip(ranges, candidates, strict=True)])
        damages = [r.damage[r.width - k] for r, k in zip(ranges, candidates, strict=True)]
        for slack in (0.0, _SLACK):
            chosen = _solve(damages, tables, goal * (1 - slack), _total_damage(ranges, best))
            lost = compute_losses(
                ranges, [int(k[i]) for k, i in zip(candidates, chosen, strict=True)]
            )
            if cost.of(lost) <= goal:
                best = min(best, lost, key=lambda losses: _total_damage(ranges, losses))
                break
    return best


def _total_damage(ranges: Sequence[WidthRange], lost: Ints) -> float:
    return float(sum(r.damage[k] for r, k in zip(ranges, lost.tolist(), strict=True)))


def _candidate_widths(tally: Tally, number: int, range_: WidthRange, best_width: int) -> Ints:
    """Return widths to choose from, the largest first; narrower ones only if they are faster."""
    allowed = range_.allowed_widths()
    if len(allowed) > CANDIDATES:
        position = allowed.index(best_width)
        spread = np.linspace(0, len(allowed) - 1, CANDIDATES - 3).round().astype(int).tolist()
        near = [i for i in (position - 1, position, position + 1) if 0 <= i < len(allowed)]
        allowed = [allowed[i] for i in sorted({*spread, *near})]
    faster = [
        w
        for w in allowed
        if w in (range_.start, best_width) or tally.saved(number, range_.width - w) > 0
    ]
    return np.array(faster, np.int64)


def _solve(
    damages: Sequence[Floats], tables: CostTables, goal: float, scale: float
) -> Sequence[int]:
    """Return the number of the candidate that each family gets: the first of each if none is fit.

    scale: the damage that is known to be enough; the objective counts in it.
    """
    from scipy.optimize import milp

    first = np.cumsum([0, *(len(d) for d in damages)])  # of the choices x of each family
    costs = [*tables.single, *(table.ravel() for table in tables.pairs.values())]
    cost, weight = np.concatenate(costs), np.zeros(sum(len(c) for c in costs))
    weight[: first[-1]] = np.concatenate(damages) / (scale or 1.0)
    result = milp(
        weight,
        integrality=(np.arange(len(cost)) < first[-1]).astype(int),
        constraints=[
            _choice_constraint(first, len(cost)),
            _pair_constraint(first, tables, len(cost)),
            (cost[None] / goal, -np.inf, 1 - tables.constant / goal),
        ],
        options={"node_limit": NODES, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        return [0] * len(damages)
    return [int(np.argmax(result.x[a:b])) for a, b in pairwise(first.tolist())]


def _choice_constraint(first: Ints, count: int) -> Constraint:
    """Return sum_w x[f, w] = 1 for every family f."""
    from scipy.sparse import coo_array

    families = np.repeat(np.arange(len(first) - 1), np.diff(first))
    ones = np.ones(len(families))
    matrix = coo_array((ones, (families, np.arange(len(families)))), (len(first) - 1, count))
    return matrix.tocsc(), 1, 1


def _pair_constraint(first: Ints, tables: CostTables, count: int) -> Constraint:
    """Return sum_v y[f, w, g, v] = x[f, w] and sum_w y[f, w, g, v] = x[g, v] for every pair."""
    from scipy.sparse import coo_array

    rows, columns, values, row, offset = [0], [0], [0.0], 0, int(first[-1])
    for (f, g), table in tables.pairs.items():
        y = np.arange(offset, offset + table.size).reshape(table.shape)
        offset += table.size
        for family, runs in ((f, y), (g, y.T)):
            for choice, run in enumerate(runs, int(first[family])):
                rows += [row] * (len(run) + 1)
                columns += [*run.tolist(), choice]
                values += [*([1.0] * len(run)), -1.0]
                row += 1
    matrix = coo_array((values, (rows, columns)), (max(1, row), count))
    return matrix.tocsc(), 0, 0
