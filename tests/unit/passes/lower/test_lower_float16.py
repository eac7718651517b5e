from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.compare import differences
from slimc.io.read import read
from slimc.io.write import to_bytes
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.lower.float_casts import round_to_float
from slimc.passes.lower.lower_float16 import LowerFloat16, magnitudes
from slimc.passes.schemes import Scheme
from slimc.pipeline.compiler import compile
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN


def lower(text: str, feeds: list[dict[str, np.ndarray]] | None = None) -> PassResult:
    graph = parse_text(text)
    data = Data.from_feeds(feeds, graph) if feeds else Data.synthesize(graph, {})
    result = LowerFloat16(scheme="fp16").run(graph, Context(OPS, JETSON_ORIN, data))
    verify(result.graph)
    assert max(differences(graph, result.graph, data.head(1)).values()) < 0.01
    return result


def dtype(graph: Graph, value: str) -> DType:
    kind = graph.type_of(value)
    assert isinstance(kind, TensorType)
    return kind.dtype


def test_magnitudes_are_those_of_the_samples() -> None:
    text = "graph (%x: f32[1,4]) -> (%y)\n  %a: f32[1,4] = Abs(%x) @abs\n  %y: f32[1,4] = Tanh(%a)"
    small = [{"x": np.full((1, 4), 500, np.float32)}]
    large = [*small, {"x": np.full((1, 4), 600, np.float32)}]
    assert not [r for r in lower(text, small).remarks if r.kind == "skipped"]
    said = [str(r) for r in lower(text, large).remarks if r.kind == "skipped"]
    assert said[0] == "skipped @abs: stays in f32: 'x' reaches 600 on the samples, above 512"


def test_an_operand_that_must_be_f32_stays_so() -> None:
    result = lower(
        """graph (%x: f32[1,1,2,2]) -> (%y)
  %scales = constant f32[4] [1, 1, 2, 2]
  %a: f32[1,1,2,2] = Sin(%x)
  %y: f32[1,1,4,4] = Resize(%a, _, %scales) {mode="nearest"} @up"""
    )
    up = result.graph.by_name["up"]
    assert dtype(result.graph, up.inputs[0]) is DType.F16
    assert up.inputs[2] == "scales"
    assert dtype(result.graph, "scales") is DType.F32


def test_results_that_are_no_floats_need_no_cast() -> None:
    graph = lower(
        """graph (%x: f32[1,4]) -> (%i, %g)
  %z = constant f32[] 0.5
  %r: f32[1,4] = Relu(%x) @relu
  %g: bool[1,4] = Greater(%r, %z) @greater
  %i: i64[1,1] = ArgMax(%r) {axis=1} @best"""
    ).graph
    assert [node.op for node in graph.nodes] == ["Cast", "Relu", "Greater", "ArgMax"]
    assert dtype(graph, graph.by_name["greater"].inputs[1]) is DType.F16


def test_casts_to_other_types_stay_what_they_are() -> None:
    graph = lower(
        """graph (%x: f32[1,4]) -> (%i, %b, %y)
  %r: f32[1,4] = Relu(%x)
  %i: i64[1,4] = Cast(%r) {to=7} @whole
  %b: bool[1,4] = Cast(%r) {to=9} @truth
  %f: f32[1,4] = Cast(%i) {to=1} @back
  %y: f32[1,4] = Neg(%f)"""
    ).graph
    assert [graph.by_name[n].attrs["to"] for n in ("whole", "truth", "back")] == [7, 9, 10]


def test_a_scatter_that_reduces_stays_in_f32() -> None:
    result = lower(
        """graph (%x: f32[4], %u: f32[2]) -> (%y)
  %i = constant i64[2,1] [0, 2]
  %y: f32[4] = ScatterND(%x, %i, %u) {reduction="max"} @scatter"""
    )
    assert [r.node for r in result.remarks if r.kind == "skipped"] == ["scatter"]


def test_a_value_is_cast_once_for_all_readers() -> None:
    graph = lower(
        """graph (%x: f32[1,4]) -> (%y, %z)
  %y: f32[1,4] = Relu(%x)
  %z: f32[1,4] = Neg(%x)"""
    ).graph
    assert sum(n.op == "Cast" and n.inputs == ("x",) for n in graph.nodes) == 1


