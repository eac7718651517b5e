from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optimized import integer_kernels, optimized_ops

from slimc.calib.data import Data
from slimc.calib.table import StoredTables
from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.passes.base import PassResult, traits_of
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import insert_qdq
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.traits import Trait
from slimc.targets.onnxruntime.devices import CPU_ARM64, CPU_VNNI
from slimc.targets.target import Grid, Placement, Quantize, Target

U8 = Grid(DType.U8, 0, 255, symmetric=False)
S8 = Grid(DType.I8, -128, 127, symmetric=True)
W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)
W7 = Grid(DType.I8, -64, 64, symmetric=True, per_channel=True)


def every_result(**more: Quantize) -> Target:
    """Make a target with integers from operator to operator."""
    contraction = Quantize(U8, W7)
    between = Quantize(U8, between=True)
    kinds = {"Conv": contraction, "MatMul": contraction, "Gemm": contraction, "Add": between,
             "Mul": between, "MaxPool": between, "Reshape": between, "Concat": between}  # fmt: skip
    placement = Placement(True, "absorb", "int32", "integers", "both")
    return Target("every", "test", "", schemes={"int8": {**kinds, **more}}, placement=placement)


def operands_only() -> Target:
    """Make a target with integers on the way into contractions."""
    contraction = Quantize(S8, W8, needs_constant=True)
    kinds = {"Conv": contraction, "MatMul": contraction, "Add": Quantize(S8)}
    placement = Placement(False, "after", "float", "integers", "skip")
    return Target("operands", "test", "", schemes={"int8": kinds}, placement=placement)


def assigned(graph: Graph, target: Target, feeds: int = 2, **options: object) -> PassResult:
    sizes = {"N": 2}
    data = Data.synthesize(graph, sizes, 0, feeds)
    one = replace(AssignScales(calibrator="minmax"), **options)
    return one.run(graph, Context(OPS, target, data, sizes))


def skipped(result: PassResult) -> dict[str, str]:
    return {r.node: r.message for r in result.remarks if r.kind == "skipped"}


def integer(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes if node.integer]


RESIDUAL = parse_text("""
graph (%x: f32[N,8,6,6]) -> (%y)
  %w1 = constant f32[8,8,3,3] random(0)
  %w2 = constant f32[8,8,3,3] random(1)
  %b1 = constant f32[8] random(3)
  %a: f32[N,8,6,6] = Conv(%x, %w1, %b1) {pads=[1, 1, 1, 1]} @first
  %b: f32[N,8,6,6] = Relu(%a) @relu
  %c: f32[N,8,6,6] = Conv(%b, %w2) {pads=[1, 1, 1, 1]} @second
  %d: f32[N,8,6,6] = Add(%b, %c) @add
  %y: f32[N,8,6,6] = Conv(%d, %w2) {pads=[1, 1, 1, 1]} @last
""")


def test_records_of_a_target_that_quantizes_results() -> None:
    graph = assigned(RESIDUAL, every_result()).graph
    assert graph.form is Form.QUANTIZED
    assert integer(graph) == ["first", "second", "add", "last"]
    assert set(graph.records) == {"x", "w1", "w2", "b", "c", "d", "y"}  # not a, nor the bias
    assert graph.records["b"].zero_point == 0  # the range behind the Relu


def test_records_of_a_target_that_quantizes_operands() -> None:
    graph = assigned(RESIDUAL, operands_only()).graph
    assert integer(graph) == ["first", "second", "add", "last"]
    assert set(graph.records) == {"x", "w1", "w2", "b", "d"}  # c is fused into the Add


def test_report_counts_contractions_and_lists_ranges() -> None:
    facts = assigned(RESIDUAL, every_result()).facts
    assert facts["integer"] == 3
    assert facts["samples"] == 4
    assert set(facts["ranges"]) == {"x", "b", "c", "d", "y"}
    assert facts["ranges"]["b"][0] == 0


