"""The index map, checked by execution: the original weights, so cut, give the pruned outputs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import slimc
from slimc.execute.compare import differences
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.index_map import IndexMap, read_table
from slimc.report.json import report_dict

ROUNDING = 1e-5  # sums in another order
CUT = "remove-channels{ratio=0.4,budget=channels,score=random,align=1}"
NORMS = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %w1 = constant f32[8,3,3,3] random(0)
  %s1 = constant f32[8] random(1, 0.5..2)
  %t1 = constant f32[8] random(2)
  %m1 = constant f32[8] random(3)
  %v1 = constant f32[8] random(4, 0.5..2)
  %w2 = constant f32[8,1,3,3] random(5)
  %w3 = constant f32[10,8] random(6)
  %b3 = constant f32[10] random(7)
  %w4 = constant f32[10,5] random(8)
  %c1: f32[N,8,6,6] = Conv(%x, %w1) @conv1
  %n1: f32[N,8,6,6] = BatchNormalization(%c1, %s1, %t1, %m1, %v1) @norm1
  %r1: f32[N,8,6,6] = Relu(%n1) @relu1
  %c2: f32[N,8,4,4] = Conv(%r1, %w2) {group = 8} @depthwise
  %p: f32[N,8,1,1] = GlobalAveragePool(%c2) @pool
  %f: f32[N,8] = Flatten(%p) @flatten
  %g: f32[N,10] = Gemm(%f, %w3, %b3) {transB = 1} @gemm
  %r2: f32[N,10] = Relu(%g) @relu2
  %y: f32[N,5] = MatMul(%r2, %w4) @last
"""
TRANSPOSED = """
graph (%x: f32[N,4,6]) -> (%y)
  %wa = constant f32[16,6] random(0)
  %ba = constant f32[16] random(1)
  %wb = constant f32[3,16] random(2)
  %ta: f32[6,16] = Transpose(%wa) {perm = [1, 0]} @turn_a
  %tb: f32[16,3] = Transpose(%wb) {perm = [1, 0]} @turn_b
  %a: f32[N,4,16] = MatMul(%x, %ta) @a
  %s: f32[N,4,16] = Add(%a, %ba) @bias
  %r: f32[N,4,16] = Relu(%s) @r
  %y: f32[N,4,3] = MatMul(%r, %tb) @b
"""
SHARED = """
graph (%x: f32[N,6]) -> (%y)
  %w1 = constant f32[16,6] random(0)
  %w2 = constant f32[16,16] random(1)
  %w3 = constant f32[3,16] random(2)
  %b = constant f32[16] random(3)
  %a: f32[N,16] = Gemm(%x, %w1, %b) {transB = 1} @one
  %r: f32[N,16] = Relu(%a) @relu1
  %c: f32[N,16] = Gemm(%r, %w2, %b) {transB = 1} @two
  %s: f32[N,16] = Relu(%c) @relu2
  %y: f32[N,3] = Gemm(%s, %w3) {transB = 1} @three
"""
EQUAL = SHARED.replace("%w2, %b)", "%w2, %e)").replace(
    "  %a:", "  %e = constant f32[16] random(3)\n  %a:"
)
HEADS = """
graph (%x: f32[N,5,12]) -> (%y)
  %wq = constant f32[12,24] random(0)
  %wk = constant f32[12,24] random(1)
  %wv = constant f32[12,24] random(2)
  %wo = constant f32[24,12] random(3)
  %split = constant i64[4] [0, 0, 4, 6]
  %join = constant i64[3] [0, 0, 24]
  %last = constant i64[] 3
  %half = constant f32[] 0.5
  %q: f32[N,5,24] = MatMul(%x, %wq) @q
  %k: f32[N,5,24] = MatMul(%x, %wk) @k
  %v: f32[N,5,24] = MatMul(%x, %wv) @v
  %q4: f32[N,5,4,6] = Reshape(%q, %split) @q4
  %k4: f32[N,5,4,6] = Reshape(%k, %split) @k4
  %v4: f32[N,5,4,6] = Reshape(%v, %split) @v4
  %qh: f32[N,4,5,6] = Transpose(%q4) {perm = [0, 2, 1, 3]} @qh
  %kh: f32[N,4,6,5] = Transpose(%k4) {perm = [0, 2, 3, 1]} @kh
  %vh: f32[N,4,5,6] = Transpose(%v4) {perm = [0, 2, 1, 3]} @vh
  %shape: i64[4] = Shape(%qh) @shape
  %width: i64[] = Gather(%shape, %last) @width
  %float: f32[] = Cast(%width) {to = 1} @float
  %root: f32[] = Pow(%float, %half) @root
  %dots: f32[N,4,5,5] = MatMul(%qh, %kh) @dots
  %scaled: f32[N,4,5,5] = Div(%dots, %root) @scaled
  %share: f32[N,4,5,5] = Softmax(%scaled) {axis = -1} @share
  %mixed: f32[N,4,5,6] = MatMul(%share, %vh) @mixed
  %back: f32[N,5,4,6] = Transpose(%mixed) {perm = [0, 2, 1, 3]} @back
  %flat: f32[N,5,24] = Reshape(%back, %join) @flat
  %y: f32[N,5,12] = MatMul(%flat, %wo) @out
"""
MODELS = {"norms": NORMS, "transposed": TRANSPOSED, "shared": SHARED, "equal": EQUAL}


