from __future__ import annotations

import numpy as np
import pytest

from slimc.ir.graph import Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, Quant, UnknownType, make_table


def call(op: str = "Op", *shapes: tuple[int, ...], **attrs: object) -> Call:
    types = tuple(TensorType(DType.F32, shape) for shape in shapes)
    return Call(op, attrs, types, (None,) * len(types))


def test_what_a_rule_sees_of_a_node() -> None:
    kind = TensorType(DType.I64, (2,))
    seen = Call(
        "Op", {"mode": b"edge", "axis": -1}, (kind, None, UnknownType()), (np.array([3, 4]),)
    )
    assert seen.attr("mode") == "edge"
    assert seen.attr("other", 5) == 5
    assert seen.axis(0) == 0
    assert (seen.has_operand(0), seen.has_operand(1), seen.has_operand(2), seen.has_operand(3)) == (
        True, False, True, False
    )  # fmt: skip
    assert seen.ints(0) == [3, 4]
    assert seen.int_list("axes", 0) == [3, 4]
    assert seen.int_list("axis") == [-1]
    with pytest.raises(Unmatched, match="operand 2 has no known rank"):
        seen.shape(2)
    with pytest.raises(Unmatched, match="it has no attribute perm"):
        seen.required_attr("perm")
    with pytest.raises(Unmatched, match="axis 3 of an operand of rank 1"):
        Call("Op", {"axis": 3}, (kind,), (None,)).axis(0)


def test_elements_with_names_are_no_list() -> None:
    kind = TensorType(DType.I64, (2,))
    seen = Call("Op", {}, (kind,), (np.array(["n", 4], object),))
    assert seen.ints(0) is None
    with pytest.raises(Unmatched, match="axes is computed at run time"):
        seen.int_list("axes", 0)


def test_tables_are_values() -> None:
    mine = make_table(Op("my.Swirl", "*a -> *a"))
    both = OPS | mine
    assert both.get("my.Swirl") is mine.rows["my.Swirl"]
    assert OPS.get("my.Swirl") is None
    with pytest.raises(ValueError, match=r"duplicate operators: my\.Swirl"):
        both | mine
    with pytest.raises(ValueError, match="duplicate operator: A"):
        make_table(Op("A"), (Op("A"),))


def test_macs_are_products_of_labels() -> None:
    conv = OPS.rows["Conv"]
    bound = conv.bind(call("Conv", (1, 4, 5, 5), (6, 2, 3, 3), group=2))
    (names,) = conv.mac_labels(bound)
    assert sorted(names) == ["g", "i", "k0", "k1", "n", "o", "t0", "t1"]
    gru = OPS.rows["GRU"]
    bound = gru.bind(call("GRU", (5, 2, 3), (1, 12, 3), (1, 12, 4), hidden_size=4))
    assert [sorted(names) for names in gru.mac_labels(bound)] == [
        ["d", "h", "i", "n", "q", "t"],
        ["d", "h", "h", "n", "q", "t"],
    ]


def test_an_operand_that_is_absent_costs_nothing() -> None:
    transpose = OPS.rows["Einsum"]
    bound = transpose.bind(call("Einsum", (2, 3), equation=b"ij->ji"))
    assert transpose.mac_labels(bound) == ()


def test_types_of_results() -> None:
    assert OPS.rows["Cast"].result_dtypes(call("Cast", (2,), to=7)) == (DType.I64,)
    assert OPS.rows["Equal"].result_dtypes(call("Equal", (2,), (2,))) == (DType.BOOL,)
    assert OPS.rows["Relu"].result_dtypes(call("Relu", (2,))) == (DType.F32,)


def test_a_call_that_makes_no_sense_is_unmatched() -> None:
    with pytest.raises(Unmatched):
        OPS.rows["Transpose"].bind(call("Transpose", (2, 3), perm=(0, 0)))
    with pytest.raises(Unmatched):
        OPS.rows["Gemm"].bind(call("Gemm", (2, 3, 4), (3, 4)))
    assert OPS.rows["Concat"].elements(call("Concat", (2,), (2, 3), axis=0)) == (None,)


def test_the_table_answers_for_a_node() -> None:
    def node(op: str, *inputs: str) -> Node:
        return Node(op, inputs, ("y",), "n")

    conv, relu, gather, own = (
        node("Conv", "x", "w"), node("Relu", "x"), node("Gather", "t", "i"), node("Own", "x")
    )  # fmt: skip
    weighted = OPS.weighted(conv)
    assert weighted is not None
    assert (weighted.data, weighted.weight) == (0, 1)
    assert [OPS.weight_of(n) for n in (conv, node("Conv", "x"), relu, own)] == ["w", "", "", ""]
    assert [OPS.parameter(n) for n in (conv, node("Conv", "x"), gather, own)] == [1, None, 0, None]
    assert [OPS.clamp(n) is not None for n in (relu, conv, own)] == [True, False, False]
    assert [OPS.quant(n) for n in (conv, gather, own)] == [
        Quant.WEIGHTED, Quant.PASS_THROUGH, Quant.FLOAT_ONLY
    ]  # fmt: skip
