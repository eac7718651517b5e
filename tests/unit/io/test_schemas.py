from __future__ import annotations

import pytest
from onnx import AttributeProto

from slimc.io.schemas import EmptyList, default_of, find_schema, find_violation, misfit, type_text
from slimc.ir.graph import Node
from slimc.ir.text import parse_text
from slimc.ir.types import DType, MapType, OptionalType, SequenceType, TensorType

F32 = TensorType(DType.F32, (2,))
BF16 = TensorType(DType.BF16, (2,))


def test_an_empty_list_knows_of_what() -> None:
    empty = EmptyList.of(AttributeProto.FLOATS)
    assert empty == ()
    assert empty.kind == AttributeProto.FLOATS
    assert EmptyList().kind == AttributeProto.INTS


def test_schemas_of_an_opset() -> None:
    assert find_schema("Gelu", 20) is not None
    assert find_schema("Gelu", 19) is None
    assert find_schema("Upsample", 10) is None
    assert find_schema("NoSuch", 20) is None


def test_defaults() -> None:
    assert default_of("Gemm", "alpha") == 1.0
    assert default_of("Gelu", "approximate") == b"none"
    assert default_of("Conv", "strides") is None
    assert default_of("NoSuch", "x") is None


def test_types_as_schemas_write_them() -> None:
    assert type_text(F32) == "tensor(float)"
    assert type_text(OptionalType(SequenceType(BF16))) == "optional(seq(tensor(bfloat16)))"
    assert type_text(MapType(DType.I64, F32)) == "map(int64, tensor(float))"
    assert type_text(None) is None


@pytest.mark.parametrize(
    ("node", "opset", "told"),
    [
        (Node("Relu", ("x",), ("y",), "n"), 13, ""),
        (Node("Elu", ("h",), ("y",), "n"), 22, ""),
        (Node("Elu", ("h",), ("y",), "n"), 21, "of type bf16[2] came with a later opset"),
        (Node("Elu", ("x",), ("h",), "n"), 21, "result 'h' of type bf16[2]"),
        (Node("Gelu", ("x",), ("y",), "n"), 17, "the operator came with opset 20"),
        (Node("Cast", ("x",), ("y",), "n", {"to": 1, "saturate": 0}), 18, "attribute 'saturate'"),
        (Node("ReduceMax", ("x", "a"), ("y",), "n"), 17, "operand 1 came with a later opset"),
        (Node("Concat", ("x",) * 9, ("y",), "n", {"axis": 0}), 11, ""),
        (Node("Unsqueeze", ("x",), ("y",), "n"), 20, "it lacks operand 1, 'axes'"),
        (Node("Relu", ("x",), ("y",), "n", domain="mine"), 13, ""),
        (Node("NoSuch", ("x",), ("y",), "n"), 13, ""),
    ],
)
def test_what_does_not_fit(node: Node, opset: int, told: str) -> None:
    found = misfit(node, opset, {"x": F32, "h": BF16})
    assert told in found
    assert bool(told) == bool(found)


FAULTS = {
    "%y = Relu()": "0 operands, but ONNX allows at least 1",
    "%y = Relu(%x, %x)": "2 operands, but ONNX allows at most 1",
    "%y, %z = Relu(%x)": "2 results, but ONNX allows at most 1",
    "%y = Conv(_, %x)": "it lacks operand 0, 'X'",
    "%y = Cast(%x)": "it lacks attribute 'to'",
    "%y = Concat(%x, %x) {axis=0.5}": "its attribute 'axis' has the wrong type",
    "%y = Transpose(%x) {perm=1}": "its attribute 'perm' has the wrong type",
    "%y = Conv(%i, %i)": "its operand 'i' is i64[1,2,3], which ONNX does not allow there",
}


@pytest.mark.parametrize("call", list(FAULTS))
def test_what_onnx_does_not_allow_of_a_node(call: str) -> None:
    graph = parse_text(f"graph (%x: f32[1,2,3], %i: i64[1,2,3]) -> (%y)\n  {call}")
    assert FAULTS[call] in find_violation(graph.nodes[0], graph.types)


def test_sound_nodes_and_those_of_other_domains_have_no_fault() -> None:
    graph = parse_text(
        "graph (%x: f32[1,2,3]) -> (%y)\n  opset own 1\n  %a = own.Thing()\n"
        "  %b = Concat(%x, %x, %x) {axis=0}\n  %c = Clip(%b, _, _)\n  %y = Add(%c, %a)"
    )
    assert [find_violation(node, graph.types) for node in graph.nodes] == [""] * 4