def test_result_and_operand_of_a_pass_through_operator_are_one_record() -> None:
    graph = parse_text("""
graph (%x: f32[N,4,4,4]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %a: f32[N,4,4,4] = Conv(%x, %w) @one
  %b: f32[N,4,2,2] = MaxPool(%a) {kernel_shape=[2, 2], strides=[2, 2]} @pool
  %c: f32[N,4,2,2] = Relu(%b) @relu
  %y: f32[N,4,2,2] = Conv(%c, %w) @two
""")
    made = assigned(graph, every_result()).graph
    assert made.records["a"] is made.records["b"]
    assert made.records["a"].zero_point > 0
    assert made.records["c"].zero_point == 0


JOIN = parse_text("""
graph (%x: f32[N,4,4,4]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %v = constant f32[4,8,1,1] random(0)
  %big = constant f32[4,4,1,1] random(1, 10..20)
  %a: f32[N,4,4,4] = Conv(%x, %w) @small
  %b: f32[N,4,4,4] = Conv(%x, %big) @large
  %c: f32[N,8,4,4] = Concat(%a, %b) {axis=1} @join
  %y: f32[N,4,4,4] = Conv(%c, %v) @two
""")


def test_joined_values_share_a_scale_where_the_target_says_so() -> None:
    made = assigned(JOIN, every_result(Concat=Quantize(U8, scales="shared"))).graph
    assert made.records["a"] is made.records["b"] is made.records["c"]
    made = assigned(JOIN, every_result(Concat=Quantize(U8, scales="own"))).graph
    assert made.records["a"].scale < made.records["b"].scale / 5
    made = assigned(JOIN, operands_only()).graph
    assert set(made.records) == {"x", "w", "big", "c", "v"}


def test_constant_operand_of_an_add_has_its_own_record() -> None:
    graph = parse_text("""
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %k = constant f32[4] [1, 2, 3, -0.5]
  %a: f32[N,4] = MatMul(%x, %w) @one
  %b: f32[N,4] = Add(%a, %k) @add
  %y: f32[N,4] = MatMul(%b, %w) @two
""")
    made = assigned(graph, every_result()).graph
    assert "add" in integer(made)
    record = made.records["k"]
    assert record.dtype is DType.U8
    assert record.nearest(np.array([3, -0.5], np.float32)) == pytest.approx([3, -0.5], abs=0.01)


BIASED_TEXT = """
graph (%x: f32[N,3,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %k = constant f32[4] random(1)
  %a: f32[N,3,4] = MatMul(%x, %w) @one
  %b: f32[N,3,4] = Add(%k, %a) @add
  %y: f32[N,3,4] = MatMul(%b, %w) @two
"""
BIASED = parse_text(BIASED_TEXT)


def test_a_bias_is_part_of_the_contraction_before_it() -> None:
    result = assigned(BIASED, CPU_VNNI)
    assert integer(result.graph) == ["one", "add", "two"]
    assert set(result.graph.records) == {"x", "w", "b"}  # neither the product nor the bias
    assert "adds the bias of 'one'" in {r.message for r in result.remarks if r.node == "add"}


def test_a_bias_is_added_by_the_integer_kernel() -> None:
    graph = parse_text(BIASED_TEXT.replace("f32[N,", "f32[2,"))
    assert CPU_VNNI.placement is not None
    made = insert_qdq(assigned(graph, CPU_VNNI).graph, OPS, CPU_VNNI.placement).graph
    kinds = optimized_ops(made)  # the last product has no bias
    assert kinds["com.microsoft.MatMulIntegerToFloat"] == 1
    assert kinds["com.microsoft.QGemm"] == 1
    assert "com.microsoft.QLinearAdd" not in kinds
    x = np.random.default_rng(0).uniform(0, 1, (2, 3, 4)).astype(np.float32)
    wanted, found = (Session(g).run({"x": x})["y"] for g in (graph, made))
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())  # a few 8-bit steps


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-> (%y)", "-> (%y, %a)"),  # the product is an output of its own
        ("%k = constant f32[4] random(1)", "%k = constant f32[3,1] random(1)"),  # not per channel
        ("Add(%k, %a)", "Add(%a, %a)"),
    ],
)
def test_what_is_no_bias_is_added_apart(old: str, new: str) -> None:
    graph = parse_text(BIASED_TEXT.replace(old, new))
    result = assigned(graph, CPU_VNNI)
    assert "add" in integer(result.graph)
    assert "a" in result.graph.records


