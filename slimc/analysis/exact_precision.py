"""One scheme for every region, with the least noise under a budget, as an integer program.

Noise of regions adds up, as long as it is small, and so do bytes and predicted seconds. With a
choice x[r, s] in {0, 1} of one scheme s for every region r:

    min sum noise[r, s] x[r, s]   subject to   sum cost[r, s] x[r, s] <= budget,  sum_s x[r, s] = 1

Source: Hubara et al., "Accurate post training quantization with small calibration sets", ICML 2021,
section 3.3 (additive losses, integer programming).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array

NODES = 2_000  # of the search tree: a limit that does not depend on the machine
_SLACK = 2e-6  # HiGHS takes constraints as met within 1e-6


@dataclass(frozen=True)
class Option:
    """A scheme for a region: the noise of it alone, and what it costs."""

    scheme: str
    noise: float
    cost: float


def choose_schemes(regions: Sequence[Sequence[Option]], budget: float) -> list[int] | None:
    """Return the number of the option that each region gets; None where no choice costs so little.

    budget: more than 0. An option is left out where another is as good and costs less.
    """
    least = [min(range(len(one)), key=lambda i: (one[i].cost, one[i].noise)) for one in regions]
    if sum(one[i].cost for one, i in zip(regions, least, strict=True)) > budget:
        return None
    from scipy.optimize import Bounds, milp  # half a second to load, for this alone

    first = np.cumsum([0, *(len(one) for one in regions)])
    noise = np.array([option.noise for one in regions for option in one])
    cost = np.array([option.cost for one in regions for option in one]) / budget
    scale = float(noise.max(initial=0.0)) or 1.0
    rows = np.repeat(np.arange(len(regions)), np.diff(first))
    once = coo_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))
    found = milp(
        noise / scale,
        integrality=np.ones(len(noise), int),
        bounds=Bounds(0, [float(_is_best(o, one)) for one in regions for o in one]),
        constraints=[(once.tocsc(), 1, 1), (cost[None], -np.inf, 1 - _SLACK)],
        options={"node_limit": NODES, "mip_rel_gap": 0.0},
    )
    if found.x is None:
        return least
    return [int(np.argmax(found.x[a:b])) for a, b in pairwise(first.tolist())]


def _is_best(option: Option, options: Sequence[Option]) -> bool:
    """Tell whether no other option is as good in one respect and better in the other."""
    mine = (option.noise, option.cost)
    others = [(one.noise, one.cost) for one in options]
    return not any(a <= mine[0] and b <= mine[1] and (a, b) != mine for a, b in others)
