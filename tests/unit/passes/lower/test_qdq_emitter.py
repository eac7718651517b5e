from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimc.execute.ort import Session
from slimc.ir.graph import Graph, Quantization
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.lower.insert_qdq import insert_qdq
from slimc.passes.lower.qdq_emitter import MAX_BIAS_STEPS, Emitter, fit_bias
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.target import Placement
from slimc.targets.tensorrt.devices import JETSON_ORIN

ORT, TENSORRT = CPU_VNNI.placement, JETSON_ORIN.placement
assert ORT is not None
assert TENSORRT is not None
CONV = """graph (%x: f32[1,2,4,4]) -> (%y)
  %w = constant f32[2,2,1,1] [1, -0.5, 0.25, 0.5]
  %w quantized i8 axis=0 scale=[0.0078740157, 0.0039370079] range=-127..127
  %b = constant f32[2] [0.5, -0.5]
  %x quantized u8 scale=0.03 zero=128
  %c: f32[1,2,4,4] = Conv(%x, %w, %b) @conv integer
  %c quantized u8 scale=0.03 zero=128
  %y: f32[1,2,4,4] = Neg(%c) @neg"""


def emitted(text: str, placement: Placement) -> Graph:
    graph = insert_qdq(parse_text(text), OPS, placement).graph
    verify(graph)
    return graph


def values(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    return Session(graph).run({"x": x})


def test_the_result_is_what_integer_arithmetic_gives() -> None:
    """q_x * q_w + q_b in integers, by hand, and the emitted graph agree to the last step."""
    graph = parse_text(CONV)
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    records, w, b = graph.records, graph.constants["w"].array, graph.constants["b"].array
    xq = records["x"].quantize(x).astype(np.int64) - 128
    wq = records["w"].quantize(w).astype(np.int64)
    step = records["x"].scale * records["w"].scale
    bq = np.rint(b / step).astype(np.int64)
    total = np.einsum("nihw,oi->nohw", xq, wq[:, :, 0, 0]) + bq[:, None, None]
    real = total * step[:, None, None].astype(np.float64)
    wanted = -records["c"].dequantize(records["c"].quantize(real))
    found = values(emitted(CONV, ORT), x)["y"]
    np.testing.assert_allclose(found, wanted, atol=float(records["c"].scale) * 1.01)
    assert (np.abs(found - wanted) > 1e-6).mean() < 0.05  # a tie may be rounded the other way


def test_weights_may_be_stored_as_floats_with_q_and_dq() -> None:
    stored = replace(TENSORRT, weights="fp32-qdq")
    graph = emitted(CONV, stored)
    assert graph.constants["w"].dtype is DType.F32
    assert graph.by_name["w.quantize"].inputs[0] == "w"
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(values(graph, x)["y"], values(emitted(CONV, TENSORRT), x)["y"])


def test_a_value_read_twice_is_quantized_once() -> None:
    text = CONV.replace(
        "%y: f32[1,2,4,4] = Neg(%c) @neg", "%y: f32[1,2,4,4] = Add(%c, %c) @add integer"
    )
    for placement in (ORT, replace(TENSORRT, residual="both")):
        graph = emitted(text, placement)
        add = graph.by_name["add"]
        assert add.inputs[0] == add.inputs[1] == "c.dq"
        assert sum(node.op == "QuantizeLinear" for node in graph.nodes) == 2


def test_a_weight_with_a_record_is_stored_once_for_nodes_in_integers_and_in_floats() -> None:
    text = CONV.replace("Neg(%c) @neg", "Conv(%c, %w) @float")
    graph = emitted(text, ORT)
    assert graph.by_name["float"].inputs == ("c.dq", "w.dq")
    assert graph.by_name["conv"].inputs[1] == "w.dq"


def test_bodies_read_the_integers_of_a_result() -> None:
    text = CONV.replace("(%x: f32[1,2,4,4])", "(%x: f32[1,2,4,4], %k: bool[])").replace(
        "  %y: f32[1,2,4,4] = Neg(%c) @neg",
        """  %y: f32[1,2,4,4] = If(%k) @if
    then_branch = graph () -> (%t)
      %t: f32[1,2,4,4] = Neg(%c)
    else_branch = graph () -> (%f)
      %f: f32[1,2,4,4] = Abs(%c)""",
    )
    assert emitted(text, ORT).by_name["if"].reads == ("k", "c.dq")


def test_a_graph_output_keeps_its_name_and_other_readers_their_value() -> None:
    text = CONV.replace("-> (%y)", "-> (%c, %y)")
    graph = emitted(text, ORT)
    assert graph.outputs == ("c", "y")
    assert graph.producers["c"].op == "DequantizeLinear"
    assert graph.by_name["neg"].inputs == ("c",)


def test_a_bias_that_is_computed_stays_float() -> None:
    text = CONV.replace("(%x: f32[1,2,4,4])", "(%x: f32[1,2,4,4], %b: f32[2])")
    text = text.replace("  %b = constant f32[2] [0.5, -0.5]\n", "")
    assert emitted(text, ORT).by_name["conv"].inputs[2] == "b"


def test_a_bias_that_32_bits_do_not_hold_raises_the_scale_of_its_channel_only() -> None:
    scale = np.array([1e-12, 0.01], np.float32)
    record = Quantization(DType.I8, scale, np.zeros(2, np.int8), -127, 127, 0)
    bias = np.array([10.0, 10.0])
    made = fit_bias(record, bias)
    np.testing.assert_allclose(made.scale[0], 10 / MAX_BIAS_STEPS, rtol=1e-6)
    assert made.scale[1] == scale[1]
    assert (np.abs(bias / made.scale) <= np.iinfo(np.int32).max).all()
    assert fit_bias(record, np.array([0.0, 1.0])) is record


def test_one_scale_for_the_tensor_has_one_for_the_bias() -> None:
    text = CONV.replace("axis=0 scale=[0.0078740157, 0.0039370079]", "scale=0.0078740157")
    graph = emitted(text, ORT)
    assert graph.constants["b.scale"].shape == ()
    assert graph.constants["b.q"].dtype is DType.I32


def test_values_of_half_precision_have_scales_of_half_precision() -> None:
    graph = parse_text(
        """graph (%x: f16[1,2]) -> (%y)
  %x quantized i8 scale=0.5
  %y: f16[1,2] = Add(%x, %x) @add integer"""
    )
    emitter = Emitter(graph, OPS, TENSORRT, "insert-qdq")
    emitter.quantize_operand(graph.by_name["add"], 0)
    made = emitter.finish()
    assert made.constants["x.scale"].dtype is DType.F16
    assert str(made.type_of("x.dq")) == "f16[1,2]"