def test_a_bias_that_is_kept_stays_float() -> None:
    result = assigned(BIASED, CPU_VNNI, keep=("add",))
    assert integer(result.graph) == ["one", "two"]
    assert skipped(result) == {"add": "stays in float: it is kept"}


SHORT = parse_text("""
graph (%x: f32[N,3,8,8]) -> (%y)
  %w0 = constant f32[8,3,3,3] random(0)
  %w1 = constant f32[8,8,1,1] random(1)
  %w2 = constant f32[8,1,3,3] random(2)
  %a: f32[N,8,6,6] = Conv(%x, %w0) @image
  %b: f32[N,8,6,6] = Conv(%a, %w1) @expand
  %r: f32[N,8,6,6] = Relu(%b) @relu
  %c: f32[N,8,4,4] = Conv(%r, %w2) {group=8} @between
  %d: f32[N,8,4,4] = Conv(%c, %w1) @mix
  %h: f32[N,8,4,4] = HardSwish(%d) @curve
  %e: f32[N,8,2,2] = Conv(%h, %w2) {group=8} @after
  %g: f32[N,8,2,2] = HardSwish(%e) @bend
  %y: f32[N,8,2,2] = Conv(%g, %w1) @head
""")


def test_short_sums_pay_only_between_integers() -> None:
    result = assigned(SHORT, CPU_VNNI)
    assert integer(result.graph) == ["expand", "between", "mix", "head"]
    why = {node: reason for node, reason in skipped(result).items() if node in ("image", "after")}
    assert why == {
        "image": "stays in float: its sums are short, and no integer node makes an operand",
        "after": "stays in float: its sums are short, and no contraction in integers reads its "
        "result",
    }
    assert integer(assigned(SHORT, CPU_ARM64).graph) == [
        "image", "expand", "between", "mix", "after", "head"
    ]  # fmt: skip


@pytest.mark.parametrize("target", [CPU_VNNI, CPU_ARM64])
def test_what_is_left_in_float_is_so_in_the_runtime(target: Target) -> None:
    graph = assigned(SHORT, target).graph
    assert target.placement is not None
    placed = insert_qdq(graph, OPS, target.placement).graph
    assert integer_kernels(placed, signed=target is CPU_ARM64) == len(integer(graph))


def test_operators_outside_the_contractions_stay_float() -> None:
    graph = parse_text("""
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %a: f32[N,4] = Add(%x, %x) @before
  %b: f32[N,4] = MatMul(%a, %w) @one
  %c: f32[N,4] = Mul(%b, %b) @after
  %y: f32[N,4] = Add(%c, %c) @last
""")
    result = assigned(graph, every_result())
    assert integer(result.graph) == ["one"]
    assert skipped(result) == {
        "before": "stays in float: no integer node makes an operand",
        "after": "stays in float: no contraction in integers reads its result",
        "last": "stays in float: no contraction in integers reads its result",
    }


def test_float_results_need_no_record() -> None:
    graph = parse_text("""
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %a: f32[N,4] = MatMul(%x, %w) @one
  %b: f32[N,4] = MatMul(%a, %w) @two
  %y: f32[N,4] = Softmax(%b) {axis=1} @softmax
""")
    free = every_result(MatMul=Quantize(U8, W7, free_result=True))
    assert set(assigned(graph, every_result()).graph.records) == {"x", "w", "a", "b"}
    assert set(assigned(graph, free).graph.records) == {"x", "w", "a"}


def test_products_of_activations() -> None:
    graph = parse_text("""
graph (%x: f32[N,4,4]) -> (%y)
  %y: f32[N,4,4] = MatMul(%x, %x) @one
""")
    made = assigned(graph, every_result()).graph
    assert integer(made) == ["one"]
    assert set(made.records) == {"x", "y"}
    result = assigned(graph, operands_only())
    assert result.graph is graph
    assert "both operands are computed" in skipped(result)["one"]


