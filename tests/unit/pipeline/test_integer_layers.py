from __future__ import annotations

import numpy as np
import pytest
from optimized import optimized_ops

from slimc.execute.oracles.ask import Kernel
from slimc.execute.oracles.onnxruntime_cpu import INTEGER_KINDS, WEIGHT_KINDS
from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.compiler import compile
from slimc.pipeline.integer_layers import Flow, layers_of, traced
from slimc.targets.check import check
from slimc.targets.onnxruntime.devices import CPU_AVX2
from slimc.targets.target import Subject

# A block of a transformer: Q/DQ stand between LayerNormalization, Gelu and the products. `{N}` is
# the batch: onnxruntime itself fuses a product with its bias only where all sizes are numbers.
BLOCK = """graph (%x: f32[{N},16,32]) -> (%y)
  %s = constant f32[32] random(0, 0.5..1)
  %w0 = constant f32[32,64] random(1, -0.2..0.2)
  %b0 = constant f32[64] random(2)
  %w1 = constant f32[64,32] random(3, -0.2..0.2)
  %b1 = constant f32[32] random(4)
  %w2 = constant f32[32,32] random(5, -0.2..0.2)
  %n: f32[{N},16,32] = LayerNormalization(%x, %s) {{axis=-1}}
  %m: f32[{N},16,64] = MatMul(%n, %w0)
  %a: f32[{N},16,64] = Add(%m, %b0)
  %g: f32[{N},16,64] = Gelu(%a)
  %k: f32[{N},16,32] = MatMul(%g, %w1)
  %l: f32[{N},16,32] = Add(%b1, %k)
  %r: f32[{N},16,32] = Relu(%l)
  %o: f32[{N},16,32] = MatMul(%r, %w2)
  %y: f32[{N},16,32] = Add(%o, %x)"""


@pytest.mark.parametrize("batch", ["1", "N"])
@pytest.mark.parametrize("target", ["cpu-vnni", "cpu-avx2", "cpu-arm64"])
def test_products_with_a_bias_are_one_integer_kernel(target: str, batch: str) -> None:
    made = compile(parse_text(BLOCK.format(N=batch)), "quant", target)
    assert (made.report.integer_intended, made.report.integer_achieved) == (3, 3)
    kinds = optimized_ops(made.graph, signed=target == "cpu-arm64")
    assert kinds["com.microsoft.QGemm"] == 2
    assert kinds["com.microsoft.MatMulIntegerToFloat"] == 1  # the last has no bias
    assert not kinds.keys() & {"MatMul", "Gemm", "com.microsoft.QLinearAdd", "Relu"}
    assert made.report.agreement[0].sqnr_db > 25


@pytest.mark.parametrize("target", ["cpu-vnni", "cpu-avx2", "cpu-arm64"])
@pytest.mark.parametrize("how", ['keep=["second"]', 'mixed=["second=int8-weights"]'])
def test_a_clamp_behind_a_product_does_not_take_its_kernel(target: str, how: str) -> None:
    """onnxruntime makes one float kernel of Gemm and Relu, unless Q stands behind the product."""
    graph = parse_text("""
graph (%x: f32[N,32]) -> (%y)
  %v = constant f32[32,64] random(0)
  %w = constant f32[64,32] random(1)
  %h: f32[N,64] = Gemm(%x, %v) @first
  %r: f32[N,64] = Relu(%h)
  %y: f32[N,32] = Gemm(%r, %w) @second""")
    made = compile(graph, f"quant{{{how}}}", target)
    assert made.report.integer_intended == 1
    kinds = optimized_ops(made.graph, signed=target == "cpu-arm64")
    assert kinds["com.microsoft.QGemm"] >= 1
    assert "com.microsoft.FusedGemm" not in kinds


@pytest.mark.parametrize("bias", ["%h: f32[N,4] = Gemm(%x, %v, %b)",
    "%m: f32[N,4] = MatMul(%x, %v)\n  %h: f32[N,4] = Add(%m, %b)"])  # fmt: skip
def test_a_bias_of_minus_infinity_is_no_integer(bias: str) -> None:
    graph = parse_text(f"""
graph (%x: f32[N,32]) -> (%y)
  %v = constant f32[32,4] random(0)
  %b = constant f32[4] [0, 1, 2, -inf]
  %w = constant f32[4,32] random(1)
  {bias}
  %s: f32[N,4] = Softmax(%h) {{axis=1}}
  %y: f32[N,32] = MatMul(%s, %w)""")
    made = compile(graph, "quant", "cpu-vnni")
    assert made.report.agreement[0].sqnr_db > 25


