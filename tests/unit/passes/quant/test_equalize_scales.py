from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.sample_errors import sample_errors
from slimc.execute.ort import run
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text, to_text
from slimc.ops import OPS
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import InsertQdq
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.equalize_scales import EqualizeScales
from slimc.passes.quant.scalable_channels import ScalableChannels, find_sites
from slimc.targets.generic import GENERIC_ONNX

CHAIN = """
graph (%x: f32[N,8,6,6]) -> (%y)
  %w1 = constant f32[16,8,1,1] random(0)
  %b1 = constant f32[16] random(1)
  %w2 = constant f32[8,16,3,3] random(2)
  %slope = constant f32[16,1,1] random(3)
  %a: f32[N,16,6,6] = Conv(%x, %w1, %b1) @first
  %r: f32[N,16,6,6] = BETWEEN @between
  %y: f32[N,8,4,4] = Conv(%r, %w2) @last
"""
BETWEEN = {
    "relu": "Relu(%a)",
    "leaky": "LeakyRelu(%a) {alpha=0.1}",
    "prelu": "PRelu(%a, %slope)",
    "max": "MaxPool(%a) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}",
    "mean": "AveragePool(%a) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}",
}
DEPTHWISE = parse_text("""
graph (%x: f32[N,8,6,6]) -> (%y)
  %w1 = constant f32[16,8,1,1] random(0)
  %w2 = constant f32[16,1,3,3] random(2)
  %a: f32[N,16,6,6] = Conv(%x, %w1) @first
  %r: f32[N,16,6,6] = Relu(%a) @relu
  %y: f32[N,16,4,4] = Conv(%r, %w2) {group=16} @last
""")
ATTENTION = parse_text("""
graph (%x: f32[N,4,16]) -> (%q, %k)
  %scale = constant f32[16] random(0, 0.5..2)
  %shift = constant f32[16] random(1)
  %wq = constant f32[16,8] random(2)
  %wk = constant f32[16,8] random(3)
  %n: f32[N,4,16] = LayerNormalization(%x, %scale, %shift) {axis=2} @norm
  %q: f32[N,4,8] = MatMul(%n, %wq) @query
  %k: f32[N,4,8] = MatMul(%n, %wk) @key
""")


def chain(kind: str) -> Graph:
    return parse_text(CHAIN.replace("BETWEEN", BETWEEN[kind]))


def uneven(graph: Graph, name: str, axis: int, factor: float = 40) -> Graph:
    """Let one channel in four be `factor` times as large."""
    editor = Editor(graph)
    array = np.moveaxis(graph.constants[name].array.copy(), axis, 0)
    array[::4] *= factor
    editor.set_constant(name, np.moveaxis(array, 0, axis))
    return editor.finish()


def equalized(graph: Graph, seed: int = 0) -> tuple[PassResult, Context, Data]:
    shape = [d if isinstance(d, int) else 8 for d in graph.types["x"].shape]  # type: ignore[union-attr]
    random = np.random.default_rng(seed)
    feeds = [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(8)]
    data = Data.from_feeds(feeds, graph)
    ctx = Context(OPS, GENERIC_ONNX, data, {"N": 8})
    return EqualizeScales().run(graph, ctx), ctx, data


def noise(graph: Graph, ctx: Context, feeds: Data, original: Graph) -> float:
    assigned = AssignScales().run(graph, ctx).graph
    made = InsertQdq().run(assigned, ctx).graph
    return float(sample_errors(original, [made], list(feeds)).mean())


def assert_better(graph: Graph) -> None:
    """Values stay; integers are nearer on samples that nobody has seen."""
    result, ctx, _ = equalized(graph)
    _, _, unseen = equalized(graph, seed=1)
    assert any(r.kind == "applied" for r in result.remarks)
    for feed in unseen:
        before, after = run(graph, feed), run(result.graph, feed)
        for name, wanted in before.items():
            np.testing.assert_allclose(after[name], wanted, atol=1e-5 * np.abs(wanted).max())
    assert noise(result.graph, ctx, unseen, graph) < 0.8 * noise(graph, ctx, unseen, graph)


@pytest.mark.parametrize("kind", BETWEEN)
def test_channels_are_equalized_through_what_scales(kind: str) -> None:
    graph = uneven(uneven(chain(kind), "w1", 0), "b1", 0)
    assert_better(uneven(graph, "w2", 1, 1 / 20))


