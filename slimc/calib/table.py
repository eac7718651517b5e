"""What calibration found: the range of every value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from slimc.errors import SlimcError
from slimc.io.json_file import parse_json, read_text
from slimc.io.records import structure
from slimc.io.write import replaced


@dataclass(frozen=True)
class Range:
    """The real numbers that a value takes, or is clipped to: low <= high."""

    low: float
    high: float

    def join(self, other: Range) -> Range:
        """Return the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class CalibrationTable:
    """Value -> range. `key` names what it was made from: graph, data and options (a digest)."""

    ranges: Mapping[str, Range]
    key: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))

    def to_json(self) -> str:
        """Write the table; numbers read back bit for bit."""
        ranges = {value: [r.low, r.high] for value, r in self.ranges.items()}
        return json.dumps({"key": self.key, "ranges": ranges}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CalibrationTable:
        """Read a table. Raises SlimcError `bad-calibration-table`."""
        try:
            file = structure(parse_json(text), _File)
            return cls({value: _range(*pair) for value, pair in file.ranges.items()}, file.key)
        except ValueError as error:
            raise SlimcError(
                "bad-calibration-table",
                f"this is no calibration table: {error}",
                help="delete it; it is made again from the samples",
            ) from error


@dataclass(frozen=True)
class _File:
    """The file of a table: value -> lowest and highest number."""

    key: str
    ranges: Mapping[str, tuple[float, float]]


def _range(low: float, high: float) -> Range:
    if low > high:
        raise ValueError(f"{low} to {high} is no range")
    return Range(low, high)


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
