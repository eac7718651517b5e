"""Choose the width of every family under a budget."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from slimc.analysis.channels import Coupling
from slimc.analysis.exact_widths import cut_exactly
from slimc.analysis.families import Family
from slimc.analysis.latency import Speed, latency
from slimc.analysis.removal_cost import Cost, cost
from slimc.analysis.widths import Range, cut_evenly, cut_to_budget

Budget = Literal["macs", "parameters", "bytes", "latency", "channels"]


def costs_of(
    coupling: Coupling,
    families: Sequence[Family],
    speed: Speed,
    multiple: int,
    integers: Collection[str] = (),
) -> Mapping[str, Cost]:
    """Return all that a budget may be of, as functions of the units removed per family.

    integers: kinds of nodes that latency counts as computing in integers.
    """
    return {
        "macs": cost(coupling, families, "macs"),
        "parameters": cost(coupling, families, "parameters"),
        "bytes": cost(coupling, families, "bytes"),
        "latency": latency(coupling, families, speed, multiple, integers),
    }


def choose_widths(
    ranges: Sequence[Range],
    costs: Mapping[str, Cost],
    budget: Budget,
    ratio: float,
    how: Literal["greedy", "exact"] = "greedy",
) -> np.ndarray:
    """Return the units each family loses: i64[families]."""
    if budget == "channels":
        return cut_evenly(ranges, ratio, costs["latency"])
    cut = cut_exactly if how == "exact" else cut_to_budget
    return cut(ranges, costs[budget], ratio, costs["latency"])