def test_a_depthwise_reader_costs_nothing() -> None:
    assert_better(uneven(DEPTHWISE, "w1", 0))


def test_all_readers_of_a_normalisation_are_rescaled() -> None:
    graph = uneven(uneven(ATTENTION, "scale", 0), "shift", 0)
    assert_better(uneven(uneven(graph, "wq", 0, 1 / 20), "wk", 0, 1 / 20))


def test_gates_take_one_more_multiplication_if_asked() -> None:
    text = CHAIN.replace("BETWEEN", "HardSwish(%a)")
    graph = uneven(uneven(parse_text(text), "w1", 0), "w2", 1, 1 / 20)
    _, ctx, data = equalized(graph)
    assert "Mul" not in {node.op for node in equalized(graph)[0].graph.nodes}
    made = EqualizeScales(gates=True).run(graph, ctx).graph
    assert [node.op for node in made.nodes] == ["Conv", "HardSwish", "Mul", "Conv"]
    for feed in data:
        wanted = run(graph, feed)["y"]
        off = np.abs(run(made, feed)["y"] - wanted).max()
        assert off < 1e-5 * np.abs(wanted).max()
    assert noise(made, ctx, data, graph) < 0.8 * noise(graph, ctx, data, graph)


def reasons(graph: Graph) -> dict[str, str]:
    found = find_sites(graph, OPS, infer(graph, OPS, {"N": 8}))
    return {node: one for node, one in found if isinstance(one, str)}


def test_what_does_not_scale_is_named() -> None:
    text = CHAIN.replace("BETWEEN", "Clip(%a, %zero, %six)")
    text = text.replace("  %a:", "  %zero = constant f32[] 0\n  %six = constant f32[] 6\n  %a:")
    assert reasons(parse_text(text))["first"] == "'between' (Clip) does not scale with them"
    gate = CHAIN.replace("BETWEEN", "HardSwish(%a)")
    assert reasons(parse_text(gate))["first"] == "'between' (HardSwish) does not scale with them"
    output = replace(chain("relu"), outputs=("y", "r"))
    assert reasons(output)["first"] == "its channels are those of graph output 'r'"


def test_a_weight_that_two_nodes_share_parts() -> None:
    text = CHAIN.replace("BETWEEN", "Relu(%a)").replace("(%y)", "(%y, %z)")
    text += "  %z: f32[N,16,6,6] = Conv(%x, %w1) @beside\n"
    graph = parse_text(text)
    found = dict(find_sites(graph, OPS, infer(graph, OPS, {"N": 8})))
    site = found["first"]
    assert isinstance(site, ScalableChannels)
    editor = Editor(graph)
    site.rescale(editor, np.linspace(0.1, 5, 16))
    made = editor.finish()
    x = np.random.default_rng(0).normal(size=(2, 8, 6, 6)).astype(np.float32)
    for name, wanted in run(graph, {"x": x}).items():
        np.testing.assert_allclose(run(made, {"x": x})[name], wanted, rtol=1e-4, atol=1e-4)


def test_the_choice_is_the_same_each_time() -> None:
    graph = uneven(ATTENTION, "scale", 0)
    first, second = (equalized(graph)[0] for _ in range(2))
    assert to_text(first.graph) == to_text(second.graph)
    assert first.facts == second.facts


def test_ranges_of_few_samples_are_judged_by_others() -> None:
    """Channels of one range are all clipped a little: what is held out shows it."""
    graph = parse_text("""
graph (%x: f32[N,32]) -> (%y)
  %w = constant f32[32,32] random(0)
  %b = constant f32[32] random(1)
  %v = constant f32[32,32] random(4)
  %h: f32[N,32] = Gemm(%x, %w, %b) @first
  %r: f32[N,32] = Relu(%h) @relu
  %y: f32[N,32] = Gemm(%r, %v, %b) {transB=1} @last
""")
    rng = np.random.default_rng(0)
    rows = [{"x": rng.standard_normal((1, 32), np.float32)} for _ in range(400)]
    ctx = Context(OPS, GENERIC_ONNX, Data.from_feeds(rows[:40], graph))
    unseen = Data.from_feeds(rows[40:], graph)
    made = EqualizeScales().run(graph, ctx).graph
    before, after = (noise(one, ctx, unseen, graph) for one in (graph, made))
    assert after < 1.2 * before
