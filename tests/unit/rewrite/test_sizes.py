from __future__ import annotations

import pytest

from slimc.ir.types import Shape
from slimc.rewrite.sizes import target_of


@pytest.mark.parametrize(
    ("sizes", "source", "wanted"),
    [
        ((2, 3), (6,), [2, 3]),
        (("N", 3, 4), ("N", 12), [-1, 3, 4]),
        (("N", 12, "h*w"), ("N", 12, "h", "w"), [0, 12, -1]),
        (("N", "h", 4), ("N", "h", 2, 2), [-1, 0, 4]),
        ((None, 3), ("N",), [-1, 3]),
        (("N", "h"), ("h", "N"), None),
        ((None, None), None, None),
        ((0, "N"), ("N", 0), None),
    ],
)
def test_targets(sizes: Shape, source: Shape | None, wanted: list[int] | None) -> None:
    target = target_of(sizes, source)
    assert (None if target is None else target.tolist()) == wanted
