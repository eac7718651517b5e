"""The file of measured curves: written whole after every point, and gone on with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from slimc.analysis.sensitivity_curves import Curves, curves_text, parse_curves
from slimc.errors import SlimcError
from slimc.io.json_file import read_text
from slimc.io.write import replace_file
from slimc.passes.base import Pass
from slimc.passes.prune.measured_damage import check_setup
from slimc.passes.traits import Trait

MAX_BYTES = 16 << 20  # of curves: a point takes some 80 bytes
_HELP = "name another file with -o, or delete it"


def load_curves(path: str | Path) -> Curves:
    """Read curves. Raises SlimcError "bad-curves"."""
    path = Path(path)
    where = f"'{path}'"
    try:
        text = read_text(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        what = f"the file cannot be read: {error.strerror}" if isinstance(error, OSError) else error
        help = "slimc sensitivity MODEL writes one"
        raise SlimcError("bad-curves", str(what), where, help) from error
    return parse_curves(text, where)


def curves_for(source: Curves | str | Path | None, passes: Iterable[Pass]) -> Curves | None:
    """Return the curves that passes are to choose by. Raises SlimcError where none of them does."""
    if source is None:
        return None
    removals = [pass_ for pass_ in passes if Trait.CUTS_CHANNELS in pass_.traits]
    wrong = "" if removals else "no pass of this compile removes channels"
    if len(removals) > 1:
        wrong = f"the curves hold for the first of {len(removals)} rounds of removal only"
    for pass_ in removals:
        wrong = pass_.ignores_curves or wrong
    if wrong:
        help = "leave it out, or choose by it: --passes prune"
        raise SlimcError("bad-option-value", wrong, "option --sensitivity", help)
    return source if isinstance(source, Curves) else load_curves(source)


def save_curves(curves: Curves, path: Path) -> None:
    """Write curves; the file is there whole or as it was."""
    with replace_file(path) as file:
        file.write(curves_text(curves).encode())


def gone_on_with(path: Path, bare: Curves) -> Curves:
    """Return the curves of a file, or `bare`, which has no points, where there is none.

    Raises SlimcError "curves-mismatch" where the file was measured in another way.
    """
    if not path.exists():
        return bare
    known = load_curves(path)
    check_setup(known.setup, bare.setup, f"'{path}'", _HELP)
    if [(c.family, c.width) for c in known.curves] != [(c.family, c.width) for c in bare.curves]:
        raise SlimcError(
            "curves-mismatch",
            "it names other families than the model has",
            f"'{path}'",
            _HELP,
        )
    return known
