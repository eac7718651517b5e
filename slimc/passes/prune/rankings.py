"""Rank the units of families by the score of that name: ours, or a plug-in's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.group_view import FamilyView, Score, views
from slimc.analysis.importance import Ranking, by_importance
from slimc.analysis.prune_groups import Family, readers
from slimc.calib.output_loss import Loss, held_out_error
from slimc.calib.random_fields import distinguishes_channels, or_fields
from slimc.errors import SlimcError, did_you_mean
from slimc.ir.arrays import Floats
from slimc.passes.context import Context
from slimc.passes.prune.input_scores import READER_SCORES, SAMPLES, ReaderRankings
from slimc.passes.prune.measured_damage import apply_curves, calibrate
from slimc.passes.prune.scores import SCORES
from slimc.passes.prune.sensitivity import CutFails, RefitGraph, measure_curves
from slimc.passes.traits import Trait

AUTO = "auto"
OWN_SCORES = (AUTO, *READER_SCORES, *SCORES)
RATIOS = (0.1, 0.25, 0.5, 0.75)  # where the loss of a family is measured; scores fill in between
WEIGHT_SCORES = frozenset({"magnitude", "magnitude-l1", "geometric-median"})


def chosen_score(score: str, ctx: Context) -> str:
    """Return the score that a name stands for. Raises SlimcError "unknown-score"."""
    names = (*OWN_SCORES, *ctx.scores)
    if score not in names:
        raise SlimcError(
            "unknown-score",
            f"there is no score '{score}'",
            where="option score of pass remove-channels",
            help=did_you_mean(score, names),
        )
    if score == AUTO:
        return "obs" if distinguishes_channels(ctx.data) else "magnitude"
    return score


def compares_outputs(coupling: Coupling, ctx: Context) -> bool:
    """Tell whether families compare by the error of the outputs unless an option says otherwise.

    They do with samples and a floating output, unless curves were measured before.
    """
    floats = any(coupling.facts.is_float(value) for value in coupling.opened.whole.outputs)
    return floats and not ctx.data.synthetic and ctx.curves is None


def rank(
    coupling: Coupling, families: Sequence[Family], score: str, ctx: Context
) -> tuple[Ranking, ...]:
    """Return, per family, in which order its units go and what each further one costs.

    Where the context brings measured curves, the costs are those.
    """
    name = chosen_score(score, ctx)
    with open_moments(name in READER_SCORES, coupling, families, ctx) as moments:
        rankings = rank_with(coupling, families, name, ctx, moments)
    if ctx.curves is None:
        return rankings
    return apply_curves(coupling, families, rankings, name, ctx.seed, ctx.curves)


def rank_by_outputs(
    coupling: Coupling, families: Sequence[Family], score: str, ctx: Context
) -> tuple[Ranking, ...]:
    """Rank, and let the costs be what the loss of each family alone was measured to do.

    Each family is cut by `RATIOS`, its readers are refitted if the compile repairs weights, and the
    error of the outputs is measured on samples that no moment was summed of. A family that makes no
    difference there (its branch is never taken) costs what its ranking says; one without whose
    units the graph does not run gets a refusal.
    """
    name = chosen_score(score, ctx)
    data = or_fields(ctx.data, ctx.sizes_of(coupling.opened.whole), ctx.seed)
    loss = held_out_error(coupling, data, SAMPLES)
    repairs = Trait.REPAIRS in ctx.traits
    needs_moments = repairs or name in READER_SCORES
    with open_moments(needs_moments, coupling, families, ctx) as moments:
        rankings = rank_with(coupling, families, name, ctx, moments)
        refit = moments.refit if repairs and moments is not None else None
        pairs = zip(families, rankings, strict=True)
        return tuple(_measure_alone(coupling, *pair, loss, refit) for pair in pairs)


def _measure_alone(
    coupling: Coupling, family: Family, ranking: Ranking, loss: Loss, refit: RefitGraph | None
) -> Ranking:
    """Return the ranking of a family with the costs that are measured of it alone."""
    try:
        (curve,) = measure_curves(coupling, [family], [ranking], RATIOS, loss, refit)
    except CutFails as failure:
        return replace(ranking, refusal=f"narrower the graph does not run: {failure.message}")
    return calibrate(ranking, curve) if any(p.error > 0 for p in curve.points) else ranking


def open_moments(
    needed: bool, coupling: Coupling, families: Sequence[Family], ctx: Context
) -> AbstractContextManager[ReaderRankings | None]:
    """Return the moments of what readers read where they are wanted: they take a walk."""
    return ReaderRankings(coupling, families, ctx) if needed else nullcontext()


def rank_with(
    coupling: Coupling,
    families: Sequence[Family],
    name: str,
    ctx: Context,
    moments: ReaderRankings | None,
) -> tuple[Ranking, ...]:
    """Rank by the score of that name; without moments by one that needs none."""
    if moments is not None and name in READER_SCORES:
        return _rank_by_inputs(coupling, families, name, ctx, moments)
    return _rank_by_weights(coupling, families, name, ctx)


def _rank_by_inputs(
    coupling: Coupling,
    families: Sequence[Family],
    name: str,
    ctx: Context,
    moments: ReaderRankings,
) -> tuple[Ranking, ...]:
    """Rank by what readers lose; by magnitude where no moments of a reader are known."""
    rankings = moments.rankings(name)
    if all(ranking is not None for ranking in rankings):
        return tuple(ranking for ranking in rankings if ranking is not None)
    others = _rank_by_weights(coupling, families, "magnitude", ctx)
    return tuple(own or other for own, other in zip(rankings, others, strict=True))


def _rank_by_weights(
    coupling: Coupling,
    families: Sequence[Family],
    name: str,
    ctx: Context,
) -> tuple[Ranking, ...]:
    """Rank family by family."""
    function = {**SCORES, **ctx.scores}[name]
    return tuple(_rank_group(name, function, view) for view in views(coupling, families, ctx.seed))


def _rank_group(name: str, function: Score, view: FamilyView) -> Ranking:
    result = _call_plugin(name, function, view)
    if isinstance(result, Ranking):
        _check_ranking(name, result, view)
        return result
    importance = _check_numbers(name, result, view, view.width)
    if (importance < 0).any():
        raise _bad_importance(name, view, f"importance {importance.min():g} is negative")
    return by_importance(importance, readers(view.coupling, view.family))


def _call_plugin(name: str, function: Score, view: FamilyView) -> object:
    try:
        return function(view)
    except SlimcError:
        raise
    except Exception as broken:  # the user's own code may raise anything
        raise _bad_importance(
            name, view, f"it raised {type(broken).__name__}: {broken}"
        ) from broken


def _check_ranking(name: str, ranking: Ranking, view: FamilyView) -> None:
    if not np.array_equal(np.sort(ranking.order), np.arange(view.width)):
        raise _bad_importance(
            name, view, f"the order does not name each of {view.width} units once"
        )
    damage = _check_numbers(name, ranking.damage, view, view.width + 1)
    if damage[0] != 0 or (np.diff(damage) < 0).any():
        raise _bad_importance(name, view, "the damage does not start at 0, or falls")


def _check_numbers(name: str, result: object, view: FamilyView, count: int) -> Floats:
    array = np.asarray(result)
    if array.shape != (count,) or array.dtype.kind not in "fiub":
        text = f"found {array.dtype}{list(array.shape)}, expected {count} numbers"
        raise _bad_importance(name, view, text)
    if not np.isfinite(array).all():
        raise _bad_importance(name, view, "some numbers are not finite")
    return array.astype(np.float64)


def _bad_importance(name: str, view: FamilyView, message: str) -> SlimcError:
    return SlimcError(
        "bad-score", message, where=f"score '{name}' of family '{view.name}', width {view.width}"
    )
