from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import slimc
from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer
from slimc.execute import ort
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune import merge_channels
from slimc.passes.prune.merge_channels import Merged, merge
from slimc.passes.prune.slice_axes import Sliced, slice_axes

CHAIN = """
graph (%x: f32[1,1,8,8]) -> (%y)
  %w = constant f32[12,1,3,3] random(0)
  %a = Conv(%x, %w) @a
  %r = Relu(%a) @r
  %v = constant f32[6,12,3,3] random(1)
  %b = Conv(%r, %v) @b
  %s = Relu(%b) @s
  %u = constant f32[3,6,1,1] random(2)
  %y = Conv(%s, %u) @c
"""
GROUPED = """
graph (%x: f32[1,2,8,8]) -> (%y)
  %w = constant f32[8,2,3,3] random(0)
  %a = Conv(%x, %w) @a
  %v = constant f32[4,4,1,1] random(1)
  %y = Conv(%a, %v) {group=2} @b
"""
APART = """
graph (%x: f32[64,4]) -> (%y)
  %w = constant f32[4,4] [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
  %a = MatMul(%x, %w) @a
  %v = constant f32[4,2] random(1)
  %y = MatMul(%a, %v) @b
"""


def cut(graph: Graph, share: float = 0.25, seed: int = 0) -> tuple[Coupling, np.ndarray, Sliced]:
    """Remove a share of every family, by lot."""
    coupling = couple(graph, OPS, infer(graph, OPS, default_sizes(graph)))
    removed = np.zeros(len(coupling.pinned), bool)
    random = np.random.default_rng(seed)
    for family in families(coupling):
        count = int(share * family.width)
        removed[family.units[random.choice(family.width, count, replace=False)]] = True
    return coupling, removed, slice_axes(coupling, removed, "test")


def merged(text: str, share: float = 0.25, seed: int = 0) -> tuple[Merged, Sliced]:
    coupling, removed, sliced = cut(parse_text(text), share)
    return merge(coupling, removed, sliced, seed), sliced


def weights(graph: Graph) -> dict[str, bytes]:
    return {name: constant.array.tobytes() for name, constant in graph.constants.items()}


def test_each_reader_has_a_row_and_the_report_says_that_samples_are_made_up() -> None:
    made, _ = merged(CHAIN)
    assert [(r["node"], r["channels"], r["removed"]) for r in made.table] == [
        ("b", 12, 3),
        ("c", 6, 1),
    ]
    assert "there are no samples" in made.remarks[0].message
    assert "in 2 of 2 nodes" in made.remarks[0].message


def test_nothing_removed_is_nothing_merged() -> None:
    made, sliced = merged(CHAIN, share=0)
    assert weights(made.graph) == weights(sliced.graph)
    assert made.table == made.remarks == ()


def test_one_seed_one_result() -> None:
    assert weights(merged(CHAIN, seed=1)[0].graph) == weights(merged(CHAIN, seed=1)[0].graph)
    assert weights(merged(CHAIN, seed=1)[0].graph) != weights(merged(CHAIN, seed=2)[0].graph)


def test_channels_that_have_nothing_in_common_do_not_merge() -> None:
    made, sliced = merged(APART)
    assert [row["merged"] for row in made.table] == [False]
    assert weights(made.graph) == weights(sliced.graph)
    assert any(r.kind == "skipped" and r.node == "b" for r in made.remarks)


def test_groups_merge_within_themselves() -> None:
    graph = parse_text(GROUPED)
    coupling = couple(graph, OPS, infer(graph, OPS))
    removed = np.zeros(len(coupling.pinned), bool)
    (family,) = [f for f in families(coupling) if f.name == "a"]
    removed[family.units[:1]] = True
    sliced = slice_axes(coupling, removed, "test")
    made = merge(coupling, removed, sliced)
    x = np.random.default_rng(0).normal(0, 1, (1, 2, 8, 8)).cumsum(2).cumsum(3)
    feed = {"x": x.astype(np.float32)}
    wanted, ours, plain = (ort.run(g, feed)["y"] for g in (graph, made.graph, sliced.graph))
    assert made.graph.constants[made.graph.by_name["b"].inputs[1]].shape == (4, 3, 1, 1)
    assert np.square(ours - wanted).sum() < 0.5 * np.square(plain - wanted).sum()


