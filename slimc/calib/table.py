"""What calibration found: the range of every value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from slimc.errors import SlimcError
from slimc.io.json_file import BROKEN, parse_json


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
            table = parse_json(text)
            ranges = {str(value): _range(pair) for value, pair in table["ranges"].items()}
            return cls(ranges, str(table["key"]))
        except BROKEN as error:
            raise SlimcError(
                "bad-calibration-table",
                f"this is no calibration table: {error}",
                help="delete it; it is made again from the samples",
            ) from error


def _range(pair: Any) -> Range:
    low, high = (float(number) for number in pair)
    if not low <= high < float("inf") or low == -float("inf"):
        raise ValueError(f"{low} to {high} is no range")
    return Range(low, high)