def test_weights_alone_do_not_saturate_beside_integers() -> None:
    """onnxruntime makes an integer kernel of a product of two DQs, whatever was meant."""
    graph = parse_text("""
graph (%x: f32[N,32]) -> (%y)
  %v = constant f32[32,64] random(0)
  %w = constant f32[64,32] random(1)
  %h: f32[N,64] = MatMul(%x, %v) @first
  %r: f32[N,64] = Relu(%h)
  %y: f32[N,32] = MatMul(%r, %w) @second""")
    made = compile(graph, 'quant{mixed=["second=int8-weights"]}', "cpu-avx2")
    assert optimized_ops(made.graph)["com.microsoft.MatMulIntegerToFloat"] == 1
    subject = Subject(made.graph, OPS, CPU_AVX2, FileHeader(17, 8))
    found = [f.rule for f in check(subject)]
    assert "unsaturated-weights" not in found


@pytest.mark.parametrize("scheme", ["int8", "int8-dynamic", "int8-weights"])
@pytest.mark.parametrize(
    "text",
    [
        "graph (%x: f32[32]) -> (%y)\n  %w = constant f32[32,32] random(0)\n"
        "  %v = constant f32[32] random(1)\n  %h: f32[32] = MatMul(%x, %w)\n"
        "  %y: f32[] = MatMul(%h, %v)",  # vectors
        "graph (%x: f32[4,32]) -> (%y)\n  %w = constant f32[32,32] random(0)\n"
        "  %h: f32[4,32] = MatMul(%x, %w)\n  %y: f32[4,32] = MatMul(%h, %w)",  # one weight, twice
        "graph (%x: f32[4,32]) -> (%y, %w)\n  %w = constant f32[32,32] random(0)\n"
        "  %y: f32[4,32] = MatMul(%x, %w)",  # a weight that is an output
        "graph (%x: f32[4,32]) -> (%y)\n  %w = constant f32[32,32] random(0)\n"
        "  %h: f32[4,32] = MatMul(%x, %w)\n  %m: f32[] = ReduceMax(%w) {keepdims=0}\n"
        "  %y: f32[4,32] = Mul(%h, %m)",  # or read in floats too
    ],
)
def test_products_that_are_written_in_odd_ways(text: str, scheme: str) -> None:
    rng = np.random.default_rng(0)
    graph = parse_text(text)
    shape = graph.types["x"].shape  # type: ignore[union-attr]
    feeds = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(40)]
    passes = f"equalize-scales,assign-scales{{scheme={scheme},min_elements=0}},round-weights"
    made = compile(graph, passes, "cpu-avx2", feeds)
    assert made.report.agreement[0].sqnr_db > 25


@pytest.mark.parametrize("target", ["cpu-avx2", "jetson"])
def test_a_stack_of_matrices_has_one_scale(target: str) -> None:
    graph = parse_text("""
graph (%x: f32[4,6,32]) -> (%y)
  %v = constant f32[4,32,16] random(0)
  %w = constant f32[4,16,32] random(1)
  %h: f32[4,6,16] = MatMul(%x, %v)
  %r: f32[4,6,16] = Relu(%h)
  %y: f32[4,6,32] = MatMul(%r, %w)""")
    made = compile(graph, "assign-scales", target)
    assert made.report.agreement[0].sqnr_db > 25


def test_a_depthwise_weight_has_a_scale_per_channel() -> None:
    graph = parse_text("""
graph (%x: f32[1,64,9,9]) -> (%y)
  %v = constant f32[64,1,3,3] random(0)
  %y: f32[1,64,7,7] = Conv(%x, %v) {group=64}""")
    marked = compile(graph, "assign-scales", "jetson", stop_after="assign-scales").graph
    assert marked.records["v"].scale.shape == (64,)


def test_data_with_a_range_are_not_said_to_be_measured() -> None:
    graph = parse_text("""
graph (%x: f32[N,32]) -> (%y)
  %v = constant f32[32,64] random(0)
  %w = constant f32[64,32] random(1)
  %h: f32[N,64] = Gemm(%x, %v) @first
  %r: f32[N,64] = Relu(%h)
  %y: f32[N,32] = Gemm(%r, %w) @second""")
    made = compile(graph, 'assign-scales{mixed=["second=int8-dynamic"]}', "cpu-vnni")
    said = [r.message for one in made.report.passes for r in one.remarks if r.node == "second"]
    assert not any("measured" in message for message in said)
    assert "DynamicQuantizeLinear" not in {node.op for node in made.graph.nodes}


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("  %y: f32[2,4] = MatMul(%d, %dw) @m", "integers"),
        ("  %r: f32[2,4] = Relu(%d)\n  %y: f32[2,4] = MatMul(%r, %dw) @m", "integers"),
        ("  %t: f32[4,4] = Transpose(%dw)\n  %y: f32[2,4] = MatMul(%d, %t) @m", "integers"),
        ("  %n: f32[2,4] = Sigmoid(%d)\n  %y: f32[2,4] = MatMul(%n, %dw) @m", "weights"),
        ("  %y: f32[2,4] = MatMul(%d, %v) @m", "floats"),
        ("  %y: f32[2,4] = MatMul(%x, %v) @m", "floats"),
        ("  %y: f32[2,4] = MatMul(%d, %d2) @m", "integers"),
        ("  %y: u8[2,4] = QLinearMatMul(%q, %s, %z, %w, %s, %z, %s, %z) @m", "integers"),
        ("  %u: u8[2,4], %us: f32[], %uz: u8[] = DynamicQuantizeLinear(%x)\n"
         "  %y: i32[2,4] = MatMulInteger(%u, %w, %uz) @m", "dynamic"),
    ],
)  # fmt: skip
def test_what_a_contraction_of_a_file_is_meant_to_compute_in(body: str, meant: str) -> None:
    graph = parse_text(f"""
graph (%x: f32[2,4], %x2: f32[4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 0
  %w = constant u8[4,4] random(0, 0..200)
  %v = constant f32[4,4] random(1)
  %q: u8[2,4] = QuantizeLinear(%x, %s, %z)
  %d: f32[2,4] = DequantizeLinear(%q, %s, %z)
  %q2: u8[4,4] = QuantizeLinear(%x2, %s, %z)
  %d2: f32[4,4] = DequantizeLinear(%q2, %s, %z)
  %dw: f32[4,4] = DequantizeLinear(%w, %s, %z)
{body}""")
    assert [(layer.node.name, layer.meant) for layer in layers_of(graph, OPS)] == [("m", meant)]