def test_an_output_that_others_read_is_cast_at_the_edge_only() -> None:
    graph = lower(
        """graph (%x: f32[1,4]) -> (%h, %y)
  %h: f32[1,4] = Relu(%x) @relu
  %y: f32[1,4] = Neg(%h) @neg"""
    ).graph
    assert graph.outputs == ("h", "y")
    assert graph.by_name["neg"].inputs == ("h.f16",)
    assert dtype(graph, "h") is DType.F32


def test_an_input_that_is_an_output_is_untouched() -> None:
    graph = lower("graph (%x: f32[1,4]) -> (%x, %y)\n  %y: f32[1,4] = Neg(%x)").graph
    assert graph.outputs == ("x", "y")


def test_a_graph_in_f16_stays_as_it_is() -> None:
    text = "graph (%x: f16[1,4]) -> (%y)\n  %y: f16[1,4] = Neg(%x) @neg"
    graph = lower(text).graph
    assert [node.op for node in graph.nodes] == ["Neg"]


def test_q_and_dq_keep_their_scales_and_the_rest_is_f16() -> None:
    graph = lower(
        """graph (%x: f32[1,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %q: i8[1,4] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,4] = DequantizeLinear(%q, %s, %z) @dq
  %y: f32[1,4] = Neg(%a) @neg"""
    ).graph
    assert graph.by_name["q"].inputs[0] == "x"
    assert dtype(graph, "a") is DType.F32
    assert dtype(graph, graph.by_name["neg"].inputs[0]) is DType.F16


def test_what_is_not_zero_does_not_become_zero() -> None:
    made = round_to_float(np.array([1e-12, -1e-12, 0.0, 1.0, -np.inf], np.float32), DType.F16)
    assert (np.sign(made) == [1, -1, 0, 1, -1]).all()
    assert np.isneginf(made[-1])


@pytest.mark.parametrize("scheme", ["auto", "fp16"])
def test_lowering_halves_the_file_of_a_target_that_prefers_f16(scheme: Scheme) -> None:
    graph = parse_text(
        """graph (%x: f32[1,64]) -> (%y)
  %w = constant f32[64,64] random(0, -0.1..0.1)
  %y: f32[1,64] = MatMul(%x, %w)"""
    )
    ctx = Context(OPS, JETSON_NANO, Data.synthesize(graph, {}))
    made = LowerFloat16(scheme=scheme).run(graph, ctx).graph
    assert len(to_bytes(made)) < 0.55 * len(to_bytes(graph))


