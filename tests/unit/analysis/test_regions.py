from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimc.analysis.regions import Region, in_float, is_quantized, regions
from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data
from slimc.execute.ort import run
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import InsertQdq
from slimc.passes.quant.assign_scales import AssignScales
from slimc.targets import resolve

RESIDUAL = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[8,3,1,1] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[8,8,3,3] random(2)
  %wd = constant f32[4,8,1,1] random(3)
  %a: f32[N,8,8,8] = Conv(%x, %wa) @a
  %b: f32[N,8,8,8] = Conv(%a, %wb){pads=[1,1,1,1]} @b
  %r: f32[N,8,8,8] = Relu(%b) @r
  %c: f32[N,8,8,8] = Conv(%r, %wc){pads=[1,1,1,1]} @c
  %s: f32[N,8,8,8] = Add(%a, %c) @s
  %t: f32[N,8,4,4] = MaxPool(%s){kernel_shape=[2,2],strides=[2,2]} @t
  %y: f32[N,4,4,4] = Conv(%t, %wd) @d
"""


def quantized(text: str = RESIDUAL, target: str = "cpu-vnni") -> tuple[Graph, Graph, Context]:
    graph = parse_text(text)
    data = Data.synthesize(graph, default_sizes(graph), count=2)
    ctx = Context(OPS, resolve(target), data, data.sizes())
    return graph, AssignScales().run(graph, ctx).graph, ctx


def test_operators_hang_on_the_last_contraction_before_them() -> None:
    _, marked, _ = quantized()
    found = regions(marked, OPS)
    integer = {node.name for node in marked.nodes if node.integer}
    assert sorted(name for one in found for name in one.nodes) == sorted(integer)
    assert {one.name: one.nodes for one in found}["c"] == ("c", "s", "t")
    assert [one.name for one in found] == [n for n in "abcd" if n in integer]


def test_an_operator_before_all_contractions_hangs_on_the_first_that_reads_it() -> None:
    graph, marked, _ = quantized()
    nodes = [
        replace(node, integer=node.name in ("r", "s", "t", "d")) for node in marked.nodes
    ]  # as of a target that quantizes sums on their own
    marked = replace(marked, nodes=tuple(nodes), records={})
    assert regions(marked, OPS) == (Region("d", ("r", "s", "t", "d")),)
    assert regions(graph, OPS) == ()


def test_a_constant_that_is_stored_small_makes_a_region() -> None:
    graph, marked, _ = quantized()
    weights = {"wb": marked.records["wb"]}
    stored = replace(graph, records=weights, form=marked.form)
    assert regions(stored, OPS) == (Region("b", ("b",)),)
    assert in_float(stored, regions(stored, OPS), graph).records == {}


def test_all_regions_in_floats_are_the_graph_before() -> None:
    graph, marked, ctx = quantized()
    changed = {**marked.constants, "wb": Constant(marked.constants["wb"].array + 1)}
    marked = replace(marked, constants=changed)  # as rounding does
    back = in_float(marked, regions(marked, OPS), graph)
    assert not back.records
    assert not any(is_quantized(back, node) for node in back.nodes)
    feed = next(iter(ctx.data))
    np.testing.assert_array_equal(run(back, feed)["y"], run(graph, feed)["y"])


def test_a_region_in_floats_leaves_the_others_in_integers() -> None:
    graph, marked, ctx = quantized()
    found = {one.name: one for one in regions(marked, OPS)}
    half = in_float(marked, [found["c"]], graph)
    assert [node.name for node in half.nodes if node.integer] == [
        node.name for node in marked.nodes if node.integer and node.name not in ("c", "s", "t")
    ]
    assert {"t", "wd"} <= set(half.records)  # the last convolution takes them as integers
    assert not {"wc", "s"} & set(half.records)
    feed = next(iter(ctx.data))
    wanted = run(graph, feed)["y"]
    noise = [
        np.square(run(InsertQdq().run(one, ctx).graph, feed)["y"] - wanted).sum()
        for one in (half, marked)
    ]
    assert 0 < noise[0] < noise[1]


def test_constants_keep_the_float_type_that_the_graph_has_by_now() -> None:
    graph, marked, _ = quantized()
    halves = {name: Constant(c.array.astype(np.float16)) for name, c in marked.constants.items()}
    back = in_float(replace(marked, constants=halves), regions(marked, OPS), graph)
    assert {constant.dtype.text for constant in back.constants.values()} == {"f16"}
