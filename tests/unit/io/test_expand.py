from __future__ import annotations

from slimc.io.expand import expand_function
from slimc.ir.graph import Node
from slimc.ir.types import DType, TensorType

F32 = TensorType(DType.F32, ("N", 4))


def test_a_function_becomes_its_body() -> None:
    body = expand_function(Node("HardSwish", ("x",), ("y",), "act"), {"x": F32})
    assert body is not None
    assert (body.inputs, body.outputs) == (("x",), ("y",))
    assert [n.op for n in body.nodes] == ["HardSigmoid", "Mul"]
    assert body.type_of("y") == F32


def test_attributes_left_out_have_their_defaults() -> None:
    body = expand_function(Node("Celu", ("x",), ("y",), "act"), {"x": F32})
    assert body is not None
    assert all(n.op != "Celu" for n in body.nodes)


def test_what_is_no_function_or_of_unknown_type() -> None:
    assert expand_function(Node("Conv", ("x", "w"), ("y",), "conv"), {"x": F32, "w": F32}) is None
    assert expand_function(Node("HardSwish", ("x",), ("y",), "act"), {}) is None
    assert (
        expand_function(Node("HardSwish", ("x",), ("y",), "act", domain="mine"), {"x": F32}) is None
    )
