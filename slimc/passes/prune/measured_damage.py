"""Set the damage of a ranking to what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.importance import Ranking
from slimc.analysis.prune_groups import Family
from slimc.analysis.sensitivity_curves import Curve, Curves, Setup
from slimc.errors import SlimcError
from slimc.ir.arrays import Floats
from slimc.ir.digest import digest


def calibrate(ranking: Ranking, curve: Curve) -> Ranking:
    """Return the ranking with the damage bent through the measured errors, its order as it is.

    The ranking's own damage d is the coordinate. With errors e_i after the loss of k_i units,
    made monotone and at least 0, and k_0 = e_0 = 0, between two points

        damage[k] = e_i + (e_j - e_i) (d[k] - d[k_i]) / (d[k_j] - d[k_i]),

    where d is flat between them with k itself for d; behind the last point it goes on in the
    proportion e/d of the last point. So the errors say how much, the ranking says where between.
    A curve without points changes nothing.
    """
    lost = {curve.width - point.kept: point.error for point in curve.points}
    lost = {k: lost[k] for k in sorted(lost) if 0 < k < ranking.width}
    if not lost:
        return ranking
    counts = np.array([0, *lost])
    errors = np.array([0.0, *(max(0.0, error) for error in fit_monotone(list(lost.values())))])
    damage = np.zeros(ranking.width + 1)
    for i, (first, last) in enumerate(pairwise(counts.tolist())):
        fraction = _rise_fraction(ranking.damage[first : last + 1])
        damage[first : last + 1] = errors[i] + (errors[i + 1] - errors[i]) * fraction
    last = int(counts[-1])
    damage[last:] = errors[-1] * _growth_factor(ranking.damage, last)
    return Ranking(ranking.order, damage)


def fit_monotone(errors: Sequence[float]) -> list[float]:
    """Return the never-falling numbers that are nearest in least squares.

    Neighbours that fall are pooled to their mean (pool adjacent violators).
    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972, section 1.2.
    """
    pools: list[tuple[float, int]] = []
    for error in errors:
        mean, count = float(error), 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), count + many
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def _rise_fraction(damage: Floats) -> Floats:
    """Return how far each entry is on the way from the first to the last, 0..1."""
    rise = damage[-1] - damage[0]
    if rise <= 0:
        return np.linspace(0, 1, len(damage))
    curve: Floats = (damage - damage[0]) / rise
    return curve


def _growth_factor(damage: Floats, last: int) -> Floats:
    """Return by what factor the damage grows from entry `last` to each entry behind it, from 1."""
    if damage[last] <= 0:
        return np.arange(last, len(damage)) / last
    curve: Floats = damage[last:] / damage[last]
    return curve


_DIFFERENCES = {
    "model": "another model, or other --bind and --shape",
    "data": "other samples",
    "score": "channels ordered by {old}, not {new}",
    "metric": "{old}, not {new}",
    "seed": "seed {old}, not {new}",
    "samples": "{old} samples for a point, not {new}",
}
_WHERE = "measured curves, in pass remove-channels"
_MEASURE_HELP = "measure this model: slimc sensitivity MODEL -o another.json"


def apply_curves(
    coupling: Coupling,
    families: Sequence[Family],
    rankings: Sequence[Ranking],
    score: str,
    seed: int,
    curves: Curves,
) -> tuple[Ranking, ...]:
    """Return the rankings with the damage that was measured (`calibrate`), their order as it is.

    The curves must be of this graph, and along the order of this score. Nodes that are kept may
    pin families that were measured. Raises SlimcError "curves-mismatch".
    """
    current = replace(curves.setup, model=digest(coupling.opened.whole), score=score, seed=seed)
    help = f"{_MEASURE_HELP}, or order them alike: prune{{score={curves.setup.score}}}"
    check_setup(
        curves.setup,
        current,
        _WHERE,
        _MEASURE_HELP if current.score == curves.setup.score else help,
    )
    for measured in curves.curves:
        if measured.family.partition("#")[0] not in coupling.graph.by_name:
            raise _mismatch_error(f"the model has no family '{measured.family}'")
    result = []
    for family, ranking in zip(families, rankings, strict=True):
        curve = curves.of(family.name)
        if family.width > 1:
            if curve is None or not curve.points:
                raise _mismatch_error(f"no point of family '{family.name}' is measured")
            if curve.width != family.width:
                channels = f"{curve.width} channels, not {family.width}"
                raise _mismatch_error(
                    f"family '{family.name}' had {channels}, when it was measured"
                )
        result.append(ranking if curve is None else calibrate(ranking, curve))
    return tuple(result)


def check_setup(known: Setup, current: Setup, where: str, help: str) -> None:
    """Raise SlimcError "curves-mismatch" with all that differs, if anything does."""
    names = [f.name for f in fields(Setup) if getattr(known, f.name) != getattr(current, f.name)]
    if names:
        differences = [
            _DIFFERENCES[n].format(old=getattr(known, n), new=getattr(current, n)) for n in names
        ]
        message = f"the curves were measured with {'; '.join(differences)}"
        raise SlimcError("curves-mismatch", message, where, help)


def _mismatch_error(message: str) -> SlimcError:
    help = "slimc sensitivity MODEL -o FILE finishes a file, or begins another one"
    return SlimcError("curves-mismatch", message, _WHERE, help)
