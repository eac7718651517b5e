from __future__ import annotations

import pytest
from optimized import integer_kernels, optimized_ops

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import InsertQdq
from slimc.targets.onnxruntime.devices import CPU_AVX2, CPU_VNNI
from slimc.targets.target import Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

BLOCK = """graph (%x: f32[1,8,6,6]) -> (%y)
  %wa = constant f32[8,8,3,3] random(0)
  %wa quantized i8 scale=0.05 range=-64..64
  %wb = constant f32[8,8,1,1] random(1)
  %wb quantized i8 scale=0.05 range=-64..64
  %ba = constant f32[8] random(2)
  %x quantized u8 scale=0.05 zero=128
  %a: f32[1,8,6,6] = Conv(%x, %wa, %ba) {pads=[1, 1, 1, 1]} @a integer
  %r: f32[1,8,6,6] = Relu(%a) @relu
  %r quantized u8 scale=0.05
  %b: f32[1,8,6,6] = Conv(%r, %wb) @b integer
  %b quantized u8 scale=0.1 zero=128
  %s: f32[1,8,6,6] = Add(%b, %x) @add integer
  %s quantized u8 scale=0.1 zero=128
  %p: f32[1,8,3,3] = MaxPool(%s) {kernel_shape=[2, 2], strides=[2, 2]} @pool integer
  %p quantized u8 scale=0.1 zero=128
  %y: f32[1,8,3,3] = Conv(%p, %wb) @c integer
  %y quantized u8 scale=0.1 zero=128"""


def context(graph: Graph, target: Target) -> Context:
    return Context(OPS, target, Data.synthesize(graph, {}))


def inserted(text: str, target: Target) -> Graph:
    graph = parse_text(text)
    return InsertQdq().run(graph, context(graph, target)).graph


def test_integers_flow_through_a_whole_block_in_onnxruntime() -> None:
    graph = inserted(BLOCK, CPU_AVX2)
    assert integer_kernels(graph) == 3
    kinds = optimized_ops(graph)
    assert sum(kinds[k] for k in kinds if k.endswith("QLinearAdd")) == 1
    assert kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == 1  # at the edges of the graph
    assert not kinds["Relu"]


def test_it_is_idempotent() -> None:
    graph = inserted(BLOCK, CPU_VNNI)
    again = InsertQdq().run(graph, context(graph, CPU_VNNI))
    assert again.graph is graph
    assert again.remarks == ()


def test_a_graph_without_records_is_left_alone_for_any_target() -> None:
    graph = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Relu(%x)")
    for target in (CPU_AVX2, JETSON_ORIN, JETSON_NANO):
        assert InsertQdq().run(graph, context(graph, target)).graph is graph


def test_a_node_marked_without_any_record_is_an_error() -> None:
    text = "\n".join(line for line in BLOCK.split("\n") if "quantized" not in line)
    with pytest.raises(SlimcError) as caught:
        inserted(text, JETSON_ORIN)
    assert caught.value.name == "record-missing"


def test_a_clamp_whose_operand_others_read_stays() -> None:
    text = BLOCK.replace("-> (%y)", "-> (%y, %a)").replace(
        "@a integer", "@a integer\n  %a quantized u8 scale=0.1 zero=128"
    )
    graph = inserted(text, CPU_AVX2)
    assert graph.by_name["relu"].inputs == ("a",)
    assert integer_kernels(graph) == 3


def test_a_clamp_behind_a_result_with_another_scale_stays() -> None:
    text = BLOCK.replace("@a integer", "@a integer\n  %a quantized u8 scale=0.1 zero=128")
    graph = inserted(text, CPU_AVX2)
    assert graph.by_name["relu"].inputs == ("a.dq",)
    assert integer_kernels(graph) == 3


def test_nodes_know_what_they_come_from() -> None:
    graph = inserted(BLOCK, JETSON_ORIN)
    origin = graph.by_name["r.quantize"].origin
    assert origin is not None
    assert (origin.made_by, origin.nodes) == ("insert-qdq", ("relu",))


def test_of_two_contractions_before_an_add_the_last_is_fused() -> None:
    text = """graph (%x: f32[1,8,6,6]) -> (%y)
  %w = constant f32[8,8,1,1] random(0)
  %w quantized i8 scale=0.05 range=-127..127
  %x quantized i8 scale=0.05
  %a: f32[1,8,6,6] = Conv(%x, %w) @a integer
  %a quantized i8 scale=0.05
  %b: f32[1,8,6,6] = Conv(%x, %w) @b integer
  %b quantized i8 scale=0.05
  %y: f32[1,8,6,6] = Add(%b, %a) @add integer"""
    assert inserted(text, JETSON_ORIN).by_name["add"].inputs == ("b", "a.dq")
