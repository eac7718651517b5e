"""Calibration tables: the range of every value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from slimc.errors import SlimcError
from slimc.io.json_file import parse_json, read_text
from slimc.io.records import structure
from slimc.io.write import replace_file


@dataclass(frozen=True)
class ValueRange:
    """The floats that a value takes, or is clipped to: low <= high."""

    low: float
    high: float

    def join(self, other: ValueRange) -> ValueRange:
        """Return the smallest range that holds both."""
        return ValueRange(min(self.low, other.low), max(self.high, other.high))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class CalibrationTable:
    """The ranges of the values of a graph."""

    ranges: Mapping[str, ValueRange]
    """Range by value name."""
    key: str = field(default="")
    """Digest of what the table depends on: graph, data and options."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))

    def to_json(self) -> str:
        """Write the table; floats round-trip bit for bit."""
        ranges = {value: [r.low, r.high] for value, r in self.ranges.items()}
        return json.dumps({"key": self.key, "ranges": ranges}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CalibrationTable:
        """Read a table. Raises SlimcError `bad-calibration-table`."""
        try:
            file = structure(parse_json(text), _File)
            return cls({value: _read_range(*pair) for value, pair in file.ranges.items()}, file.key)
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


def _read_range(low: float, high: float) -> ValueRange:
    if low > high:
        raise ValueError(f"{low} to {high} is no range")
    return ValueRange(low, high)


class CalibrationTables:
    """Provides calibration tables by key. This class computes each table and keeps none.

    A key names everything that a table depends on (`calib.collect.table_key`): a stored table
    equals a computed one, so a pass that asks for one depends on nothing else.
    """

    def table(self, key: str, make: Callable[[], CalibrationTable]) -> CalibrationTable:
        """Return the table with this key."""
        return make()

    def summary(self) -> str:
        """Return a line on what was read and computed, for people; empty where nothing is kept."""
        return ""


class StoredTables(CalibrationTables):
    """Keeps tables in a `.json` file, or in a folder with one file per key.

    A file holds the table of the last compile; a folder holds those of all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._is_file = self.path.suffix == ".json" and not self.path.is_dir()
        if not self._is_file and self.path.exists() and not self.path.is_dir():
            raise SlimcError(
                "bad-calibration-table",
                f"'{self.path}' is neither a folder nor a .json file",
                "path of the calibration cache",
                "for example ranges.json, or a folder",
            )
        self._found = self._made = 0

    def table(self, key: str, make: Callable[[], CalibrationTable]) -> CalibrationTable:
        """Return the table with this key; a computed table is written atomically.

        Raises SlimcError `bad-calibration-table` where the file is no table: it is not overwritten.
        """
        path = self.path if self._is_file else self.path / f"{key}.json"
        stored = _read_table(path)
        if stored is not None and stored.key == key:
            self._found += 1
            return stored
        table = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as file:
            file.write(table.to_json().encode())
        self._made += 1
        return table

    def summary(self) -> str:
        parts = []
        if self._found:
            parts.append(
                "ranges were read: an earlier compile calibrated the same graph and samples"
            )
        if self._made:
            parts.append("ranges were calibrated and stored")
        return f"{'; '.join(parts)} ('{self.path}')" if parts else ""


def _read_table(path: Path) -> CalibrationTable | None:
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
