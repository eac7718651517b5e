from __future__ import annotations

import pytest

from slimc.io.element_types import accepts_dtype
from slimc.ir.graph import Node
from slimc.ir.types import DType

F16 = DType.F16


@pytest.mark.parametrize(
    ("op", "operands", "wanted"),
    [
        ("Conv", 3, ((True,) * 3, (True,))),
        ("Resize", 3, ((True, True, False), (True,))),
        ("NonMaxSuppression", 2, ((False, False), (False,))),
        ("Concat", 4, ((True,) * 4, (True,))),
        ("Shape", 1, ((True,), (False,))),
    ],
)
def test_what_the_schema_says(
    op: str, operands: int, wanted: tuple[tuple[bool, ...], tuple[bool, ...]]
) -> None:
    node = Node(op, ("x",) * operands, ("y",), "n")
    assert accepts_dtype(node, F16) == wanted


def test_it_depends_on_the_opset() -> None:
    node = Node("CumSum", ("x", "axis"), ("y",), "n")
    assert accepts_dtype(node, F16, 13) == ((False, False), (False,))
    assert accepts_dtype(node, F16, 14) == ((True, False), (True,))


def test_an_operator_without_a_schema_is_not_known() -> None:
    assert accepts_dtype(Node("Odd", ("x",), ("y",), "n", domain="mine"), F16) is None
