"""Channels that are copies of others, scaled, merge exactly, whatever reads them."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.execute import ort
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.merge_channels import merge
from slimc.passes.prune.slice_axes import slice_axes

MADE = """
graph (%x: f32[1,3,6,6]) -> (%y)
  %w = constant f32[8,3,3,3] random(0)
  %b = constant f32[8] random(1)
  %a = Conv(%x, %w, %b) {pads=[1, 1, 1, 1]} @a
  %r = Relu(%a) @r
"""
READERS = {
    "convolution with a bias": """
  %v = constant f32[5,8,3,3] random(2)
  %c = constant f32[5] random(3)
  %y = Conv(%r, %v, %c) {pads=[1, 1, 1, 1]} @read
""",
    "convolution without a bias": """
  %v = constant f32[5,8,3,3] random(2)
  %y = Conv(%r, %v) @read
""",
    "transposed convolution": """
  %v = constant f32[8,5,2,2] random(2)
  %y = ConvTranspose(%r, %v) {strides=[2, 2]} @read
""",
    "flattened map": """
  %f = Flatten(%r) @f
  %v = constant f32[288,5] random(2)
  %c = constant f32[5] random(3)
  %y = Gemm(%f, %v, %c) @read
""",
    "pooled map, transposed weight": """
  %p = GlobalAveragePool(%r) @p
  %f = Flatten(%p) @f
  %v = constant f32[5,8] random(2)
  %y = Gemm(%f, %v) {transB=1} @read
""",
    "tokens": """
  %t = Transpose(%r) {perm=[0, 2, 3, 1]} @t
  %v = constant f32[8,5] random(2)
  %c = constant f32[5] random(3)
  %m = MatMul(%t, %v) @read
  %y = Add(%m, %c) @add
""",
    "two readers": """
  %v = constant f32[5,8,1,1] random(2)
  %u = constant f32[5,8,1,1] random(3)
  %m = Conv(%r, %v) @read
  %n = Conv(%r, %u) @other
  %y = Mul(%m, %n) @mul
""",
}


def with_copies(graph: Graph, seed: int, gone: list[int]) -> Graph:
    """Let each of these channels be a scaled copy of one that stays."""
    random = np.random.default_rng(seed)
    w, b = (np.array(graph.constants[name].array) for name in "wb")
    stays = [k for k in range(len(b)) if k not in gone]
    for channel in gone:
        of, scale = random.choice(stays), np.float32(random.uniform(0.3, 3))
        w[channel], b[channel] = scale * w[of], scale * b[of]
    editor = Editor(graph)
    editor.set_constant("w", w)
    editor.set_constant("b", b)
    return editor.finish()


def cut(graph: Graph, gone: list[int]) -> tuple[Coupling, np.ndarray]:
    coupling = couple(graph, OPS, infer(graph, OPS))
    (family,) = [f for f in families(coupling) if f.name == "a"]
    removed = np.zeros(len(coupling.pinned), bool)
    removed[family.units[gone]] = True
    return coupling, removed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reader", READERS)
def test_scaled_copies_merge_exactly(reader: str, seed: int) -> None:
    gone = sorted(np.random.default_rng(seed).choice(8, 4, replace=False).tolist())
    graph = with_copies(parse_text(MADE + READERS[reader]), seed, gone)
    coupling, removed = cut(graph, gone)
    sliced = slice_axes(coupling, removed, "test")
    merged = merge(coupling, removed, sliced, seed)
    assert all(row["merged"] for row in merged.table)
    x = np.random.default_rng(seed + 9).normal(0, 1, (1, 3, 6, 6)).astype(np.float32)
    wanted, made, plain = (ort.run(g, {"x": x})["y"] for g in (graph, merged.graph, sliced.graph))
    size = np.abs(wanted).max()
    assert np.abs(made - wanted).max() < 1e-4 * size  # moments and weights are sums in f32
    assert np.abs(plain - wanted).max() > 1e-2 * size


@pytest.mark.parametrize("reader", READERS)
def test_the_graph_stays_as_it_was_cut(reader: str) -> None:
    graph = parse_text(MADE + READERS[reader])
    coupling, removed = cut(graph, [1, 6])
    sliced = slice_axes(coupling, removed, "test")
    merged = merge(coupling, removed, sliced).graph
    assert [n.name for n in merged.nodes] == [n.name for n in sliced.graph.nodes]
    assert merged.types["y"] == sliced.graph.types["y"]
    for name, constant in sliced.graph.constants.items():
        assert name not in merged.constants or merged.constants[name].shape == constant.shape