def imported(text: str) -> Graph:
    return replace(parse_text(text), form=Form.IMPORTED)


def table(made: Compiled) -> IndexMap:
    """Return the map as it comes out of a report on disk."""
    return read_table(json.loads(json.dumps(report_dict(made.report)))["indices"])


def applied(graph: Graph, found: IndexMap) -> Graph:
    """Take what the map keeps out of the constants of the original; refit groups by hand."""
    edit = Editor(graph)
    for key, axes in found.kept.items():
        name, _, reader = key.partition("@")
        array = graph.constants[name].array
        for axis, stay in axes.items():
            array = np.take(array, stay, axis)
        if not reader:
            edit.set_constant(name, array)
            continue
        own = edit.add_constant(Constant(array), key)
        node = edit.node(reader)
        edit.update(reader, inputs=tuple(own if i == name else i for i in node.inputs))
    if "depthwise" in graph.by_name:
        width = len(edit.array("w2") if edit.array("w2") is not None else ())
        edit.update("depthwise", attrs={**edit.node("depthwise").attrs, "group": width})
    made = edit.finish()
    return replace(made, types={v: made.types[v] for v in made.inputs})


def feeds(graph: Graph) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    found = {}
    for name in graph.inputs:
        shape = graph.types[name].shape  # type: ignore[union-attr]
        sizes = [d if isinstance(d, int) else 3 for d in shape or ()]
        found[name] = rng.standard_normal(sizes).astype(np.float32)
    return [found]


def assert_leads_back(graph: Graph, made: Compiled) -> IndexMap:
    found = table(made)
    assert not found.missing
    assert not [one for one in made.report.notes if "index map" in one.message]
    worst = differences(made.graph, applied(graph, found), feeds(graph))
    assert max(worst.values()) < ROUNDING
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_original_weights_so_cut_give_the_pruned_outputs(name: str) -> None:
    graph = imported(MODELS[name])
    assert_leads_back(graph, compile(graph, CUT))


def test_what_was_folded_away_is_in_the_map() -> None:
    made = compile(imported(NORMS), CUT)
    assert not {"s1", "t1", "m1", "v1"} & set(made.graph.constants)
    found = table(made).kept
    assert set(found) == {"w1", "s1", "t1", "m1", "v1", "w2", "w3", "b3", "w4"}
    assert found["s1"] == found["t1"] == found["m1"] == found["v1"] == found["w2"]
    assert found["w3"][1] == found["w1"][0] == found["w2"][0]
    assert found["w4"][0] == found["w3"][0] == found["b3"][0]


