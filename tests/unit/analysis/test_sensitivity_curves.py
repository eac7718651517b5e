from __future__ import annotations

import json

import pytest

from slimc.analysis.sensitivity_curves import Curve, Curves, Point, Setup, curves_text, parse_curves
from slimc.errors import SlimcError

SETUP = Setup("m" * 64, "d" * 64, "magnitude", "output error", 0, 64)
CURVES = Curves(
    SETUP,
    (
        Curve("a", 8, (Point(0.25, 6, 0.1), Point(0.5, 4, 1 / 3))),
        Curve("b#2", 16, (Point(0.5, 8, 0.0),)),
        Curve("ü", 4),
    ),
)


def test_the_text_reads_back_equal() -> None:
    text = curves_text(CURVES)
    assert json.loads(text)["format"] == "slimc-sensitivity-1"
    assert parse_curves(text, "file") == CURVES


def test_points_stay_in_order_of_their_ratios() -> None:
    made = CURVES.with_point("a", Point(0.4, 5, 0.2))
    curve = made.of("a")
    assert curve is not None
    assert [point.ratio for point in curve.points] == [0.25, 0.4, 0.5]
    assert (made.count, CURVES.count) == (4, 3)
    assert made.ratios == (0.25, 0.4, 0.5)
    assert made.of("c") is None
    assert curve.at(0.3) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="slimc-sensitivity-0"), "expected 'slimc-sensitivity-1'"),
        (lambda d: d.pop("seed"), "seed: it is missing"),
        (lambda d: d.pop("families"), "families: it is missing"),
        (lambda d: d.update(seed="0"), "seed: expected a whole number, found '0'"),
        (lambda d: d["families"].append(d["families"][0]), "a family is there twice"),
        (lambda d: d["families"][0]["points"][0].update(kept=9), "family 'a' of 8 units"),
        (
            lambda d: d["families"][0]["points"][0].update(kept="6"),
            "points[0].kept: expected a whole number",
        ),
        (lambda d: d["families"][0]["points"][0].update(ratio=0.7), "do not rise"),
        (
            lambda d: d["families"][0]["points"][0].update(error=None),
            "expected a number, found None",
        ),
        (
            lambda d: d["families"][0].update(width=None),
            "families[0].width: expected a whole number, found None",
        ),
        (lambda d: d.update(families=[3]), "families[0]: expected a table, found 3"),
        (
            lambda d: d["families"][0]["points"][0].update(error=10**400),
            "found a number of more than 64 bits",
        ),
    ],
)
def test_a_changed_file_is_one_error(change: object, said: str) -> None:
    found = json.loads(curves_text(CURVES))
    change(found)  # type: ignore[operator]
    with pytest.raises(SlimcError, match=r".") as raised:
        parse_curves(json.dumps(found), "'x.json'")
    assert (raised.value.name, raised.value.where) == ("bad-curves", "'x.json'")
    assert said in raised.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', "[" * 100_000])
def test_other_text_is_one_error(text: str) -> None:
    with pytest.raises(SlimcError) as raised:
        parse_curves(text, "'x.json'")
    assert raised.value.name == "bad-curves"
