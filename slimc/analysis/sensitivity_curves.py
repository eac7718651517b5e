"""Measured curves: what the loss of a share of each family does to the outputs, and their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

from slimc.errors import SlimcError
from slimc.io.json_file import BROKEN, parse_json, told

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


def curves_text(curves: Curves) -> str:
    """Write curves as JSON; `parse_curves` reads it back equal."""
    made = {
        "format": FORMAT,
        **asdict(curves.setup),
        "families": [
            {"name": c.family, "width": c.width, "points": [asdict(p) for p in c.points]}
            for c in curves.curves
        ],
    }
    return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_curves(text: str, where: str) -> Curves:
    """Read what `curves_text` wrote. Raises SlimcError "bad-curves"."""
    try:
        found = parse_json(text)
    except ValueError as error:
        raise _bad(str(error), where) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        said = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise _bad(f"found format {said!r}, expected '{FORMAT}'", where)
    try:
        setup = Setup(**{f.name: found[f.name] for f in fields(Setup)})
        curves = tuple(_curve(one) for one in found["families"])
        _check(setup, curves)
    except BROKEN as error:
        raise _bad(told(error), where) from error
    return Curves(setup, curves)


def _curve(one: dict[str, Any]) -> Curve:
    points = tuple(Point(float(p["ratio"]), p["kept"], float(p["error"])) for p in one["points"])
    return Curve(one["name"], one["width"], points)


def _check(setup: Setup, curves: Sequence[Curve]) -> None:
    for field in fields(Setup):
        value, kind = getattr(setup, field.name), {"str": str, "int": int}[str(field.type)]
        if type(value) is not kind:
            raise ValueError(f"{field.name} is {value!r}, not of type {field.type}")
    names = [curve.family for curve in curves]
    if len(set(names)) < len(names):
        raise ValueError("a family is there twice")
    for curve in curves:
        if not isinstance(curve.family, str) or type(curve.width) is not int:
            raise ValueError(f"name {curve.family!r} or width {curve.width!r} of a family")
        ratios = [point.ratio for point in curve.points]
        if ratios != sorted(set(ratios)):
            raise ValueError(f"the ratios of family '{curve.family}' do not rise")
        for point in curve.points:
            sound = type(point.kept) is int and 1 <= point.kept <= curve.width
            if not (sound and 0 < point.ratio < 1 and isfinite(point.error)):
                raise ValueError(f"family '{curve.family}' of {curve.width} units has {point}")


def _bad(message: str, where: str) -> SlimcError:
    help = "measure again: slimc sensitivity MODEL -o another.json"
    return SlimcError("bad-curves", message, where, help)