def test_the_axes_are_those_of_the_file_not_of_a_transposed_weight() -> None:
    found = table(compile(imported(TRANSPOSED), CUT)).kept
    assert set(found["wa"]) == {0}
    assert set(found["wb"]) == {1}


def test_readers_that_keep_different_indices_have_an_entry_each() -> None:
    found = table(compile(imported(SHARED), CUT)).kept
    assert {"b@one", "b@two"} <= set(found)
    assert "b" not in found
    assert found["b@one"][0] == found["w1"][0]
    assert found["b@two"][0] == found["w2"][0]


def test_equal_constants_that_were_joined_are_two_again() -> None:
    found = table(compile(imported(EQUAL), CUT)).kept
    assert found["b"][0] == found["w1"][0]
    assert found["e"][0] == found["w2"][0]


def test_removals_one_after_the_other_compose() -> None:
    graph = imported(NORMS)
    once = assert_leads_back(graph, compile(graph, CUT))
    twice = assert_leads_back(graph, compile(graph, f"{CUT},{CUT}"))
    assert len(twice.kept["w1"][0]) < len(once.kept["w1"][0])
    assert set(twice.kept["w1"][0]) <= set(range(8))


def test_sizes_that_the_model_computes_with_are_those_before_the_removal() -> None:
    """Heads get narrower, and the scale of the attention stays what it was."""
    graph = imported(HEADS)
    made = compile(graph, CUT)
    found = table(made)
    assert not found.missing
    assert set(found.kept) == {"wq", "wk", "wv", "wo"}
    assert found.kept["wv"][1] == found.kept["wo"][0]
    assert found.kept["wq"][1] == found.kept["wk"][1]
    for name in ("wq", "wo"):
        array = graph.constants[name].array
        for axis, stay in found.kept[name].items():
            array = np.take(array, stay, axis)
        assert any(np.array_equal(array, c.array) for c in made.graph.constants.values())


BRANCH = """
graph (%x: f32[N,6], %wide: bool[]) -> (%y)
  %w1 = constant f32[6,16] random(0)
  %w2 = constant f32[16,3] random(1)
  %a: f32[N,16] = MatMul(%x, %w1) @a
  %r: f32[N,16] = If(%wide) @if
    else_branch = graph () -> (%e)
      %e: f32[N,16] = Relu(%a) @relu
    then_branch = graph () -> (%t)
      %w3 = constant f32[16,16] random(2)
      %t: f32[N,16] = MatMul(%a, %w3) @inner
  %y: f32[N,3] = MatMul(%r, %w2) @last
"""


def test_weights_in_a_branch_that_was_chosen_are_in_the_map() -> None:
    made = compile(imported(BRANCH), CUT, bind={"wide": "1"})
    found = table(made)
    assert not found.missing
    assert set(found.kept) == {"w1", "w2", "w3"}
    assert found.kept["w1"][1] == found.kept["w3"][0]


def test_weights_in_a_branch_that_a_run_chooses_are_in_the_map() -> None:
    feed = {"x": np.ones((4, 6), np.float32), "wide": np.array(True)}
    found = table(compile(imported(BRANCH), CUT, data=[feed]))
    assert set(found.kept) == {"w1", "w2", "w3"}
    assert found.kept["w3"][0] == found.kept["w3"][1] == found.kept["w2"][0]


def test_quantization_behind_it_changes_nothing() -> None:
    graph = imported(NORMS)
    plain, quantized = (table(compile(graph, text)) for text in (CUT, f"{CUT},quant"))
    assert plain.kept == quantized.kept


