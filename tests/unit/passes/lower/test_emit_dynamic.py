from __future__ import annotations

import numpy as np
import pytest
from optimized import optimized_ops

from slimc.execute.ort import run
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.ops.qdq import DYNAMIC_QUANTIZE, MATMUL_INTEGER
from slimc.passes.lower.emit_dynamic import emit_dynamic

STACK = """graph (%x: f32[2,5,16]) -> (%y, %z)
  %v = constant f32[16,8] random(0, -1..1)
  %v quantized i8 axis=1 scale=[0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01] range=-127..127
  %w = constant f32[16,16] random(1, -1..1)
  %w quantized i8 scale=0.01 range=-127..127
  %b = constant f32[8] random(2)
  %m: f32[2,5,8] = MatMul(%x, %v) @first integer
  %y: f32[2,5,8] = Add(%m, %b) @bias
  %z: f32[2,5,16] = MatMul(%x, %w) @second integer"""
SQUARE = """graph (%x: f32[3,4]) -> (%y, %z)
  %w = constant f32[4,4] random(0, -1..1)
  %w quantized i8 scale=0.01 range=-127..127
  %y: f32[3,4] = Gemm(%x, %w) @plain integer
  %z: f32[3,4] = Gemm(%x, %w) {transB=1} @transposed integer"""
UNSIGNED = """graph (%x: f32[3,4]) -> (%y)
  %w = constant f32[4,2] random(0, -1..1)
  %w quantized u8 axis=1 scale=[0.01, 0.01] zero=[128, 100]
  %y: f32[3,2] = MatMul(%x, %w) @product integer"""


def emitted(text: str) -> Graph:
    return emit_dynamic(parse_text(text), OPS, "insert-qdq")[0]


def in_floats(text: str) -> Graph:
    """The graph with weights rounded, and data as they are."""
    graph = parse_text(text)
    editor = Editor(graph)
    for value, record in graph.records.items():
        editor.set_constant(value, record.dequantize(record.quantize(graph.constants[value].array)))
        editor.set_record(value, None)
    return editor.finish()


@pytest.mark.parametrize("text", [STACK, SQUARE, UNSIGNED])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_only_the_rounding_of_data_is_lost_whatever_their_range(text: str, size: float) -> None:
    graph = emitted(text)
    x = (size * np.random.default_rng(0).normal(size=graph.types["x"].shape)).astype(np.float32)
    wanted, got = run(in_floats(text), {"x": x}), run(graph, {"x": x})
    step = (max(x.max(), 0) - min(x.min(), 0)) / 255
    most = 0.5 * step * x.shape[-1]  # half a step off in every summand, weights up to 1.3
    for name in graph.outputs:
        assert np.abs(wanted[name] - got[name]).max() < 1.3 * most + 1e-6 * size


def test_data_are_quantized_once_and_each_weight_as_its_products_read_it() -> None:
    assert [n.op for n in emitted(STACK).nodes].count(DYNAMIC_QUANTIZE) == 1
    square = emitted(SQUARE)
    held = [square.array(n.inputs[1]) for n in square.nodes if n.op == MATMUL_INTEGER]
    assert (held[0] == held[1].T).all()
    assert not (held[0] == held[1]).all()


def test_onnxruntime_makes_one_kernel_of_a_product_its_scales_and_its_bias() -> None:
    shared = optimized_ops(emitted(STACK))
    assert shared == {DYNAMIC_QUANTIZE: 1, "com.microsoft.MatMulIntegerToFloat": 2}
    alone = STACK.replace("-> (%y, %z)", "-> (%y)").rsplit("\n", 1)[0]
    assert optimized_ops(emitted(alone)) == {"com.microsoft.DynamicQuantizeMatMul": 1}


def test_what_stays_in_float_is_no_longer_marked() -> None:
    graph = parse_text(SQUARE.replace("{transB=1}", "{alpha=0.5, transB=1}"))
    made, remarks = emit_dynamic(graph, OPS, "insert-qdq")
    assert made.by_name["transposed"].op == "Gemm"
    assert not made.by_name["transposed"].integer
    assert [r.kind for r in remarks] == ["applied", "skipped"]


def test_a_graph_without_such_products_is_left_as_it_is() -> None:
    graph = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Relu(%x)")
    assert emit_dynamic(graph, OPS, "insert-qdq") == (graph, [])
