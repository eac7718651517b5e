"""Families named by users: which ones are meant, and a graph cut to widths by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slimc.analysis.channels import Coupling
from slimc.analysis.families import Family, families
from slimc.errors import SlimcError, did_you_mean


def named(found: Sequence[Family], names: Sequence[str], option: str) -> np.ndarray:
    """Return which families are named: bool[families]. Raises SlimcError "unknown-family"."""
    known = [family.name for family in found]
    for name in names:
        if name not in known:
            raise SlimcError(
                "unknown-family",
                f"no family is named '{name}'",
                where=f"option {option} of pass remove-channels",
                help=did_you_mean(name, known),
            )
    return np.array([name in names for name in known], bool)


def units_beyond(coupling: Coupling, widths: Mapping[str, int]) -> np.ndarray:
    """Return the units that leave so that families have these widths: bool[units], the last ones.

    Which units of a family leave does not matter to shapes, and so to latency. Families without a
    width stay whole.
    """
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[widths.get(family.name, family.width) :]] = True
    return removed
