"""A row is enough: an operator of a plug-in is folded, cut and quantized as ours are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.shapes import infer, retype
from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.ops.groups import GROUPS, members
from slimc.ops.op import Op, Quant, Weighted, make_table
from slimc.passes.base import Pass, PassResult
from slimc.passes.canonical.fold_batch_norm import FoldBatchNorm
from slimc.passes.canonical.fold_scale import FoldScale
from slimc.passes.canonical.fuse_gemm import FuseGemm
from slimc.passes.canonical.merge_arithmetic import MergeArithmetic
from slimc.passes.canonical.merge_layout import MergeLayout
from slimc.passes.canonical.remove_identities import RemoveIdentities
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.integer_nodes import select_integer_nodes
from slimc.passes.quant.scale_groups import make_scale_groups
from slimc.passes.schemes import schemes_of
from slimc.rewrite.pattern import parse_pattern
from slimc.targets.contractions import weight_of
from slimc.targets.target import Grid, Placement, Quantize, Subject, Target

FUSED = "com.microsoft.FusedConv"  # onnxruntime runs it, and our table has no row of it
LINEAR = "com.example.Linear"  # its operands: weight, data, nothing that counts, bias
VIEW = "com.example.View"
SHUFFLE = "com.example.Shuffle"
CONV, RESHAPE, TRANSPOSE, MATMUL = (
    OPS.rows[kind] for kind in ("Conv", "Reshape", "Transpose", "MatMul")
)
ROWS = OPS | make_table(
    replace(CONV, kind=FUSED),
    replace(MATMUL, kind="com.example.Product"),
    Op(
        LINEAR,
        lambda call: f"o i, n i, ?{', o' if call.has_operand(3) else ''} -> n o",
        dtypes=1,
        quant=Quant.WEIGHTED,
        weighted=Weighted(data=1, weight=0, bias=3, channel="o"),
        macs=((0, 1),),
    ),
    replace(RESHAPE, kind=VIEW),
    replace(TRANSPOSE, kind=SHUFFLE),
    Op("com.example.Root", "*a -> *a", result=(0.0, np.inf)),
    Op("com.example.Relu6", "*a -> *a", clamp=lambda call: (0.0, 6.0)),
)  # fmt: skip

U8 = Grid(DType.U8, 0, 255, symmetric=False)
W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)


def target(*kinds: str) -> Target:
    """Make a target that lists these as contractions, and moves integers by VIEW."""
    wishes = {**{kind: Quantize(U8, W8) for kind in kinds}, VIEW: Quantize(U8, between=True)}
    placement = Placement(True, "absorb", "int32", "integers", "both")
    return Target("somewhere", "test", "", schemes={"int8": wishes}, placement=placement)


def context(graph: Graph, device: Target | None = None) -> Context:
    data = Data.synthesize(graph, {"N": 2}, 0, 1)
    return Context(ROWS, device or target(FUSED), data, {"N": 2})


def read(text: str) -> Graph:
    return retype(parse_text(text), ROWS)


def run(one: Pass, text: str) -> PassResult:
    graph = read(text)
    return one.run(graph, context(graph))


def kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes]


CONVOLUTION = """
graph (%x: f32[N,4,8,8]) -> (%y)
  %w = constant f32[8,4,3,3] random(0)
  %w2 = constant f32[6,8,1,1] random(1)
  %s = constant f32[8] random(2, 0.5..1)
  %t = constant f32[8] random(3)
  %k = constant f32[8,1,1] random(4, 0.5..1)
