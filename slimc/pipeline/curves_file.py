"""The file of measured curves: written whole after every point, and gone on with."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from slimc.analysis.curves import Curves, Setup, curves_text, parse_curves
from slimc.errors import SlimcError
from slimc.io.write import replaced

_SAID = {
    "model": "another model (or other --bind, --shape)",
    "data": "other samples",
    "score": "the channels ordered by {old}, not {new}",
    "metric": "the {old}, not the {new}",
    "seed": "seed {old}, not {new}",
    "samples": "{old} samples for a point, not {new}",
}


def load_curves(path: str | Path) -> Curves:
    """Read curves. Raises SlimcError "bad-curves"."""
    path = Path(path)
    where = f"'{path}'"
    try:
        return parse_curves(path.read_text(encoding="utf-8"), where)
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SlimcError(
            "bad-curves",
            f"the file cannot be read: {what}",
            where,
            "slimc sensitivity MODEL writes one",
        ) from error


def save_curves(curves: Curves, path: Path) -> None:
    """Write curves; the file is there whole or as it was."""
    with replaced(path) as file:
        file.write(curves_text(curves).encode())


def gone_on_with(path: Path, bare: Curves) -> Curves:
    """Return the curves of a file, or `bare`, which has no points, where there is none.

    Raises SlimcError "curves-mismatch" where the file was measured in another way.
    """
    if not path.exists():
        return bare
    known = load_curves(path)
    check_setup(known.setup, bare.setup, f"'{path}'", "name another file with -o, or delete it")
    if [(c.family, c.width) for c in known.curves] != [(c.family, c.width) for c in bare.curves]:
        raise SlimcError(
            "curves-mismatch",
            "it names other families than the model has",
            f"'{path}'",
            "name another file with -o, or delete it",
        )
    return known


def check_setup(known: Setup, now: Setup, where: str, help: str) -> None:
    """Raise SlimcError "curves-mismatch" with all that differs, if anything does."""
    apart = [f.name for f in fields(Setup) if getattr(known, f.name) != getattr(now, f.name)]
    if apart:
        said = [_SAID[n].format(old=getattr(known, n), new=getattr(now, n)) for n in apart]
        message = f"it was measured with {', '.join(said)}"
        raise SlimcError("curves-mismatch", message, where, help)
