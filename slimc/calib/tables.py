"""Calibration tables that were made before: looked up by key, made where none fits, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slimc.calib.table import CalibrationTable
from slimc.errors import SlimcError
from slimc.io.json_file import read_text
from slimc.io.write import replaced


class Tables:
    """Hands out calibration tables by key. This one makes each anew and keeps none.

    A key names all that a table follows from (`calib.collect.key`): a table is the same whether it
    is made or found, so a pass that asks for one depends on nothing else.
    """

    def table(self, key: str, make: Callable[[], CalibrationTable]) -> CalibrationTable:
        """Return the table with this key."""
        return make()

    def summary(self) -> str:
        """Say in one line what was found and made, for people; empty where nothing is kept."""
        return ""


class StoredTables(Tables):
    """Keeps tables in a `.json` file, or in a folder that holds one file for each key.

    A file holds one table, that of the last compile; a folder keeps those of all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._is_file = self.path.suffix == ".json" and not self.path.is_dir()
        if not self._is_file and self.path.exists() and not self.path.is_dir():
            raise SlimcError(
                "bad-calibration-table",
                f"'{self.path}' is neither a folder nor a .json file",
                "the place of the calibration cache",
                "for example ranges.json, or a folder",
            )
        self._found = self._made = 0

    def table(self, key: str, make: Callable[[], CalibrationTable]) -> CalibrationTable:
        """Return the table with this key; one that is made is written in one step.

        Raises SlimcError `bad-calibration-table` where the file is no table: it is not overwritten.
        """
        place = self.path if self._is_file else self.path / f"{key}.json"
        known = _read(place)
        if known is not None and known.key == key:
            self._found += 1
            return known
        made = make()
        place.parent.mkdir(parents=True, exist_ok=True)
        with replaced(place) as file:
            file.write(made.to_json().encode())
        self._made += 1
        return made

    def summary(self) -> str:
        parts = []
        if self._found:
            parts.append("ranges are those calibrated earlier from the same graph and samples")
        if self._made:
            parts.append("ranges were calibrated anew and written")
        return f"{'; '.join(parts)} ('{self.path}')" if parts else ""


def _read(path: Path) -> CalibrationTable | None:
    """Read a table, None where there is no file."""
    if not path.exists():
        return None
    try:
        return CalibrationTable.from_json(read_text(path))
    except (SlimcError, ValueError, OSError) as error:
        why = error.message if isinstance(error, SlimcError) else str(error)
        raise SlimcError(
            "bad-calibration-table", why, f"'{path}'", "name another file, or delete this one"
        ) from error