def test_what_is_no_f32_or_in_a_body_stays_float() -> None:
    graph = parse_text("""
graph (%x: f16[N,4], %p: bool[]) -> (%y)
  %w = constant f16[4,4] random(0)
  %v = constant f32[4,4] random(0)
  %a: f16[N,4] = MatMul(%x, %w) @half
  %f: f32[N,4] = Cast(%a) {to=1} @cast
  %y: f32[N,4] = If(%p) @if
    then_branch = graph () -> (%t)
      %t: f32[N,4] = MatMul(%f, %v) @inner
    else_branch = graph () -> (%e)
      %e: f32[N,4] = Relu(%f) @relu
""")
    result = assigned(graph, every_result())
    assert not result.graph.records
    assert "'x' is f16[N,4]" in skipped(result)["half"]
    assert "body" in skipped(result)["inner"]


def test_attributes_that_the_kernel_lacks() -> None:
    graph = parse_text("""
graph (%x: f32[N,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %y: f32[N,4] = Gemm(%x, %w) {alpha=0.5} @fc
""")
    target = every_result(Gemm=Quantize(U8, W7, only={"alpha": (None, 1.0)}))
    assert "only with another alpha than 0.5" in skipped(assigned(graph, target))["fc"]


def test_dead_values_and_channels_have_scales() -> None:
    graph = parse_text("""
graph (%x: f32[N,2]) -> (%y)
  %w = constant f32[2,2] [0, 1, 0, -1]
  %zero = constant f32[2,2] [0, 0, 0, 0]
  %a: f32[N,2] = MatMul(%x, %zero) @dead
  %y: f32[N,2] = MatMul(%a, %w) @two
""")
    records = assigned(graph, every_result()).graph.records
    assert all((r.scale > 0).all() and np.isfinite(r.scale).all() for r in records.values())


@pytest.mark.parametrize("make", [every_result, operands_only])
def test_every_operand_of_an_integer_node_has_a_record_that_fits(make: object) -> None:
    target = make()  # type: ignore[operator]
    for graph in (RESIDUAL, JOIN):
        made = assigned(graph, target).graph
        for node in made.nodes:
            row = OPS.get(node.kind)
            if not node.integer or row is None or row.weighted is None:
                continue
            data = made.records[node.inputs[row.weighted.data]]
            weight = made.records[node.inputs[row.weighted.weight]]
            assert data.axis is None
            assert weight.axis == 0
            assert weight.scale.shape == (made.constants[node.inputs[1]].shape[0],)


def test_integer_arithmetic_is_near_that_of_floats() -> None:
    """x w = s_x s_w sum (q_x - z) q_w: the reference that runtimes compute."""
    graph = parse_text("""
graph (%x: f32[N,64]) -> (%y)
  %w = constant f32[64,16] random(0)
  %y: f32[N,16] = MatMul(%x, %w) @fc
""")
    made = assigned(graph, every_result(), calibrator="mse").graph
    (feed, *_) = Data.synthesize(graph, {"N": 2}, 0, 2)
    x, w = made.records["x"], made.records["w"]
    weight = graph.constants["w"].array
    sums = (x.quantize(feed["x"]).astype(int) - int(x.zero_point)) @ w.quantize(weight).astype(int)
    found = sums * x.scale * w.scale
    exact = feed["x"] @ weight
    assert found == pytest.approx(x.nearest(feed["x"]) @ w.nearest(weight), rel=1e-4, abs=1e-4)
    # 7-bit weights and 8-bit data: about 1 % of the largest result
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()


@pytest.mark.parametrize(
    "options",
    [{"percentile": 101.0}, {"percentile": 50.0}, {"samples": -1}, {"percentile": 99.0}],
    ids=str,
)
def test_options_out_of_their_ranges(options: dict[str, object]) -> None:
    with pytest.raises(SlimcError) as caught:
        assigned(RESIDUAL, every_result(), **options)
    assert caught.value.name == "bad-option-value"


def test_fewer_samples_on_request() -> None:
    assert assigned(RESIDUAL, every_result(), feeds=6, samples=3).facts["samples"] == 4


PRODUCT = """graph (%x: f32[2,4]) -> (%y)
  %w = constant f32[4,3] random(0)
  %b = constant f32[3] [1, -inf, 2]
  %y: f32[2,3] = Gemm(%x, %w, %b) @fc"""


