"""The widths of a network as a graph: axes of values, channels of nodes, and the ties between them.

An axis, or a label of a node, is a vertex; an edge says that indices of the two leave together. The
channels of a node that is pinned are connected to what pins them. A vertex that every such way goes
through is a cut point: without its ties the channels on the far side could leave.
Source: Lengauer and Tarjan, TOPLAS 1979 (dominators of a flow graph).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import LabelOf, Place
from slimc.analysis.prune_groups import channel_labels, families, role, weighted_nodes

if TYPE_CHECKING:
    import networkx as nx

_SOURCE = "pins"  # a vertex before everything that is pinned itself


@dataclass(frozen=True)
class CutPoint:
    """A node through which all goes that pins the output channels of other nodes.

    node: its name; freed: the weighted nodes whose channels could leave without its ties;
    pinned_by: what pins them.
    """

    node: str
    freed: tuple[str, ...]
    pinned_by: str


def tie_graph(coupling: Coupling) -> nx.Graph:
    """Return the places that are tied to channels of weighted nodes, in order, and their ties.

    Vertices are places; an edge has the number of `indices` that it ties.
    """
    import networkx as nx

    places = [place for place, _, _ in coupling.space.places()]
    roots = _channels(coupling)
    ties = nx.Graph()
    ties.add_nodes_from(roots)
    for a, b, count in coupling.space.place_ties().tolist():
        ties.add_edge(places[a], places[b], indices=count)
    parts = (part for part in nx.connected_components(ties) if not part.isdisjoint(roots))
    tied = set().union(*parts)
    graph = nx.Graph()
    graph.add_nodes_from(place for place in places if place in tied)
    graph.add_edges_from(edge for edge in ties.edges(data=True) if edge[0] in tied)
    return graph


def cut_points(coupling: Coupling) -> tuple[CutPoint, ...]:
    """Return, for output channels that are pinned, the cut points that free most, in graph order.

    Of several that free the same nodes it is the one next to them.
    """
    ways = _ways_to_pins(coupling)
    freed: dict[LabelOf, list[LabelOf]] = {}
    for place, labels in ways.items():
        for label in labels:
            freed.setdefault(label, []).append(place)
    # max takes the first of equals, which is the nearest.
    best = {max(labels, key=lambda label: len(freed[label])) for labels in ways.values() if labels}
    return tuple(
        CutPoint(
            label.node,
            tuple(place.node for place in freed[label]),
            _pin(coupling, freed[label][0]),
        )
        for label in coupling.space.start
        if label in best and isinstance(label, LabelOf)
    )


def _ways_to_pins(coupling: Coupling) -> dict[LabelOf, list[LabelOf]]:
    """Return, for output channels that are pinned, what all ways to the pins go through, in order.

    Labels of the node itself are not among them.
    """
    import networkx as nx

    flow, reasons = tie_graph(coupling).to_directed(), coupling.space.reason_at()
    pinned = [place for place in flow if (reasons[coupling.space.of(place)] >= 0).any()]
    if not pinned:
        return {}
    flow.add_edges_from((_SOURCE, place) for place in pinned)
    dominators = nx.immediate_dominators(flow, _SOURCE)
    ways: dict[LabelOf, list[LabelOf]] = {}
    for place in _channels(coupling):
        if place in dominators and role(coupling, place) == "output channels":
            above, ways[place] = dominators[place], []
            while above != _SOURCE:
                if isinstance(above, LabelOf) and above.node != place.node:
                    ways[place].append(above)
                above = dominators[above]
    return ways


def write_graphml(coupling: Coupling, file: IO[bytes]) -> None:
    """Write the tie graph and the prune groups as GraphML, which Gephi and yEd open.

    Attributes of vertices: kind (value, constant, node, prune group), name, op, part (an axis, or
    what the channels are to the node), width, pinned_by, cut_point (of nodes); of edges: indices.
    The same graph gives the same bytes.
    """
    import networkx as nx

    cuts = {point.node for point in cut_points(coupling)}
    ties, made = tie_graph(coupling), nx.Graph()
    vertices = {place: f"n{number}" for number, place in enumerate(ties)}
    for place, vertex in vertices.items():
        facts = _facts(coupling, place)
        cut = isinstance(place, LabelOf) and place.node in cuts
        width, pinned_by = coupling.space.extent[place], _pin(coupling, place)
        made.add_node(vertex, **facts, width=width, pinned_by=pinned_by, cut_point=cut)
    for a, b, count in ties.edges(data="indices"):
        made.add_edge(vertices[a], vertices[b], indices=count)
    for number, group in enumerate(families(coupling)):
        facts = _named("prune group", group.name, "", "")
        made.add_node(f"g{number}", **facts, width=group.width, pinned_by="", cut_point=False)
        for member in group.members:
            if member.place in vertices:
                made.add_edge(f"g{number}", vertices[member.place], indices=member.count)
    nx.write_graphml_xml(made, file)  # write_graphml writes other bytes where lxml is installed


def _channels(coupling: Coupling) -> dict[LabelOf, None]:
    """Return the channels of weighted nodes, in graph order."""
    nodes = (n for n in weighted_nodes(coupling) if coupling.bound_of(n) is not None)
    return {place: None for node in nodes for place in channel_labels(coupling, node)}


def _pin(coupling: Coupling, place: Place) -> str:
    """Return what pins indices of a place, empty where all may leave."""
    pinned = np.flatnonzero(coupling.pinned[coupling.units_at(place)])
    if not len(pinned):
        return ""
    index = coupling.space.start[place] + int(pinned[0])
    while coupling.toward_pin[index] != index:
        index = int(coupling.toward_pin[index])
    return _printable(coupling.space.reasons[coupling.space.reason_at()[index]])


def _facts(coupling: Coupling, place: Place) -> dict[str, str]:
    if isinstance(place, LabelOf):
        op = coupling.graph.by_name[place.node].kind
        return _named("node", place.node, op, role(coupling, place))
    kind = "constant" if place.value in coupling.graph.constants else "value"
    return _named(kind, place.value, "", f"axis {place.axis}")


def _named(kind: str, name: str, op: str, part: str) -> dict[str, str]:
    label = _printable(" ".join(filter(None, (name, part))))
    return {"label": label, "kind": kind, "name": _printable(name), "op": op, "part": part}


def _printable(text: str) -> str:
    """Escape what XML cannot hold: a name in an ONNX file may be anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