@pytest.mark.parametrize(
    ("scheme", "opset", "ir", "apart"), [("fp16", 17, 8, 1e-3), ("bf16", 22, 10, 1e-2)]
)
def test_a_compiled_file_is_half_as_large_and_computes_what_is_promised(
    scheme: str, opset: int, ir: int, apart: float, tmp_path: Path
) -> None:
    graph = parse_text(
        """graph (%x: f32[1,8,8,8]) -> (%y)
  %w = constant f32[64,8,3,3] random(0, -0.1..0.1)
  %v = constant f32[8,64,3,3] random(1, -0.1..0.1)
  %a: f32[1,64,8,8] = Conv(%x, %w) {pads=[1,1,1,1]} @first
  %r: f32[1,64,8,8] = Relu(%a) @relu
  %y: f32[1,8,8,8] = Conv(%r, %v) {pads=[1,1,1,1]} @second"""
    )
    made = compile(graph, f"quant{{scheme={scheme}}}", "generic-onnx")
    path = tmp_path / "made.onnx"
    made.save(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (opset, ir)
    assert path.stat().st_size < 0.55 * len(to_bytes(graph))
    data = Data.synthesize(graph, {})
    assert 0 < differences(graph, read(path), data)["y"] < apart


@pytest.mark.parametrize("target", ["cpu-avx2", "openvino", "jetson-nano"])
def test_what_a_target_does_not_compute_in_is_refused(target: str) -> None:
    graph = parse_text("graph (%x: f32[1]) -> (%y)\n  %y: f32[1] = Sin(%x)")
    with pytest.raises(SlimcError) as refused:
        compile(graph, "quant{scheme=bf16}", target)
    assert refused.value.name == "scheme-unsupported"


def test_ends_are_of_a_type_that_the_target_has() -> None:
    graph = parse_text("graph (%x: f32[1]) -> (%y)\n  %y: f32[1] = Sin(%x)")
    with pytest.raises(SlimcError, match="cpu-avx2 computes in f32, not in f16"):
        compile(graph, "quant{io=f16}", "cpu-avx2")


def test_inputs_and_outputs_become_f16_if_asked() -> None:
    graph = parse_text("graph (%x: f32[1,4]) -> (%y)\n  %y: f32[1,4] = Sin(%x)")
    final = compile(graph, "quant{scheme=fp16,io=f16}", "generic-onnx").graph
    assert (dtype(final, "x"), dtype(final, "y")) == (DType.F16, DType.F16)
    assert [node.op for node in final.nodes] == ["Sin"]


def test_options_of_quant_hold_for_a_target_that_prefers_f16() -> None:
    graph = parse_text(
        """graph (%x: f32[1,4]) -> (%y)
  %a: f32[1,4] = Sin(%x) @sin
  %y: f32[1,4] = Cos(%a) @cos"""
    )
    kept = compile(graph, "quant{keep=[cos]}", "jetson-nano").graph
    assert dtype(kept, kept.by_name["cos"].inputs[0]) is DType.F32
    single = compile(graph, "quant{rest=fp32}", "jetson-nano").graph
    assert [node.op for node in single.nodes] == ["Sin", "Cos"]
    assert dtype(compile(graph, "", "jetson-nano").graph, "a") is DType.F16


def test_integers_keep_their_numbers_beside_f16() -> None:
    graph = parse_text(
        """graph (%x: f32[1,32]) -> (%y)
  %w = constant f32[32,32] random(0)
  %v = constant f32[32,32] random(1)
  %a: f32[1,32] = MatMul(%x, %w) @first
  %r: f32[1,32] = Relu(%a) @relu
  %y: f32[1,32] = MatMul(%r, %v) @second"""
    )
    single = compile(graph, "quant{scheme=int8}", "jetson-orin").graph
    half = compile(graph, "quant{scheme=int8,rest=fp16}", "jetson-orin").graph

    def stored(made: Graph) -> list[np.ndarray]:
        constants = made.constants.values()
        return [c.array for c in constants if c.dtype is DType.I8 and c.array.ndim == 2]

    assert len(stored(half)) == len(stored(single)) == 2
    for a, b in zip(stored(single), stored(half), strict=True):
        assert (a == b).all()
    scales = {dtype(half, n.inputs[1]) for n in half.nodes if n.op.endswith("QuantizeLinear")}
    assert scales == {DType.F16}
    data = Data.synthesize(graph, {})
    assert differences(single, half, data)["y"] < 2e-2  # a few data are one step of 127 apart


def test_operators_expressed_by_others_may_round_more_often_in_bf16() -> None:
    graph = parse_text(
        """graph (%x: f32[4,64]) -> (%y)
  %w = constant f32[64,64] random(0)
  %a: f32[4,64] = MatMul(%x, %w)
  %g: f32[4,64] = Gelu(%a) {approximate="tanh"}
  %y: f32[4,64] = MatMul(%g, %w)"""
    )
    made = compile(graph, "quant{scheme=bf16}", "generic-onnx")
    assert made.report.agreement[0].sqnr_db > 30


def test_the_largest_of_all_feeds_counts_and_infinity_is_told() -> None:
    graph = parse_text(
        """graph (%x: f32[N,3]) -> (%y)
  %one = constant f32[] 1
  %a: f32[N,3] = Neg(%x)
  %y: f32[N,3] = Div(%one, %a)"""
    )
    feeds = [
        {"x": np.array([[1, -2, 3]], np.float32)},
        {"x": np.array([[0, -7, 2], [1, 1, 1]], np.float32)},
    ]
    found = magnitudes(graph, Data.from_feeds(feeds, graph), ["x", "a", "y"])
    assert found == {"x": 7.0, "a": 7.0, "y": np.inf}


def test_nan_is_told_and_values_in_f16_are_measured() -> None:
    graph = parse_text(
        """graph (%x: f32[4]) -> (%y)
  %h: f16[4] = Cast(%x) {to=10}
  %s: f16[4] = Sqrt(%h)
  %y: f32[4] = Cast(%s) {to=1}"""
    )
    feeds = [{"x": np.array([1, -4, 9, 16], np.float32)}]
    found = magnitudes(graph, Data.from_feeds(feeds, graph), ["x", "h", "s"])
    assert found == {"x": 16.0, "h": 16.0, "s": np.inf}


def test_no_values_need_no_run() -> None:
    graph = parse_text("graph (%x: f32[1]) -> (%y)\n  %y: f32[1] = Neg(%x)")
    assert magnitudes(graph, Data.synthesize(graph, {}), []) == {}
