"""The graph of ties, the points where it could be cut, and its GraphML."""

from __future__ import annotations

from io import BytesIO

import networkx as nx
import pytest

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.index_space import AxisOf, LabelOf
from slimc.analysis.shapes import default_sizes, infer
from slimc.analysis.tie_graph import CutPoint, cut_points, tie_graph, write_graphml
from slimc.ir.text import parse_text
from slimc.ops import OPS

TRUNK = """
graph (%x: f32[1,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[5,8,1,1] random(2)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @a
  %r = Relu(%a) @r
  %b = Conv(%r, %wb) {pads=[1, 1, 1, 1]} @b
  %s = Add(%b, %r) @s
  %y = Conv(%s, %wc) @c
"""
TWO_OUTPUTS = TRUNK.replace("(%y)", "(%y, %s)")
BESIDE = TRUNK.replace("(%y)", "(%y, %r)")
PIN = "graph output 'r'"
ODD = TRUNK.replace("@s", '@"s\\u0001"')


def coupled(text: str, keep: tuple[str, ...] = ()) -> Coupling:
    graph = parse_text(text)
    return couple(graph, OPS, infer(graph, OPS, default_sizes(graph)), keep)


def test_channels_and_what_ties_them_are_vertices() -> None:
    graph = tie_graph(coupled(TRUNK))
    a, b, c = (LabelOf(node, "o") for node in "abc")
    assert {a, b, c, AxisOf("r", 1), AxisOf("s", 1)} <= set(graph)
    assert graph.edges[a, AxisOf("a", 1)]["indices"] == 8
    assert nx.has_path(graph, a, b)
    assert not nx.has_path(graph, a, c)
    assert AxisOf("x", 2) not in graph, "the height of an image is no width"


@pytest.mark.parametrize(
    ("text", "keep", "expected"),
    [
        (TRUNK, (), ()),
        (TRUNK, ("c",), (CutPoint("s", ("a", "b"), "'c' (Conv), which is kept"),)),
        (TWO_OUTPUTS, (), (CutPoint("s", ("a", "b"), "graph output 's'"),)),
        (BESIDE, (), (CutPoint("r", ("a",), PIN), CutPoint("s", ("b",), PIN))),
        (TRUNK, ("b",), (CutPoint("r", ("a",), "'b' (Conv), which is kept"),)),
    ],
)
def test_cut_points_free_as_many_nodes_as_can_be(
    text: str, keep: tuple[str, ...], expected: tuple[CutPoint, ...]
) -> None:
    assert cut_points(coupled(text, keep)) == expected


@pytest.mark.parametrize("keep", ["a", "b", "c"])
def test_without_the_cut_point_no_pin_is_reached(keep: str) -> None:
    coupling = coupled(TRUNK, (keep,))
    reasons = coupling.space.reason_at()
    for cut in cut_points(coupling):
        graph = tie_graph(coupling)
        graph.remove_nodes_from([p for p in graph if isinstance(p, LabelOf) and p.node == cut.node])
        for node in cut.freed:
            tied = nx.node_connected_component(graph, LabelOf(node, "o"))
            assert not any((reasons[coupling.space.of(place)] >= 0).any() for place in tied)


def test_graphml_has_widths_groups_and_pins() -> None:
    file = BytesIO()
    write_graphml(coupled(ODD), file)
    graph = nx.read_graphml(BytesIO(file.getvalue()))
    by_label = {facts["label"]: (vertex, facts) for vertex, facts in graph.nodes(data=True)}
    group, facts = by_label["a"]
    assert (facts["kind"], facts["width"], facts["pinned_by"]) == ("prune group", 8, "")
    channels, facts = by_label["a output channels"]
    assert (facts["op"], facts["width"], facts["cut_point"]) == ("Conv", 8, False)
    assert graph.edges[group, channels]["indices"] == 1
    _, facts = by_label["y axis 1"]
    assert (facts["kind"], facts["pinned_by"]) == ("value", "graph output 'y'")
    again = BytesIO()
    write_graphml(coupled(ODD), again)
    assert again.getvalue() == file.getvalue()
