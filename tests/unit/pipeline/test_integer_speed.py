"""Integers that are slower than floats are given back, and the recipe says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

import slimc
from slimc.ir.graph import Graph, Node
from slimc.ir.text import parse_text, to_text

LAYERS = 4
GRAPH = parse_text(
    f"graph (%v0: f32[2,32,8,8]) -> (%v{LAYERS})\n"
    + "".join(f"  %w{i} = constant f32[32,32,3,3] random({i}, -0.1..0.1)\n" for i in range(LAYERS))
    + "".join(
        f"  %v{i + 1}: f32[2,32,8,8] = Conv(%v{i}, %w{i}) {{pads=[1, 1, 1, 1]}} @c{i}\n"
        for i in range(LAYERS)
    )
)
QUANT = "quant{calibrator=minmax,scheme=int8}"
Timer = Callable[[Sequence[Graph], Mapping[str, np.ndarray], int, int], np.ndarray]


def timer(seconds: Mapping[str, float]) -> Timer:
    """Take 1 s for every convolution in float, and as long as told for those in integers."""

    def of(graph: Graph, node: Node) -> float:
        makers = [graph.producers.get(value) for value in node.inputs]
        integer = all(maker is not None and maker.op == "DequantizeLinear" for maker in makers)
        return seconds.get(node.name, 0.5) if integer else 1.0

    def time(
        graphs: Sequence[Graph], feed: Mapping[str, np.ndarray], rounds: int, threads: int
    ) -> np.ndarray:
        whole = [sum(of(g, n) for n in g.nodes if n.op == "Conv") for g in graphs]
        return np.repeat(np.array(whole)[:, None], rounds, axis=1)

    return time


def compiled(passes: str, seconds: Mapping[str, float], target: str = "cpu-vnni") -> slimc.Compiled:
    return slimc.compile(GRAPH, passes, target, measure=True, timer=timer(seconds))


def test_a_region_that_is_slower_in_integers_stays_in_float() -> None:
    made = compiled(QUANT, {"c2": 3.0})
    assert made.report.integer_float == ("c2",)
    assert made.report.integer_achieved == made.report.integer_intended == LAYERS - 1
    (facts,) = [one.facts["measured"] for one in made.report.passes if "measured" in one.facts]
    assert facts["given_back"] == ["c2"]
    assert facts["ratio"] == round(4 / 2.5, 4)


def test_the_recipe_makes_the_same_without_measuring() -> None:
    made = compiled(QUANT, {"c2": 3.0})
    assert "keep=[c2]" in made.report.recipe
    again = slimc.compile(GRAPH, made.report.recipe, "cpu-vnni")
    assert to_text(again.graph) == to_text(made.graph)


def test_all_regions_go_where_none_pays() -> None:
    made = compiled(QUANT, {f"c{i}": 1.5 for i in range(LAYERS)})
    assert made.report.integer_intended == 0
    assert not any(node.op == "QuantizeLinear" for node in made.graph.nodes)


def test_what_pays_everywhere_stays_as_it_is() -> None:
    made = compiled(QUANT, {})
    assert made.report.recipe == QUANT
    assert made.report.integer_intended == LAYERS


def test_another_machine_is_not_timed_here() -> None:
    made = slimc.compile(GRAPH, QUANT, "jetson", measure=True)
    said = [str(remark) for one in made.report.passes for remark in one.remarks]
    assert any("integers are not timed: this machine is no jetson-orin" in text for text in said)