def test_a_bias_that_masks_a_channel_keeps_its_layer_in_float() -> None:
    result = assigned(parse_text(PRODUCT), every_result())
    assert skipped(result) == {"fc": "stays in float: its bias 'b' holds NaN or infinity"}


def test_a_table_without_a_value_is_refused(tmp_path: Path) -> None:
    graph = parse_text(PRODUCT.replace("-inf", "0"))
    data = Data.synthesize(graph, {}, 0, 2)
    place = tmp_path / "ranges.json"
    context = Context(OPS, every_result(), data, tables=StoredTables(place))
    AssignScales().run(graph, context)
    table = json.loads(place.read_text())
    del table["ranges"]["x"]
    place.write_text(json.dumps(table))
    with pytest.raises(SlimcError, match="no range of 'x'") as caught:
        AssignScales().run(graph, context)
    assert caught.value.name == "bad-calibration-table"


def test_short_ranges_are_widened_and_known_ones_are_taken() -> None:
    graph = parse_text("graph (%x: f32[2,4]) -> (%y)\n  %y: f32[2,4] = Sigmoid(%x) @sigmoid")
    wish = Quantize(replace(U8, least=1000.0), anywhere=True, result=(0.0, 255 / 256))
    records = assigned(graph, every_result(Sigmoid=wish)).graph.records
    assert records["x"].scale == pytest.approx(1000 / 255)
    unbound = replace(wish, activations=U8)
    records = assigned(graph, every_result(Sigmoid=unbound)).graph.records
    assert (float(records["y"].scale), int(records["y"].zero_point)) == (1 / 256, 0)


def test_what_shares_a_scale_with_a_known_range_keeps_its_own() -> None:
    own = Quantize(U8, anywhere=True)
    target = every_result(Concat=own, Pad=own, Neg=own, Sigmoid=replace(own, result=(0.0, 1.0)))
    text = """graph (%x: f32[2,4]) -> (%joined, %padded)
  %around = constant i64[4] [0, 1, 0, 1]
  %least = constant f32[] -9.0
  %s: f32[2,4] = Sigmoid(%x) @s
  %n: f32[2,4] = Neg(%x) @n
  %joined: f32[2,8] = Concat(%s, %n) {axis=1} @join
  %t: f32[2,4] = Sigmoid(%n) @t
  %padded: f32[2,6] = Pad(%t, %around, %least) @pad"""
    result = assigned(parse_text(text), target)
    low, high = result.facts["ranges"]["n"]
    assert low < -1.5
    assert high > 1
    assert result.facts["ranges"]["s"] == result.facts["ranges"]["joined"] == [low, high]
    assert result.facts["ranges"]["padded"] == [-9.0, 1.0]


@pytest.mark.parametrize(
    ("options", "integers"),
    [
        ({}, True),
        ({"scheme": "int8-dynamic"}, True),
        ({"scheme": "fp16"}, False),
        ({"scheme": "int4-weights", "mixed": ("first=float", "last=fp32")}, False),
        ({"scheme": "int8-weights", "mixed": ("first=int8",)}, True),
    ],
)
def test_what_comes_before_suits_integers_where_some_compute_in_them(
    options: dict[str, Any], integers: bool
) -> None:
    traits = traits_of([RemoveChannels(), AssignScales(**options)])
    assert (Trait.INTEGERS in traits) is integers


def test_a_clamp_that_q_covers_is_no_node_of_integers() -> None:
    own = Quantize(U8, anywhere=True, scales="own")
    text = """graph (%x: f32[2,4,3,3]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %p: f32[2,4,3,3] = Relu(%x) @alone
  %c: f32[2,4,3,3] = Conv(%p, %w) @conv
  %y: f32[2,4,3,3] = Relu(%c) @covered"""
    found = assigned(parse_text(text), every_result(Relu=own)).graph
    assert integer(found) == ["alone", "conv"]
    assert set(found.records) == {"x", "p", "w", "y"}
    kept = assigned(parse_text(text), every_result(Relu=own), keep=("conv",)).graph
    assert integer(kept) == ["alone"]
