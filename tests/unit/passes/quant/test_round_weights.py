from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.shapes import retype
from slimc.calib.data import Data
from slimc.calib.sample_errors import sample_errors
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.correct_bias import CorrectBias
from slimc.passes.quant.layer_fitting import simulate
from slimc.passes.quant.round_weights import RoundWeights
from slimc.targets import TARGETS
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.target import Target

CONVS = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[16,3,3,3] random(0)
  %wd = constant f32[16,1,3,3] random(1)
  %bd = constant f32[16] random(2)
  %wc = constant f32[16,16,1,1] random(3)
  %wf = constant f32[16,5] random(4)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @first
  %r = Relu(%a) @ra
  %d = Conv(%r, %wd, %bd) {group=16, pads=[1, 1, 1, 1]} @depthwise
  %c = Conv(%d, %wc) @pointwise
  %s = Add(%c, %r) @sum
  %m = GlobalAveragePool(%s) @pool
  %v = Flatten(%m) @flat
  %y = MatMul(%v, %wf) @product
"""


def coarse(bits: int) -> Target:
    """Return a target whose weights have so few bits that rounding matters."""
    high = 2 ** (bits - 1) - 1
    kinds = {}
    for kind, wish in GENERIC_ONNX.quantize.items():
        grid = wish.weights and replace(wish.weights, low=-high, high=high)
        kinds[kind] = replace(wish, weights=grid)
    return replace(GENERIC_ONNX, schemes={**GENERIC_ONNX.schemes, "int8": kinds})


def feeds(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    fields = 1 + rng.standard_normal((count, 3, 8, 8)).cumsum(axis=2) / 4  # a mean, as images have
    return [{"x": one[None].astype(np.float32)} for one in fields]


def context(graph: Graph, bits: int = 3, count: int = 40) -> Context:
    given = feeds(count) or (lambda: [])
    return Context(OPS, coarse(bits), Data.from_feeds(given, graph))


def run(one: Pass, text: str = CONVS, bits: int = 3, count: int = 40) -> tuple[Graph, PassResult]:
    """Return the graph with scales, and what the pass made of it."""
    graph = retype(parse_text(text), OPS)
    ctx = context(graph, bits)
    scaled = AssignScales(calibrator="minmax").run(graph, ctx).graph
    return scaled, one.run(scaled, replace(ctx, data=context(graph, bits, count).data))


def error(scaled: Graph, made: Graph) -> float:
    """Return the error of the outputs on samples that no pass has seen, as a geometric mean."""
    floats, ctx = replace(scaled, records={}), context(scaled)
    errors = sample_errors(floats, [simulate(made, ctx)], feeds(200, seed=9))[0]
    return float(np.exp(np.log(errors).mean()))


@pytest.mark.parametrize("one", [RoundWeights(), RoundWeights(refit=False), CorrectBias()])
def test_outputs_are_nearer_on_unseen_samples(one: Pass) -> None:
    scaled, made = run(one, count=200)
    least = 0.9 if isinstance(one, CorrectBias) else 0.35
    assert error(scaled, made.graph) < least * error(scaled, scaled)
    assert made.remarks[0].message.endswith(" dB nearer on samples held out")
    told = {remark.node for remark in made.remarks[1:]}
    assert told == {"first", "depthwise", "pointwise", "product"}
    for row in made.facts["layers"]:
        assert row["error_after"] <= row["error_before"]


def test_weights_are_numbers_of_their_grids() -> None:
    _, made = run(RoundWeights())
    rounded = {row["node"] for row in made.facts["layers"] if row["how"] in ("rounded", "refitted")}
    assert rounded
    for name in rounded:
        weight = made.graph.by_name[name].inputs[1]
        record, array = made.graph.records[weight], made.graph.constants[weight].array
        np.testing.assert_array_equal(record.dequantize(record.quantize(array)), array)


def test_least_squares_comes_before_rounding_if_asked() -> None:
    ways = {row["how"] for row in run(RoundWeights(refit=False))[1].facts["layers"]}
    assert "refitted" not in ways
    assert "refitted" in {row["how"] for row in run(RoundWeights())[1].facts["layers"]}


def test_biases_change_and_weights_stay() -> None:
    scaled, made = run(CorrectBias())
    for name in ("wa", "wd", "wc", "wf"):
        assert made.graph.constants[name] is scaled.constants[name]
    messages = {remark.node: remark.message for remark in made.remarks}
    assert messages["product"] == "as it is: it takes no bias"
    assert messages["pointwise"].startswith("new bias: squared error ")


@pytest.mark.parametrize("one", [RoundWeights(), CorrectBias()])
def test_the_same_samples_give_the_same_constants(one: Pass) -> None:
    first, second = run(one)[1].graph, run(one)[1].graph
    assert [*first.constants] == [*second.constants]
    for name, constant in first.constants.items():
        np.testing.assert_array_equal(constant.array, second.constants[name].array)


@pytest.mark.parametrize("one", [RoundWeights(), CorrectBias()])
def test_without_scales_or_samples_all_stays(one: Pass) -> None:
    graph = retype(parse_text(CONVS), OPS)
    made = one.run(graph, context(graph))
    assert made.graph is graph
    assert made.remarks[0].message == "no weight has a scale: all stays as it is"
    scaled, made = run(one, count=0)
    assert made.graph is scaled
    assert made.remarks[0].message == "there are no samples to fit on: all stays as it is"


def test_made_up_samples_are_replaced_by_fields_and_told_of() -> None:
    graph = retype(parse_text(CONVS), OPS)
    data = Data.synthesize(graph, {"N": 2})
    ctx = Context(OPS, coarse(3), data, {"N": 2})
    scaled = AssignScales().run(graph, ctx).graph
    made = RoundWeights().run(scaled, ctx)
    assert made.remarks[0].message == "there are no samples: layers are fitted on random fields"
    assert error(scaled, made.graph) < error(scaled, scaled)


def test_fields_that_ranges_do_not_hold_for_change_nothing() -> None:
    graph = retype(parse_text(CONVS), OPS)
    rng = np.random.default_rng(0)
    shape = (2, *graph.types["x"].shape[1:])
    faint = [{"x": (rng.standard_normal(shape) / 50).astype(np.float32)} for _ in range(8)]
    data = replace(Data.from_feeds(faint, graph), synthetic=True)
    ctx = Context(OPS, coarse(3), data, {"N": 2})
    scaled = AssignScales().run(graph, ctx).graph
    made = RoundWeights().run(scaled, ctx)
    assert made.graph is scaled
    assert "worse on the random samples of the ranges" in made.remarks[0].message


def test_weights_of_two_readers_stay_the_nearest() -> None:
    text = """
