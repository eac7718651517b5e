"""Graphs whose ranges go beside the file: weights as TensorRT rounds them, a range for all."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.execute.ort import run
from slimc.ir.graph import Quantization
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import as_computed
from slimc.passes.lower.ranges_in_file import keep_ranges, round_to_grid
from slimc.passes.quant.integer_nodes import select_integer_nodes
from slimc.passes.quant.scale_groups import cover_all_values, make_scale_groups
from slimc.passes.quant.scales import weight_record
from slimc.passes.schemes import schemes_of
from slimc.targets.dla.devices import JETSON_ORIN_DLA, PLACEMENT
from slimc.targets.dla.files import scales
from slimc.targets.grids import W8


def by_tensorrt(weight: np.ndarray, axis: int) -> np.ndarray:
    """Round a weight as TensorRT does: per output channel, by its largest magnitude / 127."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    rounded: np.ndarray = np.clip(np.rint(weight / scale), -127, 127).astype(np.float32) * scale
    return rounded


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("moved", [0.0, 1.5])  # steps that a fit moved weights by
def test_tensorrt_rounds_settled_weights_to_themselves(axis: int, moved: float) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 5, 3, 3)).astype(np.float32)
    weight[(slice(None),) * axis + (2,)] = 0  # a dead channel
    record = weight_record(W8, weight, axis)
    shape = [-1 if i == axis else 1 for i in range(4)]
    weight *= 1 - moved * record.scale.reshape(shape) / (np.abs(weight).max() + 1)
    found = round_to_grid(weight, record)
    # 127 * scale / 127 is scale up to one rounding of f32.
    np.testing.assert_allclose(by_tensorrt(found, axis), found, rtol=3e-7)
    np.testing.assert_array_equal(round_to_grid(found, record), found)
    assert np.abs(found - weight).max() <= 3 * record.scale.max()


def test_one_scale_for_all() -> None:
    record = Quantization(DType.I8, np.array(0.01, np.float32), np.array(0, np.int8), -127, 127)
    found = round_to_grid(np.array([[0.5, -1.2]], np.float32), record)
    np.testing.assert_allclose(found, [[0.5, -1.27]], rtol=1e-6)


NET = parse_text("""graph (%x: f32[1,2,6,6]) -> (%y)
  %w = constant f32[4,2,3,3] random(0)
  %v = constant f32[2,4,1,1] random(1)
  %c: f32[1,4,4,4] = Conv(%x, %w) @first
  %r: f32[1,4,4,4] = Relu(%c) @relu
  %e: f32[1,4,4,4] = Erf(%r) @erf
  %m: f32[1,4,4,4] = Mul(%r, %e) @gate
  %y: f32[1,2,4,4] = Conv(%m, %v) @last""")


def test_every_float_has_a_scale_group() -> None:
    data = Data.from_feeds([{"x": np.zeros((1, 2, 6, 6), np.float32)}], NET)
    ctx = Context(OPS, JETSON_ORIN_DLA, data)
    schemes = schemes_of(NET, JETSON_ORIN_DLA, "auto", (), (), None, "assign-scales")
    choice = select_integer_nodes(NET, ctx, infer(NET, OPS), schemes)
    assert set(choice.sites) == {"first", "last"}
    assert "DLA has no Erf" in choice.reasons.get("erf", "DLA has no Erf")
    shared = cover_all_values(NET, make_scale_groups(NET, OPS, PLACEMENT, choice), choice)
    place = {value: group for group in shared for value in group.values}
    assert set(place) == {"x", "c", "r", "e", "m", "y"}
    assert place["c"] is place["r"]  # the kernel clamps what it makes
    assert place["r"].sources == ("r",)


def test_what_stays_computes_what_q_and_dq_do() -> None:
    text = """graph (%x: f32[1,2,4,4]) -> (%y)
  form quantized
  %x quantized i8 scale=0.02
  %w = constant f32[2,2,1,1] [0.5, 0.26, -0.1, 0.02]
  %w quantized i8 axis=0 scale=[0.00393701, 0.000787402]
  %c: f32[1,2,4,4] = Conv(%x, %w) @conv integer
  %c quantized i8 scale=0.01
  %r: f32[1,2,4,4] = Relu(%c) @relu
  %r quantized i8 scale=0.01
  %l = constant f32[] -1
  %h = constant f32[] 1
  %y: f32[1,2,4,4] = Clip(%r, %l, %h) @clip
  %y quantized i8 scale=0.01"""
    graph = parse_text(text)
    made = keep_ranges(graph, OPS, JETSON_ORIN_DLA).graph
    assert [node.op for node in made.nodes] == ["Conv", "Relu", "Clip"]
    assert [node.integer for node in made.nodes] == [True, True, False]  # DLA clips from 0 only
    assert dict(made.records) == dict(graph.records)
    computed = as_computed(made, OPS, JETSON_ORIN_DLA)
    assert {"QuantizeLinear", "DequantizeLinear"} < {node.op for node in computed.nodes}
    assert not computed.records


def test_weights_that_others_read_stay_what_they_are() -> None:
    graph = parse_text("""graph (%x: f32[1,2,4,4]) -> (%y, %z, %v)
  form quantized
  %x quantized i8 scale=0.02
  %w = constant f32[2,2,1,1] [0.5, 0.26, -0.1, 0.02]
  %w quantized i8 axis=0 scale=[0.0039, 0.00078]
  %v = constant f32[2,2,1,1] [0.5, 0.26, -0.1, 0.02]
  %v quantized i8 axis=0 scale=[0.0039, 0.00078]
  %c: f32[1,2,4,4] = Conv(%x, %w) @conv integer
  %c quantized i8 scale=0.01
  %d: f32[1,2,4,4] = Conv(%c, %w) @again integer
  %d quantized i8 scale=0.01
  %y: f32[1,2,4,4] = Conv(%d, %v) @last integer
  %y quantized i8 scale=0.01
  %z: f32[2,2,1,1] = Mul(%w, %w) @square""")
    made = keep_ranges(graph, OPS, JETSON_ORIN_DLA).graph
    feed = {"x": np.ones((1, 2, 4, 4), np.float32)}
    before, after = run(graph, feed), run(made, feed)
    for value in ("z", "v"):
        np.testing.assert_array_equal(before[value], after[value])
    assert set(scales(made)) == {"x", "c", "d", "y", "w"}
    for node in ("conv", "again", "last"):
        weight = made.by_name[node].inputs[1]
        np.testing.assert_allclose(
            made.constants[weight].array,
            by_tensorrt(made.constants[weight].array, 0),
            rtol=3e-7,
        )
