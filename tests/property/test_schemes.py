"""Files of every scheme run in onnxruntime, compute what the records say, and are small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import insert_qdq
from slimc.passes.quant.assign_scales import AssignScales
from slimc.pipeline.compiler import compile
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.onnxruntime.devices import CPU_VNNI

WEIGHTS = ("int8-weights", "int4-weights", "uint4-weights")
STATIC = ("int8", "int16-act", "fp8")
# Two kernels of onnxruntime: MatMulNBits rounds data to 8 bits (1/254 of their largest, and less
# than twice that after a sum of 64 and more), DynamicQuantizeMatMul to 1/255 of their range.
NEAR = 0.02


def network(seed: int) -> Graph:
    """Make a small network: a convolution, products, and a table that is looked up."""
    rng = np.random.default_rng(seed)
    c, k = int(rng.choice([16, 32, 48])), int(rng.choice([24, 32, 64]))
    s = [int(i) for i in rng.integers(0, 1000, 5)]
    return parse_text(f"""graph (%x: f32[2,16,6,6], %i: i64[2]) -> (%y)
  %v = constant f32[{c},16,3,3] random({s[0]}, -0.3..0.3)
  %u = constant f32[{c},{k}] random({s[1]}, -0.3..0.3)
  %w = constant f32[{k},32] random({s[2]}, -0.3..0.3)
  %b = constant f32[32] random({s[3]})
  %t = constant f32[50,{c}] random({s[4]})
  %c: f32[2,{c},4,4] = Conv(%x, %v) @conv
  %r: f32[2,{c},4,4] = Relu(%c) @relu
  %p: f32[2,{c},1,1] = GlobalAveragePool(%r) @pool
  %f: f32[2,{c}] = Flatten(%p) @flat
  %e: f32[2,{c}] = Gather(%t, %i) @table
  %a: f32[2,{c}] = Add(%f, %e) @add
  %m: f32[2,{k}] = MatMul(%a, %u) @product
  %y: f32[2,32] = Gemm(%m, %w, %b) @gemm""")


def feeds(count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "x": rng.normal(size=(2, 16, 6, 6)).astype(np.float32),
            "i": rng.integers(0, 50, 2),
        }
        for _ in range(count)
    ]


def run(graph: Graph, optimize: bool = True) -> np.ndarray:
    session = Session(graph, optimize=optimize)
    return np.concatenate([session.run(feed)["y"] for feed in feeds()])


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def context(graph: Graph) -> Context:
    return Context(OPS, GENERIC_ONNX, Data.from_feeds(feeds(), graph))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scheme", [*WEIGHTS, *STATIC])
def test_a_file_computes_what_its_records_say(scheme: str, seed: int, tmp_path: Path) -> None:
    graph = network(seed)
    ctx = context(graph)
    marked = AssignScales(scheme=scheme, min_elements=0, calibrator="minmax").run(graph, ctx).graph
    placement = GENERIC_ONNX.placement
    assert placement is not None
    stored = insert_qdq(marked, OPS, placement).graph
    rounded = insert_qdq(marked, OPS, replace(placement, weights="rounded")).graph
    assert off(run(stored, optimize=False), run(rounded, optimize=False)) < 1e-5  # order of sums
    passes = f"assign-scales{{scheme={scheme},min_elements=0,calibrator=minmax}}"
    file = tmp_path / "small.onnx"
    compile(graph, passes, GENERIC_ONNX, feeds()).save(file)
    assert file.is_file()
    assert off(run(stored), run(rounded, optimize=False)) < NEAR


@pytest.mark.parametrize("seed", range(3))
def test_measured_data_are_near_the_floats(seed: int) -> None:
    graph = network(seed)
    marked = AssignScales(scheme="int8-dynamic").run(graph, context(graph)).graph
    assert sum(node.integer for node in marked.nodes) == 2
    placement = GENERIC_ONNX.placement
    assert placement is not None
    made = insert_qdq(marked, OPS, placement).graph
    assert off(run(made), run(graph)) < 2 * NEAR  # two products, one after the other


def test_weights_in_few_bits_make_small_files(tmp_path: Path) -> None:
    graph = parse_text("""graph (%x: f32[2,256]) -> (%y)
  %v = constant f32[256,256] random(0)
  %w = constant f32[256,256] random(1)
  %a: f32[2,256] = MatMul(%x, %v) @first
  %y: f32[2,256] = MatMul(%a, %w) @second""")
    sizes = {}
    for scheme in ("float", *WEIGHTS):
        passes = f"assign-scales{{scheme={scheme}}}" if scheme != "float" else ""
        compile(graph, passes, CPU_VNNI).save(tmp_path / f"{scheme}.onnx")
        sizes[scheme] = (tmp_path / f"{scheme}.onnx").stat().st_size
    elements, rest = 2 * 256 * 256, 2500  # rest: names and nodes
    assert sizes["int8-weights"] < elements + 2 * 256 * 5 + rest
    assert sizes["int4-weights"] < elements * (4 + 33 / 32 + 4 / 32) / 8 + rest  # scales of 32 bits
    assert sizes["uint4-weights"] < elements * (4 + 33 / 32 + 4 / 32) / 8 + rest
    assert sizes["float"] > 4 * elements


def test_schemes_stand_side_by_side() -> None:
    graph = network(0)
    one = AssignScales(
        scheme="int8",
        mixed=("product=int4-weights", "gemm=int8-dynamic"),
        min_elements=0,
        calibrator="minmax",
    )
    marked = one.run(graph, context(graph)).graph
    assert [n.name for n in marked.nodes if n.integer] == ["conv", "gemm"]
    assert marked.records["u"].dtype.text == "i4"
    placement = GENERIC_ONNX.placement
    assert placement is not None
    made = insert_qdq(marked, OPS, placement).graph
    rounded = insert_qdq(marked, OPS, replace(placement, weights="rounded")).graph
    assert off(run(made), run(rounded, optimize=False)) < 2 * NEAR


@pytest.mark.parametrize("target", ["jetson", "openvino", "cpu-avx2", "generic-onnx"])
def test_rules_of_targets_take_weights_in_4_bits(target: str) -> None:
    passes = "assign-scales{scheme=int4-weights,min_elements=0}"
    made = compile(network(0), passes, target, feeds())
    assert [c.dtype.text for v, c in made.graph.constants.items() if v.endswith("w.q")] == ["i4"]
    (legal,) = [step for step in made.report.passes if step.text == "legalize"]
    assert legal.facts["opset"] == 21
    assert not [r for r in legal.remarks if r.node in ("product", "gemm")]
