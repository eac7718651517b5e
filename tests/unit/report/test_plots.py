from __future__ import annotations

import struct

import numpy as np
import pytest

from slimc.analysis.sensitivity_curves import Curve, Curves, Point, Setup
from slimc.report.plots import draw_curves

RATIOS = (0.25, 0.5, 0.75)


def curves(count: int, worst: float = 1.5) -> Curves:
    errors = np.sort(np.random.default_rng(0).uniform(0, worst, (count, len(RATIOS))), axis=1)
    made = [
        Curve(
            f"/model.{i}/a_rather_long_name_of_a_block/conv/Conv",
            64,
            tuple(
                Point(r, round(64 * (1 - r)), float(e)) for r, e in zip(RATIOS, row, strict=True)
            ),
        )
        for i, row in enumerate(errors)
    ]
    return Curves(Setup("", "", "magnitude", "output error", 0, 64), tuple(made))


def size(png: bytes) -> tuple[int, int]:
    """Return width and height from the header."""
    found: tuple[int, int] = struct.unpack(">II", png[16:24])
    return found


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_curves_give_the_same_bytes(form: str) -> None:
    first = draw_curves(curves(5), form, "title")  # type: ignore[arg-type]
    assert first == draw_curves(curves(5), form, "title")  # type: ignore[arg-type]
    assert first != draw_curves(curves(5, 1.4), form, "title")  # type: ignore[arg-type]


def test_a_picture_grows_with_the_families() -> None:
    (few, low), (many, high) = (size(draw_curves(curves(n), "png", "title")) for n in (5, 120))
    assert few == many
    assert high > 3 * low


def test_every_family_has_its_row() -> None:
    drawn = draw_curves(curves(5), "svg", "title").decode()
    assert drawn.count("a_rather") == 0  # names are shortened in the middle
    assert drawn.count('id="ytick_5"') == 1


@pytest.mark.parametrize(
    "made",
    [
        curves(1),
        curves(2, 0.0),
        curves(3, 1000.0),
        curves(2).with_point("/model.0/a_rather_long_name_of_a_block/conv/Conv", Point(0.9, 6, 2)),
    ],
)
@pytest.mark.parametrize("score", [False, True])
def test_odd_curves_are_drawn_too(made: Curves, score: bool) -> None:
    assert size(draw_curves(made, "png", "title", score))[0] > 500
