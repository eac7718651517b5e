"""Older operators compute the same, on several shapes and element types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.io.schemas import schema_of
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.express.decompose import WAYS, decompose
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.target import Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

OLD = replace(JETSON_NANO, name="old", opset_max=13, decompose=frozenset(WAYS))
# Rounding of 16-bit results differs in the last place; others are computed in the same floats.
CLOSE = {"f32": 1e-5, "f16": 2e-3}
SHAPES = ("2,3,8", "1,4,5,6", "2,6")


def unary(call: str, shapes: tuple[str, ...] = SHAPES, made: str = "") -> Iterator[str]:
    """Yield a graph of one node for each shape and float type."""
    for shape in shapes:
        for dtype in ("f32", "f16"):
            yield (
                f"graph (%x: {dtype}[{shape}]) -> (%y)\n"
                f"  %y: {made or dtype}[{shape}] = {call} @node"
            )


def normal(kind: str, dtype: str, shape: str, scales: str, attrs: str, bias: bool = True) -> str:
    rest = ", %b" if bias else ""
    return f"""graph (%x: {dtype}[{shape}]) -> (%y)
  %s = constant {dtype}[{scales}] random(0)
  %b = constant {dtype}[{scales}] random(1)
  %y: {dtype}[{shape}] = {kind}(%x, %s{rest}) {{{attrs}}} @node"""


def mods() -> Iterator[str]:
    for dtype, fmod in (("i64", 0), ("i64", 1), ("i32", 0), ("f32", 0), ("f32", 1)):
        yield f"""graph (%x: {dtype}[40], %z: {dtype}[40]) -> (%y)
  %y: {dtype}[40] = Mod(%x, %z) {{fmod={fmod}}} @node"""


def one_hots() -> Iterator[str]:
    for dtype, axis, made in (
        ("i64", -1, "2,3,4,5"), ("i32", 0, "5,2,3,4"), ("i64", 1, "2,5,3,4"), ("f32", 2, "2,3,5,4")
    ):  # fmt: skip
        yield f"""graph (%x: {dtype}[2,3,4]) -> (%y)
  %d = constant {dtype}[] 5
  %v = constant f32[2] [-0.5, 2]
  %y: f32[{made}] = OneHot(%x, %d, %v) {{axis={axis}}} @node"""


def triangles() -> Iterator[str]:
    for upper in (0, 1):
        for k in (-1, 0, 2):
            for dtype in ("f32", "i64", "bool"):
                yield f"""graph (%x: {dtype}[2,4,5]) -> (%y)
  %k = constant i64[] {k}
  %y: {dtype}[2,4,5] = Trilu(%x, %k) {{upper={upper}}} @node"""
    yield "graph (%x: f32[N,M]) -> (%y)\n  %y: f32[N,M] = Trilu(%x) @node"


CASES = {
    "Gelu": [*unary("Gelu(%x)"), *unary('Gelu(%x) {approximate="tanh"}')],
    "HardSwish": unary("HardSwish(%x)"),
    "Mish": unary("Mish(%x)"),
    "Swish": [*unary("Swish(%x)"), *unary("Swish(%x) {alpha=1.7}")],
    "Shrink": [*unary("Shrink(%x)"), *unary("Shrink(%x) {lambd=0.3, bias=0.1}")],
    "Reciprocal": unary("Reciprocal(%x)"),
    "Hardmax": [*unary("Hardmax(%x)"), *unary("Hardmax(%x) {axis=0}")],
    "MeanVarianceNormalization": [
        *unary("MeanVarianceNormalization(%x)", ("2,3,4,4",)),
        *unary("MeanVarianceNormalization(%x) {axes=[1, 2]}", ("2,3,8",)),
    ],
    "IsInf": [
        *unary("IsInf(%x)", made="bool"),
        *unary("IsInf(%x) {detect_negative=0}", made="bool"),
        *unary("IsInf(%x) {detect_positive=0}", made="bool"),
    ],
    "Mod": mods(),
    "Xor": ["graph (%x: bool[40], %z: bool[40]) -> (%y)\n  %y: bool[40] = Xor(%x, %z) @node"],
    "LayerNormalization": [
        normal("LayerNormalization", dtype, shape, scales, f"axis={axis}", bias)
        for dtype in ("f32", "f16")
        for shape, scales, axis in (("2,3,8", "8", -1), ("2,3,8", "3,8", 1), ("2,6", "6", 1))
        for bias in (True, False)
    ],
    "RMSNormalization": [
        normal("RMSNormalization", dtype, "2,3,8", "8", "axis=-1, epsilon=0.001", False)
        for dtype in ("f32", "f16")
    ],
    "GroupNormalization": [
        normal("GroupNormalization", dtype, shape, "6", f"num_groups={groups}")
        for dtype in ("f32", "f16")
        for shape, groups in (("2,6,4,4", 3), ("1,6,5", 2), ("2,6,3", 1))
    ],
    "OneHot": one_hots(),
    "Trilu": triangles(),
}
EVERY = [(kind, text) for kind, texts in CASES.items() for text in texts]


def feeds(graph: Graph) -> dict[str, np.ndarray]:
    """Return elements that reach every case: infinities, equal ones, indices beyond the depth."""
    random = np.random.default_rng(0)
    made = {}
    for value in graph.inputs:
        kind = graph.types[value]
        shape = [size if isinstance(size, int) else 5 for size in kind.shape]
        whole = kind.dtype.text != "f32" or "OneHot" in {node.op for node in graph.nodes}
        some = random.integers(-7, 8, shape) if whole else random.normal(0, 3, shape)
        if value == "z" and kind.dtype.text != "bool":
            some = np.where(some == 0, 3, some)
        if kind.dtype.text == "f16":
            some = random.normal(0, 1, shape)
        if "IsInf" in {node.op for node in graph.nodes}:
            some.reshape(-1)[:2] = np.inf, -np.inf
        made[value] = np.asarray(some).astype(kind.dtype.numpy)
    return made


@pytest.mark.parametrize(
    ("kind", "text"), EVERY, ids=[f"{kind}{i}" for i, (kind, _) in enumerate(EVERY)]
)
def test_older_operators_compute_the_same(kind: str, text: str) -> None:
    graph = parse_text(text)
    result = decompose(graph, OLD, OPS)
    made = [node.op for node in result.graph.nodes]
    assert set(made).isdisjoint(WAYS)
    assert all(schema_of(node, 13) is not None for node in result.graph.nodes)
    assert [remark.node for remark in result.remarks] == ["node"]
    given = feeds(graph)
    close = CLOSE["f16" if "f16[" in text else "f32"]
    wanted = np.asarray(run(graph, given)["y"]).astype(np.float64)
    np.testing.assert_allclose(
        np.asarray(run(result.graph, given)["y"]).astype(np.float64), wanted, atol=close, rtol=close
    )
    assert all(v in result.graph.types for node in result.graph.nodes for v in node.outputs)


def test_every_way_is_tried() -> None:
    assert set(CASES) == set(WAYS)


def test_a_target_that_has_the_operator_keeps_it() -> None:
    graph = parse_text(next(unary("Gelu(%x)")))
    assert decompose(graph, JETSON_ORIN, OPS).graph is graph
    assert decompose(graph, GENERIC_ONNX, OPS).graph is not graph  # Gelu came with opset 20


def test_statistics_of_a_normalisation_are_results_too() -> None:
    graph = parse_text(
        """graph (%x: f32[2,8]) -> (%y, %m, %d)
  %s = constant f32[8] random(0)
  %y: f32[2,8], %m: f32[2,1], %d: f32[2,1] = LayerNormalization(%x, %s) @norm"""
    )
    made = decompose(graph, JETSON_NANO, OPS).graph
    assert "LayerNormalization" not in {node.op for node in made.nodes}
    given = feeds(graph)
    for value, wanted in run(graph, given).items():
        np.testing.assert_allclose(run(made, given)[value], wanted, atol=1e-5)


BODY = """graph (%x: f32[2,8], %c: bool[]) -> (%y)
  %y: f32[2,8] = If(%c) @if
    then_branch = graph () -> (%t)
      %t: f32[2,8] = HardSwish(%x) @swish
    else_branch = graph () -> (%f)
      %f: f32[2,8] = Neg(%x) @neg"""


def test_bodies_are_expressed_too() -> None:
    graph = parse_text(BODY)
    made = decompose(graph, JETSON_NANO, OPS)
    assert [remark.node for remark in made.remarks] == ["swish"]
    assert "HardSwish" not in {node.op for node in made.graph.walk()}
    given = {"x": feeds(graph)["x"], "c": np.array(True)}
    np.testing.assert_allclose(run(made.graph, given)["y"], run(graph, given)["y"], atol=1e-6)


def test_operators_that_are_onnx_functions_need_no_way_of_ours() -> None:
    graph = parse_text(
        "graph (%x: f32[2,8], %z: f16[2]) -> (%y)\n  %y: f16[2,8] = CastLike(%x, %z) @node"
    )
    made = decompose(graph, JETSON_NANO, OPS)
    assert [node.op for node in made.graph.nodes] == ["Cast"]


@pytest.mark.parametrize(
    ("target", "text", "why"),
    [
        (OLD, """graph (%x: i64[2], %d: i64[]) -> (%y)
  %v = constant f32[2] [0, 1]
  %y: f32[2,D] = OneHot(%x, %d, %v) @node""", "its depth or its values are computed"),
        (OLD, """graph (%x: i64[2]) -> (%y)
  %d = constant i64[] 5
  %v = constant f32[3] fill(1)
  %y: f32[2,5] = OneHot(%x, %d, %v) @node""", "it has 3 values where two are due"),
        (OLD, "graph (%x: f32[2,N]) -> (%y)\n  %y: f32[2,N] = Hardmax(%x) @node", "axis 1"),
        (OLD, """graph (%x: f32[4,4], %k: i64[]) -> (%y)
  %y: f32[4,4] = Trilu(%x, %k) @node""", "k is computed"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused(target: Target, text: str, why: str) -> None:
    with pytest.raises(SlimcError) as caught:
        decompose(parse_text(text), target, OPS)
    assert caught.value.name == "target-refuses"
    assert "'node'" in caught.value.where
    assert why in caught.value.message
