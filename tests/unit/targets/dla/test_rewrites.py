"""Layers of DLA compute the same as what they replace, on maps of several sizes."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.execute.ort import run
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.dla.devices import JETSON_ORIN_DLA
from slimc.targets.dla.rewrites import WAYS, suit_dla


def pool(kind: str, shape: str, made: str) -> str:
    return f"graph (%x: f32[{shape}]) -> (%y)\n  %y: f32[{made}] = {kind}(%x) @n"


def mean(shape: str, axes: str, made: str, keep: int = 1) -> str:
    count = axes.count(",") + 1
    return f"""graph (%x: f32[{shape}]) -> (%y)
  %a = constant i64[{count}] [{axes}]
  %y: f32[{made}] = ReduceMean(%x, %a) {{keepdims={keep}}} @n"""


def product(shape: str, flat: int, attrs: str = "", bias: str = "5") -> str:
    rows = shape.split(",", 1)[0]
    b = f"  %b = constant f32[{bias}] random(1)\n" if bias else ""
    w = f"5,{flat}" if "transB=1" in attrs else f"{flat},5"
    return f"""graph (%x: f32[{shape}]) -> (%y)
  %w = constant f32[{w}] random(0)
{b}  %s = constant i64[2] [{rows}, {flat}]
  %r: f32[{rows},{flat}] = Reshape(%x, %s)
  %y: f32[{rows},5] = Gemm(%r, %w{", %b" if bias else ""}) {{{attrs}}} @n"""


def curve(call: str, shape: str = "2,3,4,5") -> str:
    return f"graph (%x: f32[{shape}]) -> (%y)\n  %y: f32[{shape}] = {call} @n"


def on_rows(call: str) -> str:
    return f"""graph (%x: f32[2,6,1,1]) -> (%y)
  %f: f32[2,6] = Flatten(%x)
  %y: f32[2,6] = {call} @n"""


CASES = {
    "one window": (pool("GlobalAveragePool", "2,3,7,8", "2,3,1,1"), "AveragePool"),
    "depthwise": (pool("GlobalAveragePool", "1,3,16,11", "1,3,1,1"), "Conv"),
    "two windows": (pool("GlobalAveragePool", "1,2,40,4", "1,2,1,1"), "AveragePool"),
    "two maxima": (pool("GlobalMaxPool", "1,2,12,35", "1,2,1,1"), "MaxPool"),
    "height": (mean("1,3,6,5", "2", "1,3,1,5"), "AveragePool"),
    "width gone": (mean("1,3,6,5", "-1", "1,3,6", keep=0), "AveragePool"),
    "both gone": (mean("2,3,4,5", "2,3", "2,3", keep=0), "AveragePool"),
    "wide maximum": (
        pool("MaxPool", "1,2,20,9", "1,2,20,9").replace(
            "(%x) @", "(%x) {kernel_shape=[13,9], pads=[6,4,6,4], strides=[1,1]} @"
        ),
        "MaxPool",
    ),
    "wider maximum": (
        pool("MaxPool", "1,1,30,30", "1,1,30,30").replace(
            "(%x) @", "(%x) {kernel_shape=[21,3], pads=[10,1,10,1]} @"
        ),
        "MaxPool",
    ),
    "padded deconvolution": (
        """graph (%x: f32[1,3,5,4]) -> (%y)
  %w = constant f32[3,2,4,3] random(0)
  %b = constant f32[2] random(1)
  %y: f32[1,2,9,8] = ConvTranspose(%x, %w, %b) {strides=[2,2], pads=[1,1,2,0]} @n""",
        "ConvTranspose",
    ),
    "whole map": (product("2,3,4,2", 24), "Conv"),
    "rows": (product("2,24", 24), "Conv"),
    "scaled": (product("2,6,2,2", 24, "alpha=0.5, beta=2.0"), "Conv"),
    "transposed": (product("2,6,2,2", 24, "transB=1"), "Conv"),
    "one bias": (product("2,6,2,2", 24, bias="1"), "Conv"),
    "no bias": (product("2,6,2,2", 24, bias=""), "Conv"),
    "hard swish": (curve("HardSwish(%x)"), "Mul"),
    "hard swish of rows": (on_rows("HardSwish(%x)").replace("(%x) @", "(%f) @"), "Mul"),
    "hard sigmoid": (curve("HardSigmoid(%x)"), "Mul"),
    "hard sigmoid of sixths": (curve("HardSigmoid(%x) {alpha=0.166667}"), "Mul"),
    "swish": (curve("Swish(%x) {alpha=1.5}"), "Mul"),
    "negative": (curve("Neg(%x)"), "Mul"),
    "softmax": (on_rows("Softmax(%f)"), "Softmax"),
    "relu": (on_rows("Relu(%f)"), "Relu"),
}


def made_of(text: str) -> tuple[Graph, Graph]:
    graph = parse_text(text)
    return graph, suit_dla(graph, JETSON_ORIN_DLA, OPS).graph


@pytest.mark.parametrize("name", CASES)
def test_values_stay_the_same(name: str) -> None:
    text, last = CASES[name]
    graph, made = made_of(text)
    assert made is not graph
    assert made.by_name["n"].op == last
    assert suit_dla(made, JETSON_ORIN_DLA, OPS).graph is made
    assert made.type_of("y") == graph.type_of("y")
    kind = graph.types["x"]
    x = np.random.default_rng(0).normal(size=kind.shape).astype(np.float32) * 3  # type: ignore[union-attr]
    wanted, found = run(graph, {"x": x})["y"], run(made, {"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)  # sums in another order


REFUSED = {
    "a prime": (pool("GlobalAveragePool", "1,2,41,4", "1,2,1,1"), "no windows of 8"),
    "channels too": (mean("1,3,6,5", "1,2", "1,1,1,5"), "other axes than height and width"),
    "a sequence": (pool("GlobalAveragePool", "1,2,9", "1,2,1"), "is no map"),
    "own bias per row": (product("5,6,2,2", 24, bias="5,1"), "differs from row to row"),
    "wide steps": (
        pool("MaxPool", "1,2,20,20", "1,2,4,4").replace(
            "(%x) @", "(%x) {kernel_shape=[11,11], strides=[3,3]} @"
        ),
        "a window of 11 x 11",
    ),
    "padded behind": (
        """graph (%x: f32[1,1,4,4]) -> (%y)
  %w = constant f32[1,1,2,2] random(0)
  %y = ConvTranspose(%x, %w) {strides=[2,2], pads=[1,1,0,0], output_padding=[1,1]} @n""",
        "it has output_padding",
    ),
    "divided by zero": (
        "graph (%x: f32[1,2,3,4]) -> (%y)\n  %c = constant f32[] 0\n"
        "  %y: f32[1,2,3,4] = Div(%x, %c) @n",
        "other than 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_says_why(name: str) -> None:
    text, why = REFUSED[name]
    graph = parse_text(text)
    result = suit_dla(graph, JETSON_ORIN_DLA, OPS)
    assert result.graph.by_name["n"].op == graph.by_name["n"].op
    assert [r.kind for r in result.remarks if why in r.message] == ["skipped"]


def test_every_way_has_a_case() -> None:
    texts = "".join(text for text, _ in (*CASES.values(), *REFUSED.values()))
    covered_by_goldens = {"MatMul", "Flatten"}
    same_way = {"Squeeze", "Unsqueeze", "Clip", "LeakyRelu", "Sigmoid", "Tanh"}
    missing = {kind for kind in WAYS if f"{kind}(" not in texts}
    assert missing <= covered_by_goldens | same_way


def test_scales_that_are_chosen_forbid_rewrites() -> None:
    text = pool("GlobalAveragePool", "1,2,4,4", "1,2,1,1").replace(
        "\n", "\n  form quantized\n  %x quantized i8 scale=0.5\n", 1
    )
    graph = parse_text(text)
    result = suit_dla(graph, JETSON_ORIN_DLA, OPS)
    assert result.graph is graph
    assert "chosen already" in result.remarks[0].message