def test_wide_readers_are_left_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_channels, "MAX_CHANNELS", 8)
    made, _ = merged(CHAIN)
    assert [row["node"] for row in made.table] == ["c"]
    assert any(r.node == "b" and "more than 8 channels" in r.message for r in made.remarks)


def test_moments_in_several_runs_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = merged(CHAIN)
    monkeypatch.setattr(merge_channels, "MOMENT_BYTES", 1)
    parts, _ = merged(CHAIN)
    assert [r["node"] for r in parts.table] == [r["node"] for r in whole.table]
    for name, constant in whole.graph.constants.items():  # other places are looked at
        assert np.allclose(parts.graph.constants[name].array, constant.array, rtol=0, atol=0.2)


def test_a_trained_network_stays_nearer_to_what_it_was() -> None:
    folder = Path(str(files("slimc"))) / "demo"
    graph = slimc.compile(folder / "glyphs.onnx").graph
    coupling, removed, sliced = cut(graph)
    made = merge(coupling, removed, sliced)
    with np.load(folder / "samples.npz", allow_pickle=False) as kept:
        images = kept["test"][:200, None]
    feed = {"x": (images.astype(np.float32) - 127.5) / 64}
    wanted, ours, plain = (ort.run(g, feed)["logits"] for g in (graph, made.graph, sliced.graph))
    assert np.square(ours - wanted).mean() < 0.5 * np.square(plain - wanted).mean()
    assert np.mean(ours.argmax(1) == wanted.argmax(1)) > np.mean(
        plain.argmax(1) == wanted.argmax(1)
    )


def test_a_scaled_product_merges_without_a_constant() -> None:
    text = """
    graph (%x: f32[64,3]) -> (%y)
      %w = constant f32[3,8] random(0)
      %b = constant f32[8] random(1)
      %a = Gemm(%x, %w, %b) @a
      %r = Relu(%a) @r
      %v = constant f32[8,4] random(2)
      %c = constant f32[4] random(3)
      %y = Gemm(%r, %v, %c) {alpha=0.5} @read
    """
    made, sliced = merged(text)
    assert [row["merged"] for row in made.table] == [True]
    bias = made.graph.constants[made.graph.by_name["read"].inputs[2]].array
    assert np.array_equal(bias, sliced.graph.constants["c"].array)
    graph = parse_text(text)
    feed = {"x": np.random.default_rng(0).normal(0, 1, (64, 3)).astype(np.float32)}
    wanted, ours, plain = (ort.run(g, feed)["y"] for g in (graph, made.graph, sliced.graph))
    assert np.square(ours - wanted).sum() < np.square(plain - wanted).sum()


def test_readers_inside_a_body_are_left_and_said() -> None:
    made, _ = merged("""
    graph (%x: f32[1,1,8,8], %k: bool[]) -> (%y)
      %w = constant f32[8,1,3,3] random(0)
      %v = constant f32[4,8,1,1] random(1)
      %u = constant f32[4,8,1,1] random(2)
      %a = Conv(%x, %w) @a
      %y: f32[1,4,6,6] = If(%k) @if
        else_branch = graph () -> (%e)
          %e = Conv(%a, %u) @e
        then_branch = graph () -> (%t)
          %t = Conv(%a, %v) @t
    """)
    left = [r.node for r in made.remarks if "inside the body" in r.message]
    assert sorted(left) == ["e", "t"]


@pytest.mark.parametrize("bend", ["Sqrt(%a)", "Mul(%a, %huge)"])
def test_what_is_not_finite_on_made_up_samples_does_not_merge(bend: str) -> None:
    """A square root of channels that are negative or not, and squares that overflow."""
    text = f"""
graph (%x: f32[N,6,4,4]) -> (%y)
  %wa = constant f32[96,6,1,1] random(0)
  %wb = constant f32[4,96,1,1] random(1)
  %huge = constant f32[] 1e24
  %a: f32[N,96,4,4] = Conv(%x, %wa) @a
  %r: f32[N,96,4,4] = {bend} @bend
  %y: f32[N,4,4,4] = Conv(%r, %wb) @b
"""
    made, sliced = merged(text)
    assert weights(made.graph) == weights(sliced.graph)
    said = [remark.message for remark in made.remarks if remark.node == "b"]
    assert said == ["not merged: on made-up samples what it reads is not finite"]
