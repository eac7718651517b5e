"""Measure what the loss of a share of each family, alone, does to the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.importance import Ranking
from slimc.analysis.prune_groups import Family
from slimc.analysis.sensitivity_curves import Curve, Point
from slimc.calib.output_loss import Loss
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes.prune.slice_axes import Sliced, slice_axes

RATIOS = (0.25, 0.5, 0.75)
MADE_BY = "sensitivity"
_NOT_RUN = ("runtime-refuses", "run-failed")


class CutFails(SlimcError):  # noqa: N818 - a finding about a family, which may stay whole
    """State that the runtime cannot load or run the graph without some units of a family."""


RefitGraph = Callable[[Sliced], Graph]


def measure_curves(
    coupling: Coupling,
    families: Sequence[Family],
    rankings: Sequence[Ranking],
    ratios: Sequence[float],
    loss: Loss,
    refit: RefitGraph | None = None,
) -> tuple[Curve, ...]:
    """Return one curve per family, as `measure_points` measures it; one unit alone has none."""
    curves = {family.name: Curve(family.name, family.width) for family in families}
    bare = tuple(curves.values())
    for name, point in measure_points(coupling, families, rankings, bare, ratios, loss, refit):
        curves[name] = curves[name].with_point(point)
    return tuple(curves.values())


def measure_points(
    coupling: Coupling,
    families: Sequence[Family],
    rankings: Sequence[Ranking],
    curves: Sequence[Curve],
    ratios: Sequence[float],
    loss: Loss,
    refit: RefitGraph | None = None,
) -> Iterator[tuple[str, Point]]:
    """Yield (family, point) for every ratio that is missing in the curves, family by family.

    The family loses its first units in the order of its ranking, all others stay whole; `refit`
    may repair the cut graph before `loss` judges it. A cut that leaves all units has error 0 and
    is not run, nor is one with as many units as another point has.
    """
    for family, ranking, curve in zip(families, rankings, curves, strict=True):
        errors = {point.kept: point.error for point in curve.points} | {family.width: 0.0}
        for ratio in sorted(set(ratios)):
            if family.width == 1 or curve.at(ratio) is not None:
                continue
            kept = kept_units(family.width, ratio)
            if kept not in errors:
                errors[kept] = _measure_error(coupling, family, ranking, kept, loss, refit)
            yield family.name, Point(ratio, kept, errors[kept])


def kept_units(width: int, ratio: float) -> int:
    """Return the units that stay when the nearest number to `ratio` of them goes; at least 1."""
    return max(1, width - round(width * ratio))


def _measure_error(
    coupling: Coupling,
    family: Family,
    ranking: Ranking,
    kept: int,
    loss: Loss,
    refit: RefitGraph | None,
) -> float:
    removed = np.zeros(len(coupling.pinned), bool)
    removed[family.units[ranking.order[: family.width - kept]]] = True
    try:
        sliced = slice_axes(coupling, removed, MADE_BY)
        return loss(refit(sliced) if refit is not None else sliced.graph)
    except SlimcError as error:
        where = f"family '{family.name}' with {kept} of {family.width} units; {error.where}"
        kind = CutFails if error.name in _NOT_RUN else SlimcError
        raise kind(error.name, error.message, where, error.help) from error
