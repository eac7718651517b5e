from __future__ import annotations

import numpy as np
import pytest

from slimc.execute.ort import run
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.decompose import WAYS, decompose
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.tensorrt import JETSON_NANO, JETSON_ORIN

NORM = """graph (%x: f32[2,3,8]) -> (%y)
  %s = constant f32[{shape}] random(0)
  %b = constant f32[{shape}] random(1)
  %y: f32[2,3,8] = LayerNormalization(%x, %s{bias}) {{axis={axis}}}"""
CASES = {
    "Gelu": "graph (%x: f32[2,3,8]) -> (%y)\n  %y: f32[2,3,8] = Gelu(%x)",
    "Gelu, by tanh": "graph (%x: f32[2,3,8]) -> (%y)\n  %y: f32[2,3,8] = Gelu(%x) "
    '{approximate="tanh"}',
    "HardSwish": "graph (%x: f32[2,3,8]) -> (%y)\n  %y: f32[2,3,8] = HardSwish(%x)",
    "LayerNormalization": NORM.format(shape="8", axis=-1, bias=", %b"),
    "LayerNormalization, two axes": NORM.format(shape="3,8", axis=1, bias=", %b"),
    "LayerNormalization, no bias": NORM.format(shape="8", axis=2, bias=""),
    "Reciprocal": "graph (%x: f32[2,3,8]) -> (%y)\n  %y: f32[2,3,8] = Reciprocal(%x)",
    "Xor": """graph (%x: f32[2,3,8]) -> (%y)
  %z = constant f32[] 0
  %a: bool[2,3,8] = Less(%x, %z)
  %b: bool[2,3,8] = Greater(%x, %z)
  %y: bool[2,3,8] = Xor(%a, %b)""",
}


def outputs(graph: Graph) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    return np.asarray(run(graph, {"x": x})["y"]).astype(np.float64)


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_older_operators_compute_the_same(text: str) -> None:
    graph = parse_text(text)
    result = decompose(graph, JETSON_NANO, OPS)
    kinds = {node.kind for node in result.graph.nodes}
    assert kinds.isdisjoint(WAYS)
    assert len(result.remarks) == 1
    np.testing.assert_allclose(outputs(result.graph), outputs(graph), atol=1e-6, rtol=1e-5)
    assert all(v in result.graph.types for node in result.graph.nodes for v in node.outputs)


def test_every_way_is_tried() -> None:
    assert {name.partition(",")[0] for name in CASES} == set(WAYS)


def test_a_target_that_has_the_operator_keeps_it() -> None:
    graph = parse_text(CASES["Gelu"])
    assert decompose(graph, JETSON_ORIN, OPS).graph is graph
    assert decompose(graph, GENERIC_ONNX, OPS).graph is not graph  # Gelu came with opset 20


def test_a_second_result_that_is_used_keeps_the_operator() -> None:
    graph = parse_text(
        """graph (%x: f32[2,8]) -> (%y, %m)
  %s = constant f32[8] random(0)
  %y: f32[2,8], %m: f32[2,1] = LayerNormalization(%x, %s)"""
    )
    assert decompose(graph, JETSON_NANO, OPS).graph is graph
