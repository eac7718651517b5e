from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.ir.graph import Graph, Quantization
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.ops.op import Op, make_table
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.targets.target import Target

TEXT = """
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %ba = constant f32[32] random(1)
  %wb = constant f32[32,32] random(2)
  %wc = constant f32[32,3] random(3)
  %a: f32[N,32] = Gemm(%x, %wa, %ba) @a
  %r: f32[N,32] = Relu(%a) @r
  %b: f32[N,32] = MatMul(%r, %wb) @b
  %y: f32[N,3] = MatMul(%b, %wc) @c
"""


def graph() -> Graph:
    return parse_text(TEXT)


def context(align: int = 1, seed: int = 0) -> Context:
    target = Target("somewhere", "onnxruntime", "a target of the tests", align_float=align)
    return Context(OPS, target, Data.synthesize(graph(), {"N": 2}, 0), {"N": 2}, seed)


def test_the_same_input_gives_the_same_output() -> None:
    one, two = (RemoveChannels().run(graph(), context()) for _ in range(2))
    assert to_text(one.graph) == to_text(two.graph)
    assert one.remarks == two.remarks
    assert one.facts == two.facts


def test_the_index_map_leads_back_to_the_original_weights() -> None:
    result = RemoveChannels(ratio=0.4, budget="channels").run(graph(), context())
    assert set(result.facts["kept"]) == {"wa", "ba", "wb", "wc"}
    for name, axes in result.facts["kept"].items():
        array = graph().constants[name].array
        for axis, ranges in axes.items():
            array = np.take(array, _indices(ranges), axis=int(axis))
        np.testing.assert_array_equal(array, result.graph.constants[name].array)


def _indices(ranges: str) -> list[int]:
    found: list[int] = []
    for run in ranges.split(","):
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def test_widths_are_multiples_of_what_the_target_likes() -> None:
    result = RemoveChannels(ratio=0.4).run(graph(), context(align=8))
    for row in result.facts["families"]:
        if row["width"] > 1:
            assert row["kept"] % 8 == 0
            assert row["multiple_of"] == 8


def test_align_overrules_the_target() -> None:
    result = RemoveChannels(ratio=0.5, budget="channels", align=3).run(graph(), context(align=8))
    assert {row["kept"] for row in result.facts["families"] if row["width"] > 1} == {18}


@pytest.mark.parametrize("budget", ["macs", "parameters"])
def test_the_budget_is_met(budget: str) -> None:
    result = RemoveChannels(ratio=0.3, budget=budget).run(graph(), context())  # type: ignore[arg-type]  # parametrized text
    before, after = result.facts[budget]
    assert 0.65 * before < after <= 0.7 * before


def test_random_scores_follow_the_seed() -> None:
    texts = {
        to_text(RemoveChannels(score="random").run(graph(), context(seed=seed)).graph)
        for seed in (0, 0, 1)
    }
    assert len(texts) == 2


def test_a_second_run_cuts_again_from_what_is_left() -> None:
    once = RemoveChannels(ratio=0.5, budget="channels").run(graph(), context())
    twice = RemoveChannels(ratio=0.5, budget="channels").run(once.graph, context())
    assert twice.graph.constants["wb"].shape == (8, 8)


def test_nothing_to_remove_leaves_the_graph() -> None:
    whole = graph()
    result = RemoveChannels(keep=("*",)).run(whole, context())
    assert result.graph is whole
    assert result.expected is None
    assert [r.kind for r in result.remarks] == ["note", "skipped", "skipped", "skipped"]


def test_a_graph_with_scales_is_refused() -> None:
    record = Quantization(DType.I8, np.float32(0.1), np.int8(0), -128, 127)
    with pytest.raises(SlimcError) as caught:
        RemoveChannels().run(replace(graph(), records={"a": record}), context())
    assert caught.value.name == "already-quantized"