graph (%x: f32[N,16]) -> (%y)
  %w = constant f32[16,16] random(0)
  %a = MatMul(%x, %w) @a
  %y = MatMul(%a, %w) @b
"""
    graph = retype(parse_text(text), OPS)
    rng = np.random.default_rng(0)
    given = [{"x": rng.standard_normal((8, 16)).astype(np.float32)} for _ in range(8)]
    ctx = Context(OPS, coarse(3), Data.from_feeds(given, graph))
    scaled = AssignScales().run(graph, ctx).graph
    made = RoundWeights().run(scaled, ctx)
    said = {remark.node: remark.message for remark in made.remarks}
    assert said["a"] == said["b"] == "as it is: other nodes share its weights"
    assert made.graph.constants["w"] is graph.constants["w"]


@pytest.mark.parametrize("target", ["cpu-vnni", "jetson"])
def test_the_targets_integers_are_simulated(target: str) -> None:
    """Clamps are absorbed, residual sums fused: layers are still found and fitted."""
    graph = retype(parse_text(CONVS), OPS)
    goal = TARGETS[target]
    assert isinstance(goal, Target)
    wide = {
        k: replace(v, min_channels=0, min_each=0, short=(0, 0)) for k, v in goal.quantize.items()
    }
    goal = replace(goal, schemes={**goal.schemes, "int8": wide})
    ctx = Context(OPS, goal, Data.from_feeds(feeds(40), graph))
    scaled = AssignScales().run(graph, ctx).graph
    made = RoundWeights().run(scaled, ctx)
    assert {row["node"] for row in made.facts["layers"]} == {
        "first", "depthwise", "pointwise", "product"
    }  # fmt: skip


def test_weights_of_measured_products_are_rounded_too_and_judged_with_measured_data() -> None:
    text = """
graph (%x: f32[N,16]) -> (%y)
  %wa = constant f32[16,80] random(0)
  %wb = constant f32[80,16] random(1)
  %a = MatMul(%x, %wa) @a
  %r = Relu(%a) @r
  %y = MatMul(%r, %wb) @b
"""
    graph = retype(parse_text(text), OPS)
    rng = np.random.default_rng(0)
    given = [{"x": rng.standard_normal((64, 16)).astype(np.float32)} for _ in range(4)]
    ctx = Context(OPS, CPU_VNNI, Data.from_feeds(given, graph))
    scaled = AssignScales(scheme="int8-dynamic").run(graph, ctx).graph
    made = RoundWeights().run(scaled, ctx)
    assert {row["node"] for row in made.facts["layers"]} == {"a", "b"}
    assert "MatMulInteger" in {node.op for node in simulate(made.graph, ctx).nodes}
    floats = Session(graph)
    unseen = [{"x": rng.standard_normal((64, 16)).astype(np.float32)} for _ in range(4)]
    before, after = (
        sum(np.square(floats.run(f)["y"] - Session(simulate(g, ctx)).run(f)["y"]).sum()
            for f in unseen)
        for g in (scaled, made.graph)
    )  # fmt: skip
    assert after < before
