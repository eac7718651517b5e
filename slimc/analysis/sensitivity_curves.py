"""Measured curves: what the loss of a share of each family does to the outputs, and their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from slimc.errors import SlimcError
from slimc.io.records import parse_record

FORMAT = "slimc-sensitivity-1"


@dataclass(frozen=True)
class Point:
    """One cut of one family alone: the share asked for, the units that stayed, and the error."""

    ratio: float
    kept: int
    error: float


@dataclass(frozen=True)
class Curve:
    """The points of one family, by rising ratio."""

    family: str
    width: int
    points: tuple[Point, ...] = ()

    def at(self, ratio: float) -> Point | None:
        """Return the point of a ratio, if it is measured."""
        return next((point for point in self.points if point.ratio == ratio), None)

    @property
    def mean(self) -> float:
        """The mean error of the points: one number to sort by."""
        return sum(p.error for p in self.points) / max(1, len(self.points))

    def with_point(self, point: Point) -> Curve:
        """Return the curve with one point more."""
        points = sorted((*self.points, point), key=lambda p: p.ratio)
        return replace(self, points=tuple(points))


@dataclass(frozen=True)
class Setup:
    """All that curves follow from.

    model, data: digests of the canonical graph and the samples. score: what orders the channels.
    metric: what the error is of, with the digest of the user's own. samples: how many were run.
    """

    model: str
    data: str
    score: str
    metric: str
    seed: int
    samples: int

    def __str__(self) -> str:
        on = f" on {self.samples} samples" if self.samples else ""
        return f"{self.metric}{on}, channels ordered by {self.score}"


@dataclass(frozen=True)
class Curves:
    """The curves of all families of a model that can be narrower, in graph order."""

    setup: Setup
    curves: tuple[Curve, ...]

    @property
    def count(self) -> int:
        """Points measured."""
        return sum(len(curve.points) for curve in self.curves)

    @property
    def ratios(self) -> tuple[float, ...]:
        """All ratios of any curve, rising."""
        return tuple(sorted({point.ratio for curve in self.curves for point in curve.points}))

    def of(self, family: str) -> Curve | None:
        """Return the curve of a family, if there is one."""
        return next((curve for curve in self.curves if curve.family == family), None)

    def with_point(self, family: str, point: Point) -> Curves:
        """Return the curves with one point more."""
        curves = [c.with_point(point) if c.family == family else c for c in self.curves]
        return replace(self, curves=tuple(curves))


@dataclass(frozen=True)
class _Family:
    """A curve, as the file has it."""

    name: str
    width: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class _File(Setup):
    """The file of curves, without its format."""

    families: tuple[_Family, ...]


def curves_text(curves: Curves) -> str:
    """Write curves as JSON; `parse_curves` reads it back equal."""
    families = tuple(_Family(c.family, c.width, c.points) for c in curves.curves)
    file = {"format": FORMAT, **asdict(_File(**vars(curves.setup), families=families))}
    return json.dumps(file, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_curves(text: str, where: str) -> Curves:
    """Read what `curves_text` wrote. Raises SlimcError "bad-curves"."""
    try:
        file = parse_record(text, _File, FORMAT)
        _check(file.families)
    except ValueError as error:
        help = (
            getattr(error, "help", "") or "measure again: slimc sensitivity MODEL -o another.json"
        )
        raise SlimcError("bad-curves", str(error), where, help) from error
    setup = Setup(**{f.name: getattr(file, f.name) for f in fields(Setup)})
    return Curves(setup, tuple(Curve(f.name, f.width, f.points) for f in file.families))


def _check(families: Sequence[_Family]) -> None:
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        raise ValueError("a family is there twice")
    for family in families:
        ratios = [point.ratio for point in family.points]
        if ratios != sorted(set(ratios)):
            raise ValueError(f"the ratios of family '{family.name}' do not rise")
        for point in family.points:
            if not (1 <= point.kept <= family.width and 0 < point.ratio < 1):
                raise ValueError(f"family '{family.name}' of {family.width} units has {point}")
