from __future__ import annotations

import pytest

from slimc.ir.types import Shape
from slimc.ops.refactor import refactor


@pytest.mark.parametrize(
    ("old", "new", "left", "right"),
    [
        ((2, 12), (6, 4), "r0 (r1 r2)", "(r0 r1) r2"),
        ((4, 6), (4, 6), "r0 r1", "r0 r1"),
        ((4, 6), (24,), "r0 r1", "(r0 r1)"),
        ((1, 5), (5, 1), "1 r0", "r0 1"),
        ((1, 5), (1, 5), "r0 r1", "r0 r1"),
        ((), (1, 1), "", "1 1"),
        (("n", 12), ("n", 3, 4), "r0 (r1 r2)", "r0 r1 r2"),
        (("n", "h", "w", 8), ("n", "h*w", 8), "r0 r1 r2 r3", "r0 (r1 r2) r3"),
        (("n", "2*h"), ("n", 2, "h"), "r0 (r1 r2)", "r0 r1 r2"),
        ((6, 4), (8, 3), "x0! x1!", "y0! y1!"),
        ((5, 6, 4), (5, 8, 3), "r0 x1! x2!", "r0 y1! y2!"),
        (("h+1", 4), ("w", 4), "x0! x1!", "y0! y1!"),
        ((0, 4), (4, 0), "x0! x1!", "y0! y1!"),
    ],
)
def test_common_factors(old: Shape, new: Shape, left: str, right: str) -> None:
    a, b, _ = refactor(old, new)
    assert (" ".join(a), " ".join(b)) == (left, right)


def test_sizes_of_the_factors() -> None:
    assert refactor((2, 12), (6, 4))[2] == {"r0": 2, "r1": 3, "r2": 4}
    assert refactor((6, 4), (8, 3))[2] == {"y0": 8, "y1": 3}