"""
FOLDED = {
    "batch-norm-behind": (
        FoldBatchNorm(),
        """  %a = com.microsoft.FusedConv(%x, %w) {pads=[1, 1, 1, 1]} @conv
  %y = BatchNormalization(%a, %s, %t, %t, %s) @norm""",
    ),
    "batch-norm-before": (
        FoldBatchNorm(),
        """  %a = com.microsoft.FusedConv(%x, %w) @first
  %r = Relu(%a) @relu
  %b = BatchNormalization(%r, %s, %t, %t, %s) @norm
  %y = com.microsoft.FusedConv(%b, %w2) @conv""",
    ),
    "scale-behind": (
        FoldScale(),
        """  %a = com.microsoft.FusedConv(%x, %w) @conv
  %y = Mul(%a, %k) @scale""",
    ),
    "bias-behind": (
        FoldScale(),
        """  %a = com.microsoft.FusedConv(%x, %w) @conv
  %y = Add(%a, %k) @bias""",
    ),
    "scale-before": (
        FoldScale(),
        """  %a = com.microsoft.FusedConv(%x, %w) @first
  %r = Relu(%a) @relu
  %b = Mul(%r, %k) @scale
  %y = com.microsoft.FusedConv(%b, %w2) @conv""",
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_weights_of_a_new_contraction_take_what_stands_beside_it(name: str) -> None:
    one, lines = FOLDED[name]
    before = read(CONVOLUTION + lines)
    result = one.run(before, context(before))
    assert set(kinds(result.graph)) <= {FUSED, "Relu"}
    feed = Data.synthesize(before, {"N": 2}, 0, 1)
    (wanted,), (got,) = (_values(graph, feed) for graph in (before, result.graph))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def _values(graph: Graph, data: Data) -> list[np.ndarray]:
    (feed,) = data
    return list(Session(graph).run(feed).values())


def test_a_padded_convolution_keeps_the_norm_before_it() -> None:
    lines = """  %a = com.microsoft.FusedConv(%x, %w) @first
  %r = Relu(%a) @relu
  %b = BatchNormalization(%r, %s, %t, %t, %s) @norm
  %y = com.microsoft.FusedConv(%b, %w2) {pads=[1, 1, 1, 1]} @conv"""
    assert "BatchNormalization" in kinds(run(FoldBatchNorm(), CONVOLUTION + lines).graph)


PRODUCT = """
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[8,4] random(0)
  %k = constant f32[8] random(1)
  %a = com.example.Linear(%w, %x) @linear
  %y = Add(%a, %k) @bias
"""


def test_operands_stand_where_the_row_has_them() -> None:
    result = run(FoldScale(), PRODUCT)
    (node,) = result.graph.nodes
    weight, data, nothing, bias = node.inputs
    assert (node.kind, data, nothing) == (LINEAR, "x", "")
    np.testing.assert_array_equal(result.graph.constants[weight].array, _constant(PRODUCT, "w"))
    np.testing.assert_array_equal(result.graph.constants[bias].array, _constant(PRODUCT, "k"))


def _constant(text: str, name: str) -> np.ndarray:
    return parse_text(text).constants[name].array


def test_a_new_product_of_matrices_without_a_bias_becomes_a_gemm() -> None:
    text = PRODUCT.replace("f32[8,4] random(0)", "f32[4,8] random(0)")
    text = text.replace("com.example.Linear(%w, %x)", "com.example.Product(%x, %w)")
    assert kinds(run(FoldScale(), text).graph) == ["Gemm"]


CHAIN = """
graph (%x: f32[N,4,8,8]) -> (%y)
  %w = constant f32[32,4,3,3] random(0)
  %v = constant f32[6,32,1,1] random(1)
  %shape = constant i64[4] [0, 0, 36, 1]
  %a = com.microsoft.FusedConv(%x, %w) @first
  %m = com.example.View(%a, %shape) @view
  %y = com.microsoft.FusedConv(%m, %v) @last
