"""A weighted node as a product of matrices gives what onnxruntime gives."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.execute.ort import run
from slimc.fit.linear import Linear, as_linear
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS

CASES = {
    "Conv": ("f32[2,3,7,6]", "Conv(%x, %w, %b)", "f32[4,3,3,3]"),
    "strides": ("f32[2,3,7,6]", "Conv(%x, %w, %b) {strides=[2,3]}", "f32[4,3,3,2]"),
    "pads": ("f32[2,3,7,6]", "Conv(%x, %w, %b) {pads=[1,0,2,1]}", "f32[4,3,3,3]"),
    "dilations": ("f32[2,3,9,9]", "Conv(%x, %w, %b) {dilations=[2,3], pads=[2,3,2,3]}",
                  "f32[4,3,3,3]"),
    "same upper": ("f32[2,3,7,6]", 'Conv(%x, %w, %b) {auto_pad="SAME_UPPER", strides=[2,2]}',
                   "f32[4,3,3,4]"),
    "same lower": ("f32[2,3,7,6]", 'Conv(%x, %w, %b) {auto_pad="SAME_LOWER", strides=[2,1]}',
                   "f32[4,3,2,4]"),
    "valid": ("f32[2,3,7,6]", 'Conv(%x, %w, %b) {auto_pad="VALID"}', "f32[4,3,3,3]"),
    "point": ("f32[2,3,7,6]", "Conv(%x, %w, %b)", "f32[4,3,1,1]"),
    "groups": ("f32[2,6,7,6]", "Conv(%x, %w, %b) {group=2, pads=[1,1,1,1]}", "f32[4,3,3,3]"),
    "depthwise": ("f32[2,4,7,6]", "Conv(%x, %w, %b) {group=4, pads=[1,1,1,1]}", "f32[4,1,3,3]"),
    "one axis": ("f32[2,3,9]", "Conv(%x, %w, %b) {pads=[2,2]}", "f32[4,3,5]"),
    "three axes": ("f32[2,3,4,5,3]", "Conv(%x, %w, %b) {pads=[1,1,0,1,1,0]}", "f32[4,3,3,3,2]"),
    "transposed": ("f32[2,3,4,5]", "ConvTranspose(%x, %w, %b) {strides=[2,2]}", "f32[3,4,3,2]"),
    "transposed pads": ("f32[2,3,4,5]",
                        "ConvTranspose(%x, %w, %b) {strides=[2,1], pads=[1,0,0,1]}",
                        "f32[3,4,3,3]"),
    "transposed more": ("f32[2,3,4,5]",
                        "ConvTranspose(%x, %w, %b) {strides=[3,2], output_padding=[1,1]}",
                        "f32[3,4,3,3]"),
    "transposed groups": ("f32[2,6,4,5]", "ConvTranspose(%x, %w, %b) {group=2, strides=[2,2]}",
                          "f32[6,2,2,2]"),
    "transposed same": ("f32[2,3,4,5]",
                        'ConvTranspose(%x, %w, %b) {auto_pad="SAME_UPPER", strides=[2,2]}',
                        "f32[3,4,3,3]"),
    "Gemm": ("f32[5,3]", "Gemm(%x, %w, %b)", "f32[3,4]"),
    "Gemm transposed": ("f32[3,5]", "Gemm(%x, %w, %b) {transA=1, transB=1}", "f32[4,3]"),
    "MatMul": ("f32[5,3]", "MatMul(%x, %w)", "f32[3,4]"),
    "MatMul of rank 4": ("f32[2,3,5,3]", "MatMul(%x, %w)", "f32[3,4]"),
    "a weight per head": ("f32[2,3,5,6]", "MatMul(%x, %w)", "f32[3,6,4]"),
    "a weight on the left": ("f32[2,3,5]", "MatMul(%w, %x)", "f32[4,3]"),
}  # fmt: skip


def graph_of(data: str, node: str, weight: str) -> Graph:
    bias = f"  %b = constant f32[{4 if 'Gemm' in node or 'Conv' in node else 1}] random(2)\n"
    return parse_text(
        f"graph (%x: {data}) -> (%y)\n  %w = constant {weight} random(1)\n"
        f"{bias if '%b' in node else ''}  %y = {node} @n"
    )


def product(graph: Graph) -> Linear:
    found = as_linear(graph, OPS, infer(graph, OPS), graph.nodes[0])
    assert found is not None
    return found


def feed(graph: Graph) -> np.ndarray:
    shape = infer(graph, OPS).shape("x")
    assert shape is not None
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_the_product_is_the_result(name: str) -> None:
    graph = graph_of(*CASES[name])
    one, x = product(graph), feed(graph)
    y = run(graph, {"x": x})["y"]
    rows = np.arange(one.count(y.shape))
    w = one.matrix(graph.constants[one.weight].array)
    bias = graph.constants["b"].array.reshape(w.shape[:2]) if "b" in graph.constants else 0
    made = np.einsum("rgp,gop->rgo", one.reads(x, y.shape, rows), w) + bias
    # sums of up to 54 products in f32, in another order
    np.testing.assert_allclose(made, one.channels(y, rows), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_matrix_goes_back_into_the_weight(name: str) -> None:
    graph = graph_of(*CASES[name])
    one = product(graph)
    w = graph.constants[one.weight].array
    np.testing.assert_array_equal(one.array(one.matrix(w)), w)


@pytest.mark.parametrize(
    "text",
    [
        "graph (%x: f32[2,3], %w: f32[3,4]) -> (%y)\n  %y = MatMul(%x, %w) @n",
        "graph (%x: f32[2,3]) -> (%y)\n  %y = Relu(%x) @n",
        "graph (%x: f32[2,3,3,3]) -> (%y)\n  %w = constant f32[4,3,1,1] random(1)\n"
        "  %o = constant f32[2,2,3,3] random(2)\n  %y = DeformConv(%x, %w, %o) @n",
    ],
    ids=["two activations", "no weights", "a kernel that moves"],
)
def test_other_nodes_are_no_product(text: str) -> None:
    graph = parse_text(text)
    assert as_linear(graph, OPS, infer(graph, OPS), graph.nodes[0]) is None


@pytest.mark.parametrize("name", ["point", "Gemm", "MatMul of rank 4", "a weight per head"])
def test_without_a_kernel_a_result_reads_the_channels_of_its_place(name: str) -> None:
    graph = graph_of(*CASES[name])
    one, x = product(graph), feed(graph)
    shape = infer(graph, OPS).shape("y")
    assert shape is not None
    rows = np.arange(one.count([int(size) for size in shape]))
    np.testing.assert_array_equal(one.inputs(x), one.reads(x, shape, rows))  # type: ignore[arg-type]  # sizes are numbers


def test_channels_of_halves_are_wide_enough_to_be_summed() -> None:
    graph = graph_of("f16[2,3,7,6]", "Conv(%x, %w)", "f16[4,3,1,1]")
    assert product(graph).inputs(feed(graph).astype(np.float16)).dtype == np.float32


@pytest.mark.parametrize("name", ["Conv", "depthwise", "transposed groups"])
def test_no_samples_give_no_rows(name: str) -> None:
    kind, text, weight = CASES[name]
    graph = graph_of(kind.replace("f32[2", "f32[0"), text, weight)
    one, x = product(graph), feed(graph)
    groups, outs, columns = one.matrix(graph.constants["w"].array).shape
    y, rows = np.zeros((0, groups * outs, 5, 5), np.float32), np.arange(0)
    assert one.channels(y, rows).shape == (0, groups, outs)
    assert one.reads(x, y.shape, rows).shape == (0, groups, columns)
    assert one.inputs(x).shape == (0, groups, columns // one.taps)
