from __future__ import annotations

from dataclasses import replace

import pytest

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.errors import SlimcError
from slimc.ir.graph import Graph, Origin
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.options import WidthBounds, kept_nodes, match_nodes, parse_bounds

GRAPH = parse_text("""
graph (%x: f32[1,8]) -> (%y)
  %wa = constant f32[8,16] random(0)
  %wb = constant f32[16,16] random(1)
  %wc = constant f32[16,4] random(2)
  %a: f32[1,16] = MatMul(%x, %wa) @in/a
  %b: f32[1,16] = MatMul(%a, %wb) @in/b
  %s: f32[1,16] = Add(%a, %b) @sum
  %y: f32[1,4] = MatMul(%s, %wc) @out
""")


def renamed(graph: Graph = GRAPH) -> Graph:
    """As after a rewrite: node `in/b` stands for two nodes of the user."""
    origin = Origin("fold", ("user/b", "user/bias"))
    nodes = [replace(n, origin=origin) if n.name == "in/b" else n for n in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def coupled(graph: Graph = GRAPH) -> Coupling:
    return couple(graph, OPS, infer(graph, OPS))


def of(*widths: str, step: int = 1, least: int = 1) -> WidthBounds:
    coupling = coupled()
    found = families(coupling)
    (trunk,) = [i for i, f in enumerate(found) if f.width == 16]
    return parse_bounds(coupling, found, [step] * len(found), widths, least)[trunk]


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("in/a:8-12", 8, 12), ("in/*:8", 8, 8), ("in/b:-12", 1, 12), ("in/b:5-", 5, 1 << 62)],
)
def test_texts_of_bounds(text: str, least: int, most: int) -> None:
    assert of(text) == WidthBounds(least, most)


def test_all_bounds_of_a_family_hold_and_the_option_for_all() -> None:
    assert of("in/a:4-12", "in/b:2-14", least=3) == WidthBounds(4, 12)
    assert of("in/a:2-12", least=3) == WidthBounds(3, 12)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["in/a"], "cannot read 'in/a'"),
        (["in/a:x-8"], "cannot read 'in/a:x-8'"),
        (["out:1-3"], "'out' makes no channels that may leave"),
        (["in/a:12-8"], "'in/a:12-8' allows no width"),
        (["in/a:-8", "in/b:12-"], "family 'in/a' has no width from 12 to 8"),
    ],
)
def test_bounds_that_say_nothing_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(SlimcError) as caught:
        of(*texts)
    assert caught.value.name == "bad-option-value"
    assert caught.value.message == message


def test_bounds_without_a_multiple_are_refused() -> None:
    assert of("in/a:8-9", step=8) == WidthBounds(8, 9)
    with pytest.raises(SlimcError, match="no width from 9 to 15 that is a multiple of 8"):
        of("in/a:9-15", step=8)


def test_nodes_are_found_by_the_names_of_the_users_model_too() -> None:
    assert match_nodes(renamed(), "user/bias", "keep") == {"in/b"}
    assert match_nodes(renamed(), "in/b", "keep") == {"in/b"}
    assert kept_nodes(renamed(), ["user/*", "out"]) == {"in/b", "out"}


def test_a_name_of_no_node_gets_a_suggestion() -> None:
    with pytest.raises(SlimcError) as caught:
        match_nodes(renamed(), "user/biass", "widths")
    assert caught.value.name == "unknown-node"
    assert caught.value.where == "option widths of pass remove-channels"
    assert caught.value.help == "did you mean 'user/bias'?"
