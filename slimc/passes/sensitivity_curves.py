"""Let measured curves say how much the loss of channels costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from slimc.analysis.calibrate import calibrate
from slimc.analysis.channels import Coupling
from slimc.analysis.curves import Curves, Setup
from slimc.analysis.families import Family
from slimc.analysis.ranking import Ranking
from slimc.errors import SlimcError
from slimc.ir.digest import digest

_SAID = {
    "model": "another model, or other --bind and --shape",
    "data": "other samples",
    "score": "channels ordered by {old}, not {new}",
    "metric": "{old}, not {new}",
    "seed": "seed {old}, not {new}",
    "samples": "{old} samples for a point, not {new}",
}
_WHERE = "measured curves, in pass remove-channels"
_AGAIN = "measure this model: slimc sensitivity MODEL -o another.json"


def calibrated(
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
    now = replace(curves.setup, model=digest(coupling.opened.whole), score=score, seed=seed)
    help = f"{_AGAIN}, or order them alike: prune{{score={curves.setup.score}}}"
    check_setup(curves.setup, now, _WHERE, _AGAIN if now.score == curves.setup.score else help)
    for measured in curves.curves:
        if measured.family.partition("#")[0] not in coupling.graph.by_name:
            raise _mismatch(f"the model has no family '{measured.family}'")
    made = []
    for family, ranking in zip(families, rankings, strict=True):
        curve = curves.of(family.name)
        if family.width > 1:
            if curve is None or not curve.points:
                raise _mismatch(f"no point of family '{family.name}' is measured")
            if curve.width != family.width:
                channels = f"{curve.width} channels, not {family.width}"
                raise _mismatch(f"family '{family.name}' had {channels}, when it was measured")
        made.append(ranking if curve is None else calibrate(ranking, curve))
    return tuple(made)


def check_setup(known: Setup, now: Setup, where: str, help: str) -> None:
    """Raise SlimcError "curves-mismatch" with all that differs, if anything does."""
    apart = [f.name for f in fields(Setup) if getattr(known, f.name) != getattr(now, f.name)]
    if apart:
        said = [_SAID[n].format(old=getattr(known, n), new=getattr(now, n)) for n in apart]
        message = f"the curves were measured with {'; '.join(said)}"
        raise SlimcError("curves-mismatch", message, where, help)


def _mismatch(message: str) -> SlimcError:
    help = "slimc sensitivity MODEL -o FILE finishes a file, or begins another one"
    return SlimcError("curves-mismatch", message, _WHERE, help)
