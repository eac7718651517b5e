from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.analysis.sparsity import (
    crowded,
    input_axis,
    is_sparse,
    largest_two,
    output_channels,
    separate_groups,
)
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.ops.axes import labels_of

GRAPH = """
graph (%x: f32[1,8,4,4], %v: f32[2,8]) -> (%a, %b, %c, %d, %e)
  %wa = constant f32[12,8,3,3] random(0)
  %wb = constant f32[12,4,3,3] random(0)
  %wc = constant f32[8,6,3,3] random(0)
  %wd = constant f32[8,12] random(0)
  %we = constant f32[12,8] random(0)
  %a = Conv(%x, %wa) @conv
  %b = Conv(%x, %wb) {group=2} @grouped
  %c = ConvTranspose(%x, %wc) @transposed
  %d = MatMul(%v, %wd) @product
  %e = Gemm(%v, %we) {transB=1} @gemm
"""


@pytest.mark.parametrize(
    ("node", "axis", "groups", "outs"),
    [
        ("conv", 1, 1, 12),
        ("grouped", 1, 2, 12),
        ("transposed", 0, 1, 6),
        ("product", 0, 1, 12),
        ("gemm", 1, 1, 12),
    ],
)
def test_groups_of_four_stand_along_the_input_channels(
    node: str, axis: int, groups: int, outs: int
) -> None:
    graph = parse_text(GRAPH)
    bound = infer(graph, OPS).bounds[node]
    parts = OPS.rows[graph.by_name[node].kind].weighted
    assert parts is not None
    ins = labels_of(bound.inputs[parts.data]) - labels_of(bound.outputs[0])
    assert input_axis(bound.inputs[parts.weight], ins) == axis
    assert (separate_groups(bound, parts), output_channels(bound, parts)) == (groups, outs)


def test_the_two_largest_of_four_stay_and_the_first_of_equals() -> None:
    w = np.array([[1.0, -3.0, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    wanted = [[False, True, True, False], [True, True, False, False]]
    assert largest_two(w, 1).tolist() == wanted
    assert largest_two(w.T, 0).T.tolist() == wanted


def test_crowded_groups_are_counted() -> None:
    w = np.array([[1, 0, 0, 2, 1, 1, 1, 0], [0, 0, 0, 0, 0, 3, 0, 4]])
    assert crowded(w, 1) == 1
    assert not is_sparse(w, 1)
    assert is_sparse(w[:, :4], 1)
    assert not is_sparse(w[:, :3], 1)  # no multiple of four