@pytest.mark.parametrize("options", [{"ratio": 0.0}, {"align": -1}, {"min_channels": 0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SlimcError) as caught:
        RemoveChannels(**options).run(graph(), context())  # type: ignore[arg-type]  # parametrized
    assert caught.value.name == "bad-option-value"


def test_explain_says_both_kinds_of_channels() -> None:
    said = [str(r) for r in RemoveChannels().explain(graph(), context())]
    assert (
        "note @a: 'a' can lose output channels together with 'b', as family 'a' (32 wide)" in said
    )
    assert any("'a' cannot lose input channels" in text for text in said)


def test_a_family_given_back_changes_no_other() -> None:
    plain = RemoveChannels(ratio=0.5).run(graph(), context())
    given_back = RemoveChannels(ratio=0.5, give_back=("b",)).run(graph(), context())
    widths = [{f["name"]: f["kept"] for f in r.facts["families"]} for r in (plain, given_back)]
    assert widths[0]["a"] < 32
    assert widths[0]["b"] < 32
    assert widths[1] == widths[0] | {"b": 32}
    assert "families given back: 1" in given_back.remarks[0].message


def test_a_graph_of_given_widths_has_the_shapes_of_the_result() -> None:
    one = RemoveChannels(ratio=0.5)
    made = one.run(graph(), context())
    widths = {f["name"]: f["kept"] for f in made.facts["families"]}
    narrow = one.narrowed(graph(), context(), widths)
    assert {v: c.shape for v, c in narrow.constants.items()} == {
        v: c.shape for v, c in made.graph.constants.items()
    }
    assert one.narrowed(graph(), context(), {}).constants.keys() == graph().constants.keys()


def test_without_a_floating_output_families_compare_by_the_score() -> None:
    whole = parse_text("""
graph (%x: f32[N,6]) -> (%y)
  %w = constant f32[6,8] random(0)
  %v = constant f32[8,4] random(1)
  %a: f32[N,8] = MatMul(%x, %w) @a
  %r: f32[N,8] = Relu(%a) @r
  %b: f32[N,4] = MatMul(%r, %v) @b
  %y: i64[N] = ArgMax(%b) {axis=1} @top
""")
    feed = {"x": np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)}
    seen = replace(context(), data=Data.from_feeds([feed], whole), sizes={"N": 8})
    made = RemoveChannels().run(whole, seen)
    assert made.graph.constants["w"].shape[1] < whole.constants["w"].shape[1]


MISDESCRIBED = """
graph (%x: f32[N,6]) -> (%y)
  opset "com.microsoft" 1
  %wa = constant f32[6,32] random(0)
  %bias = constant f32[32] random(1)
  %wb = constant f32[32,32] random(2)
  %wc = constant f32[32,3] random(3)
  %a: f32[N,32] = MatMul(%x, %wa) @a
  %g: f32[N,32] = com.microsoft.BiasGelu(%a, %bias) @gelu
  %b: f32[N,32] = MatMul(%g, %wb) @b
  %r: f32[N,32] = Relu(%b) @r
  %y: f32[N,3] = MatMul(%r, %wc) @c
"""


def test_a_family_without_which_the_graph_does_not_run_stays_whole() -> None:
    whole = parse_text(MISDESCRIBED)
    ops = OPS | make_table(Op("com.microsoft.BiasGelu", "*a b, c -> *a b"))  # c is b in truth
    feed = {"x": np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)}
    seen = replace(context(), ops=ops, data=Data.from_feeds([feed], whole), sizes={"N": 8})
    result = RemoveChannels(ratio=0.3, score="magnitude").run(whole, seen)
    said = {remark.node: remark for remark in result.remarks if remark.node}
    for node in ("a", "gelu"):
        assert said[node].kind == "skipped"
        assert said[node].message.startswith("whole: narrower the graph does not run: ")
    widths = {row["name"]: row["kept"] for row in result.facts["families"]}
    assert widths["a"] == widths["gelu"] == 32 > widths["b"]
