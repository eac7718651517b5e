from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.calib.sample_errors import sample_errors
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text, to_text
from slimc.ops import OPS
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import InsertQdq
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.consumers import Readers, find_shared_scales
from slimc.passes.quant.range_search import range_of
from slimc.passes.quant.search_scales import SearchScales
from slimc.targets.dla.devices import JETSON_ORIN_DLA
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.grids import U8
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.target import Quantize

PRODUCT = parse_text("""
graph (%x: f32[N,16]) -> (%y)
  %w = constant f32[16,8] random(0)
  %y: f32[N,8] = MatMul(%x, %w) @product
""")


def context(graph: Graph, samples: np.ndarray, target: object = CPU_VNNI) -> Context:
    data = Data.from_feeds([{graph.inputs[0]: part} for part in np.split(samples, 8)], graph)
    return Context(OPS, target, data, {"N": len(samples) // 8})  # type: ignore[arg-type]


def searched(graph: Graph, ctx: Context, calibrator: str = "minmax") -> tuple[Graph, PassResult]:
    assigned = AssignScales(calibrator=calibrator).run(graph, ctx).graph  # type: ignore[arg-type]
    return assigned, SearchScales(samples=256).run(assigned, ctx)


def with_weights(graph: Graph, name: str, array: np.ndarray) -> Graph:
    editor = Editor(graph)
    editor.set_constant(name, array.astype(np.float32))
    return editor.finish()


def unread_outliers() -> tuple[Graph, np.ndarray]:
    """Make a product that does not read the one channel with large numbers."""
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 16)).astype(np.float32)
    x[:, 0] *= 30
    w = random.normal(size=(16, 8))
    w[0] = 0
    return with_weights(PRODUCT, "w", w), x


def test_a_range_shrinks_where_nobody_reads_what_is_clipped() -> None:
    graph, x = unread_outliers()
    ctx = context(graph, x)
    before, result = searched(graph, ctx)
    assert range_of(result.graph.records["x"]).high < 0.6 * range_of(before.records["x"]).high
    unseen = unread_outliers()[1][::-1].copy()
    errors = [
        sample_errors(graph, [InsertQdq().run(one, ctx).graph], [{"x": unseen}]).mean()
        for one in (before, result.graph)
    ]
    assert errors[1] < 0.4 * errors[0]


def test_a_range_stays_where_every_channel_counts_alike() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (256, 16)).astype(np.float32)
    before, result = searched(PRODUCT, context(PRODUCT, x))
    high = range_of(before.records["x"]).high
    assert abs(range_of(result.graph.records["x"]).high - high) < 0.11 * high


def test_the_choice_is_the_same_each_time() -> None:
    graph, x = unread_outliers()
    first, second = (searched(graph, context(graph, x))[1] for _ in range(2))
    assert to_text(first.graph) == to_text(second.graph)
    assert first.facts == second.facts


def test_a_symmetric_grid_stays_symmetric() -> None:
    graph, x = unread_outliers()
    _, result = searched(graph, context(graph, x + 0.3, GENERIC_ONNX))
    assert int(result.graph.records["x"].zero_point) == 0


MOVED = parse_text("""
graph (%x: f32[N,16,4,4]) -> (%y)
  %w = constant f32[16,16,3,3] random(0)
  %v = constant f32[16,16,1,1] random(1)
  %a: f32[N,16,2,2] = Conv(%x, %w) @first
  %m: f32[N,16,1,1] = MaxPool(%a) {kernel_shape=[2, 2]} @pool
  %y: f32[N,16,1,1] = Conv(%m, %v) @last
""")


def test_values_that_share_a_scale_go_on_sharing_one() -> None:
    x = np.random.default_rng(2).normal(size=(64, 16, 4, 4)).astype(np.float32)
    x[:, 3] *= 9
    ctx = context(MOVED, x)
    before, result = searched(MOVED, ctx)
    shared = find_shared_scales(before, OPS)
    assert ("a", "m") in shared
    assert result.graph.records["a"] is result.graph.records["m"]
    readers = Readers.of(before, ctx, shared)
    assert [one.node.name for one in readers.products] == ["first", "last"]
    assert "a" not in readers.plain


def test_a_range_that_the_kernel_takes_for_granted_stays() -> None:
    graph = parse_text("""
graph (%x: f32[N,16]) -> (%y)
  %w = constant f32[16,8] random(0)
  %s: f32[N,16] = Sigmoid(%x) @sigmoid
  %y: f32[N,8] = MatMul(%s, %w) @product
""")
    free = Quantize(U8, anywhere=True, scales="own")
    known = replace(free, result=(0.0, 255 / 256))
    x = np.random.default_rng(2).normal(-5, 0.5, size=(256, 16)).astype(np.float32)
    x[:, 0] = 4  # an outlier that nobody reads
    w = np.random.default_rng(1).normal(size=(16, 8))
    w[0] = 0
    graph = with_weights(graph, "w", w)
    highs = []
    for wish in (free, known):
        schemes = {"int8": {**CPU_VNNI.schemes["int8"], "Sigmoid": wish}}
        ctx = context(graph, x, replace(CPU_VNNI, schemes=schemes))
        _, result = searched(graph, ctx)
        highs.append(range_of(result.graph.records["s"]).high)
    assert highs[0] < 0.5
    assert highs[1] == pytest.approx(255 / 256)
    assert ("sigmoid", "skipped") in {(r.node, r.kind) for r in result.remarks}


def test_what_a_clamp_reads_keeps_its_scale_beside_a_file() -> None:
    graph = parse_text("""
graph (%x: f32[N,16,4,4]) -> (%y)
  %w = constant f32[16,16,1,1] random(0)
  %a: f32[N,16,4,4] = Conv(%x, %w) @first
  %r: f32[N,16,4,4] = Relu(%a) @relu
  %y: f32[N,16,4,4] = Conv(%r, %w) @last
""")
    x = np.random.default_rng(2).normal(size=(64, 16, 4, 4)).astype(np.float32)
    x[:, 3] *= 9
    before, _ = searched(graph, context(graph, x, JETSON_ORIN_DLA))
    assert find_shared_scales(before, OPS) == [("x",), ("a", "r"), ("y",)]
