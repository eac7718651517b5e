from __future__ import annotations

import pytest

from slimc.ir.types import Shape
from slimc.ops.spelling import broadcast


@pytest.mark.parametrize(
    ("shapes", "texts", "result"),
    [
        ([(2, 3), (3,)], ["a0 a1", "a1"], "a0 a1"),
        ([(2, 1), (1, 3)], ["a0 1", "1 a1"], "a0 a1"),
        ([(1, 1), (1,)], ["a0 a1", "a1"], "a0 a1"),
        ([(), (2,)], ["[]", "a0"], "a0"),
        ([("n", 1), ("n", "h")], ["a0 1", "a0 a1"], "a0 a1"),
        ([("n",), (4,)], ["a0", "a0"], "a0"),
        ([("n",), ("m",)], ["a0_0!", "a0_1!"], "a0!"),
        ([(None,), ("m",)], ["a0_0!", "a0_1!"], "a0!"),
        ([("m", 2), None, (1, 1)], ["a0 a1", "", "1 1"], "a0 a1"),
    ],
)
def test_broadcast(shapes: list[Shape | None], texts: list[str], result: str) -> None:
    found, axes = broadcast(shapes)
    assert found == texts
    assert " ".join(axes) == result