"""


def test_channels_leave_new_operators() -> None:
    graph = read(CHAIN)
    one = RemoveChannels(ratio=0.5, budget="channels", score="magnitude", compare="score", align=1)
    result = one.run(graph, context(graph))
    assert result.graph.constants["w"].array.shape == (16, 4, 3, 3)
    assert result.graph.constants["v"].array.shape == (6, 16, 1, 1)


def test_a_new_contraction_gets_records() -> None:
    text = CHAIN.replace("com.example.View(%a, %shape)", "Relu(%a)")
    graph = read(text)
    result = AssignScales(calibrator="minmax").run(graph, context(graph))
    assert {node.name for node in result.graph.nodes if node.integer} == {"first", "last"}
    assert {"x", "w", "v", "y"} <= set(result.graph.records)
    assert result.graph.records["w"].scale.shape == (32,)


def test_values_around_a_new_mover_share_one_scale() -> None:
    graph = read(CHAIN)
    ctx = context(graph)
    schemes = schemes_of(graph, ctx.target, "int8", (), (), None, "assign-scales")
    choice = select_integer_nodes(graph, ctx, infer(graph, ROWS, ctx.sizes), schemes)
    assert set(choice.sites) == {"first", "view", "last"}
    assert ctx.target.placement is not None
    shared = make_scale_groups(graph, ROWS, ctx.target.placement, choice)
    assert {"a", "m"} in [set(group.values) for group in shared]


MOVED: Mapping[str, tuple[Pass, str, list[str]]] = {
    "two views are one": (
        MergeLayout(),
        """graph (%x: f32[N,4,6]) -> (%y)
  %a = constant i64[2] [-1, 24]
  %b = constant i64[3] [-1, 8, 3]
  %v = com.example.View(%x, %a)
  %y = com.example.View(%v, %b)""",
        ["Reshape"],
    ),
    "a view that keeps the shape goes": (
        RemoveIdentities(),
        """graph (%x: f32[N,4,6]) -> (%y)
  %a = constant i64[3] [0, 4, 6]
  %v = com.example.View(%x, %a)
  %y = Relu(%v)""",
        ["Relu"],
    ),
    "views around a product": (
        FuseGemm(),
        """graph (%x: f32[2,4,6]) -> (%y)
  %a = constant i64[3] [2, 2, 12]
  %b = constant i64[2] [4, 5]
  %w = constant f32[12,5] random(0)
  %k = constant f32[5] random(1)
  %v = com.example.View(%x, %a)
  %p = MatMul(%v, %w)
  %s = Add(%p, %k)
  %y = com.example.View(%s, %b)""",
        ["Reshape", "Gemm", "Reshape"],
    ),
    "nothing negative": (
        MergeArithmetic(),
        """graph (%x: f32[N,4]) -> (%y)
  %v = com.example.Root(%x)
  %y = Relu(%v)""",
        ["com.example.Root"],
    ),
    "two clamps": (
        MergeArithmetic(),
        """graph (%x: f32[N,4]) -> (%y)
  %low = constant f32[] 1
  %v = com.example.Relu6(%x)
  %y = Clip(%v, %low)""",
        ["Clip"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_rules_of_a_group_take_a_new_operator(name: str) -> None:
    one, text, wanted = MOVED[name]
    assert kinds(run(one, text).graph) == wanted


def test_a_stored_weight_is_seen_through_a_new_mover() -> None:
    graph = read("""graph (%x: f32[N,4]) -> (%y)
  %q = constant i8[8,4] random(0, -100..100)
  %s = constant f32[8] random(1, 0.5..1)
  %d = DequantizeLinear(%q, %s) {axis=0} @dequantize
  %w = com.example.Shuffle(%d) {perm=[1, 0]} @shuffle
  %y = MatMul(%x, %w)""")
    weight = weight_of(Subject(graph, ROWS, target(FUSED), None), "w")  # type: ignore[arg-type]
    assert weight is not None
    assert (weight.conversion.node.name, weight.axis) == ("dequantize", 1)


def test_groups_have_members_and_only_these() -> None:
    assert members(OPS, "weighted") == ("Conv", "ConvTranspose", "Gemm", "MatMul")
    assert members(OPS, "sum") == ("Add",)
    for group in GROUPS:
        assert members(OPS, group), f"no operator is of group {group}"


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(SlimcError, match="no group of operators is called 'weigthed'") as raised:
        parse_pattern("@weigthed(x, w)")
    assert raised.value.help.startswith("did you mean 'weighted'?")
