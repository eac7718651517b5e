"""The order in which kernels sum."""

from __future__ import annotations

import pytest

from slimc.analysis.contraction_axes import sum_order
from slimc.analysis.shapes import infer
from slimc.ir.text import parse_text
from slimc.ops import OPS

GRAPH = """graph (%x: f32[N,8,8,8], %m: f32[N,5,6]) -> (%y)
  %w = constant f32[{weight}] random(0)
  %y = {call} @y
"""


@pytest.mark.parametrize(
    ("weight", "call", "order"),
    [
        ("4,8,3,3", "Conv(%x, %w)", (2, 3, 1)),
        ("8,4,1,1", "Conv(%x, %w) {group=2}", (2, 3, 1)),
        ("8,1,3,3", "Conv(%x, %w) {group=8}", ()),
        ("16,1,3,3", "Conv(%x, %w) {group=8}", (2, 3, 1)),
        ("6,7", "MatMul(%m, %w)", (0,)),
    ],
    ids=["conv", "grouped", "depthwise", "two-per-channel", "matmul"],
)
def test_a_convolution_sums_over_its_window_and_channels_within(
    weight: str, call: str, order: tuple[int, ...]
) -> None:
    graph = parse_text(GRAPH.format(weight=weight, call=call))
    (node,) = graph.nodes
    row = OPS.get(node.kind)
    parts = row.weighted if row is not None else None
    assert parts is not None
    assert sum_order(infer(graph, OPS).bounds[node.name], parts) == order
