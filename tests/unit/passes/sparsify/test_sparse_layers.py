from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.shapes import retype
from slimc.analysis.sparsity import is_sparse
from slimc.calib.data import Data
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.sparsify.sparse_layers import SparsityBounds, copy_zeros, select_sparse_layers
from slimc.targets.tensorrt.devices import JETSON_ORIN

BOUNDS = SparsityBounds(channels=8, multiple=4)
PRODUCT = """
graph (%x: f32[2,8]) -> (%y)
  %w = constant f32[8,8] random(0)
  %y = MatMul(%x, %w) @node
"""


def context(graph: Graph) -> Context:
    return Context(OPS, JETSON_ORIN, Data.synthesize(graph, {}, 0, 1))


def left(text: str, bounds: SparsityBounds = BOUNDS, keep: tuple[str, ...] = ()) -> dict[str, str]:
    """Return why nodes stay dense."""
    graph = retype(parse_text(text), OPS)
    _, remarks = select_sparse_layers(graph, context(graph), keep, bounds)
    return {remark.node: remark.message.removeprefix("stays dense: ") for remark in remarks}


def test_layers_and_the_axis_of_their_groups() -> None:
    graph = retype(
        parse_text("""
graph (%x: f32[1,8,4,4]) -> (%y)
  %w = constant f32[12,8,3,3] random(0)
  %v = constant f32[12,16] random(1)
  %c = Conv(%x, %w) @conv
  %t = Transpose(%c) {perm=[0, 2, 3, 1]} @turn
  %y = MatMul(%t, %v) @product
"""),
        OPS,
    )
    found, _ = select_sparse_layers(graph, context(graph), (), BOUNDS)
    assert [(one.name, one.axis) for one in found] == [("conv", 1), ("product", 0)]
    for one in found:
        masked = one.masked_weight(graph)
        assert is_sparse(masked, one.axis)
        assert masked.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  %y = MatMul(%x, %x) @node", "its weights are computed at run time"),
        (
            "  %w = constant f32[8,8] random(0)\n  %y = MatMul(%w, %x) @node",
            "its weights are computed at run time",
        ),
        (
            "  %w = constant f32[8,8] random(0)\n"
            "  %z = MatMul(%x, %w) @other\n  %y = MatMul(%z, %w) @node",
            "other nodes share its weights",
        ),
        (
            "  %w = constant f32[8,4] random(0)\n  %y = MatMul(%x, %w) @node",
            "8 input and 4 output channels: sparse kernels are no faster below 8",
        ),
        (
            "  %w = constant f32[8,8] fill(0)\n  %y = MatMul(%x, %w) @node",
            "its weights are 2:4 already",
        ),
    ],
)
def test_what_stays_dense_gets_the_reason(text: str, reason: str) -> None:
    assert left(f"graph (%x: f32[8,8]) -> (%y)\n{text}\n")["node"] == reason


def test_kept_nodes_odd_channels_and_weights_that_are_not_finite_stay_dense() -> None:
    assert left(PRODUCT, keep=("node",))["node"] == "it is listed in keep"
    wider = SparsityBounds(channels=8, multiple=16)
    assert left(PRODUCT, wider)["node"] == "its 8 input channels are not a multiple of 16"
    graph = retype(parse_text(PRODUCT), OPS)
    array = graph.constants["w"].array.copy()
    array[0, 0] = np.nan
    graph = replace(graph, constants={"w": Constant(array)})
    _, (one,) = select_sparse_layers(graph, context(graph), (), BOUNDS)
    assert "NaN" in one.message


def test_operators_without_sparse_kernels_and_bodies_stay_dense() -> None:
    text = """
graph (%x: f32[1,8,4,4], %c: bool[]) -> (%y, %z)
  %w = constant f32[8,8,3,3] random(0)
  %y = ConvTranspose(%x, %w) @turned
  %z = If(%c) @choice
    then_branch = graph () -> (%a)
      %v = constant f32[8,8,1,1] random(1)
      %a = Conv(%x, %v) @inside
    else_branch = graph () -> (%b)
      %u = constant f32[8,8,1,1] random(2)
      %b = Conv(%x, %u) @outside
"""
    why = left(text)
    assert why["turned"] == "jetson-orin has no sparse kernels of ConvTranspose"
    assert why["inside"] == "it stands in a body of 'choice' (If)"


def test_zeros_of_another_graph_are_taken_over() -> None:
    dense = retype(parse_text(PRODUCT), OPS)
    ((layer,), _) = select_sparse_layers(dense, context(dense), (), BOUNDS)
    masked = replace(dense, constants={"w": Constant(layer.masked_weight(dense))})
    made = copy_zeros(dense, masked, context(dense))
    np.testing.assert_array_equal(made.constants["w"].array, masked.constants["w"].array)
    assert copy_zeros(dense, dense, context(dense)).constants["w"] is dense.constants["w"]