def test_values_of_many_paths_are_looked_at_once() -> None:
    steps = "".join(
        f"  %c{i}: f32[1,8] = Concat(%x{i}, %x{i}) {{axis=1}}\n"
        f"  %x{i + 1}: f32[1,4] = Slice(%c{i}, %start, %end, %axis)\n"
        for i in range(60)
    )
    graph = parse_text(f"""
graph (%q: u8[1,4]) -> (%y)
  %start = constant i64[1] [0]
  %end = constant i64[1] [4]
  %axis = constant i64[1] [1]
  %s = constant f32[] 0.02
  %w = constant i8[4,4] random(0)
  %x0: f32[1,4] = DequantizeLinear(%q, %s)
{steps}  %v: f32[4,4] = DequantizeLinear(%w, %s)
  %y: f32[1,4] = MatMul(%x60, %v) @m""")
    assert [layer.meant for layer in layers_of(graph, OPS)] == ["integers"]


def test_8_bit_floats_and_bodies() -> None:
    graph = parse_text("""
graph (%c: bool[], %x: f32[2,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant f8e4m3fn[] 0
  %w = constant f32[4,4] random(0)
  %q: f8e4m3fn[2,4] = QuantizeLinear(%x, %s, %z)
  %d: f32[2,4] = DequantizeLinear(%q, %s, %z)
  %wq: f8e4m3fn[4,4] = QuantizeLinear(%w, %s, %z)
  %dw: f32[4,4] = DequantizeLinear(%wq, %s, %z)
  %y: f32[2,4] = If(%c)
    then_branch = graph () -> (%a)
      %a: f32[2,4] = MatMul(%d, %dw) @inside
    else_branch = graph () -> (%b)
      %b: f32[2,4] = Relu(%x)""")
    assert [(one.node.name, one.meant) for one in layers_of(graph, OPS)] == [("inside", "fp8")]


CHAIN = """graph (%x: f32[1,4,8,8]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %a: f32[1,4,8,8] = Conv(%x, %w) @first
  %b: f32[1,4,8,8] = Relu(%a) @between
  %c: f32[1,4,8,8] = Conv(%b, %w) @second
  %y: f32[1,4,8,8] = Sigmoid(%c) @last"""


def test_a_layer_has_the_kernel_of_its_name_or_of_what_comes_next() -> None:
    graph = parse_text(CHAIN)
    kernels = [
        Kernel(("made_up", "between"), (), "fused", "integers"),
        Kernel(("second",), (), "moves", "floats"),
        Kernel(("second",), ("y",), "computes", "weights"),
    ]
    found = traced(graph, layers_of(graph, OPS), kernels)
    assert [one.kernel and one.kernel.kind for one in found] == ["fused", "computes"]
    assert [one.reached for one in found] == [True, False]
    last = traced(graph, layers_of(graph, OPS), [Kernel((), ("y",), "result", "floats")])
    assert [one.kernel and one.kernel.kind for one in last] == [None, "result"]


def test_what_stands_near_a_layer_ends_at_others() -> None:
    flow = Flow(graph := parse_text(CHAIN), OPS)
    assert flow.near(graph.by_name["first"]) == {"first", "between"}
    assert flow.near(graph.by_name["between"]) == {"first", "between", "second"}


def test_rows_say_which_operators_the_oracle_counts() -> None:
    said = {kind: row.integers for kind, row in OPS.rows.items() if row.integers}
    in_files = [kind for kind in INTEGER_KINDS if "nhwc" not in kind]  # others its optimizer makes
    assert said == {**dict.fromkeys(in_files, "operands"), **dict.fromkeys(WEIGHT_KINDS, "weight")}