@pytest.mark.parametrize("passes", ["", "quant"])
def test_without_a_removal_the_map_is_empty(passes: str) -> None:
    assert report_dict(compile(imported(NORMS), passes).report)["indices"] == {
        "kept": {},
        "missing": [],
    }


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_weights_that_are_repaired_do_not_matter(steps: int, data: bool) -> None:
    graph = imported(NORMS)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.standard_normal((32, 3, 8, 8)).astype(np.float32)}] if data else None
    options = f"ratio=0.5,budget=channels,score=random,align=1,steps={steps}"
    made = compile(graph, f"prune{{{options}}}", data=samples)
    found = table(made)
    assert not found.missing
    assert set(found.kept) == {"w1", "s1", "t1", "m1", "v1", "w2", "w3", "b3", "w4"}
    shapes = {c.shape for c in made.graph.constants.values()}
    cut = applied(graph, found)
    assert {cut.constants[name].shape for name in ("w1", "w2", "w4")} <= shapes


@dataclass(frozen=True)
class Mistaken(RemoveChannels):
    """Remove channels, and name one less of each axis than stays."""

    name: ClassVar[str] = "remove-mistaken"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        made = super().run(graph, ctx)
        less = {
            value: tuple(None if stay is None else stay[:-1] for stay in kept)
            for value, kept in made.kept.items()
        }
        return replace(made, kept=less)


def test_a_pass_that_names_other_widths_than_it_makes_is_found_out() -> None:
    options = {"ratio": 0.4, "budget": "channels", "align": 1, "score": "random"}
    made = compile(imported(NORMS), [Mistaken(**options)])
    assert set(table(made).missing) == {"w1", "s1", "t1", "m1", "v1", "w2", "w3", "b3", "w4"}
    assert not table(made).kept
    (said,) = (one.message for one in made.report.notes if "index map" in one.message)
    assert re.search(r"'\w+' is f32\[N,5,6,6\], not f32\[N,4,6,6\]", said)


@dataclass(frozen=True)
class Rename(Pass):
    """Give every value but the graph's outputs another name, and one weight other elements."""

    name: ClassVar[str] = "rename-values"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        def new(value: str) -> str:
            inner = value in graph.producers and value not in graph.outputs
            return f"{value}.renamed" if inner else value

        nodes = tuple(
            replace(n, inputs=tuple(map(new, n.inputs)), outputs=tuple(map(new, n.outputs)))
            for n in graph.nodes
        )
        types = {new(v): t for v, t in graph.types.items()}
        return PassResult(replace(graph, nodes=nodes, types=types))


def test_a_map_that_cannot_be_checked_is_not_written_but_said() -> None:
    graph = imported(NORMS)
    made = compile(graph, [Rename(), *catalogue().parse(CUT)])
    found = table(made)
    assert set(found.kept) == {"w2", "w3", "b3", "w4"}  # they came through as they are
    assert set(found.missing) == {"w1", "s1", "t1", "m1", "v1"}
    (said,) = (one.message for one in made.report.notes if "index map" in one.message)
    assert "lacks 5 of the model's initializers" in said
    for name, axes in found.kept.items():
        array = graph.constants[name].array
        for axis, stay in axes.items():
            array = np.take(array, stay, axis)
        assert any(np.array_equal(array, c.array) for c in made.graph.constants.values())


def test_the_network_that_ships_with_slimc_is_mapped_whole() -> None:
    graph = slimc.load(Path(slimc.__file__).parent / "demo" / "glyphs.onnx")
    edit = Editor(graph)
    for name, constant in graph.constants.items():
        if constant.array.dtype == np.int64 and (constant.array == 384).any():
            edit.set_constant(name, np.where(constant.array == 384, -1, constant.array))
    graph = edit.finish()  # the flattened width follows from the operand
    found = assert_leads_back(graph, compile(graph, CUT))
    norms = {name.rpartition(".")[0] for name in graph.constants if name.endswith("running_var")}
    cut = {f"{norm}.{one}" for norm in norms for one in ("weight", "bias", "running_mean")}
    assert norms
    assert cut <= set(found.kept)
