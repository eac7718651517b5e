"""Predicted latency as a function of what each family loses: a roofline that adds up over nodes.

Every node takes (multiply-accumulates / rate) + (bytes moved / bandwidth) + a fixed time. Channels
that a kernel counts are rounded up to the multiple that it likes: a width in between costs as much
as the next multiple. Sums and products only, so the latency of any removal is exact in the model,
and follows step by step, like MACs.

Source: Williams et al., CACM 2009 (roofline; a sum instead of the maximum of the two times).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from slimc.analysis.channels import Coupling
from slimc.analysis.families import Family, channel_axes
from slimc.analysis.index_space import AxisOf, Place
from slimc.analysis.removal_cost import Cost, Size, Term, cost_of_terms, mac_terms
from slimc.ir.graph import Node
from slimc.ir.types import TensorType
from slimc.ops.axes import Axis


@dataclass(frozen=True)
class Speed:
    """What a device does per second.

    macs: multiply-accumulates; bytes: to and from memory, of elements as the graph stores them
    (twice the data sheet's where the device computes f32 graphs in f16); node_seconds: what a node
    takes whatever its size; integer: how many times as many of 8-bit integers it multiplies. Ratios
    of predicted latencies are meaningful, seconds are not.
    """

    macs: float
    bytes: float
    node_seconds: float
    integer: float = 2.0


def latency(
    coupling: Coupling, families: Sequence[Family], speed: Speed, multiple: int = 1
) -> Cost:
    """Return the predicted seconds of a run as a function of the units removed per family.

    A value that its only reader takes in the order of its elements (activations, residual adds,
    reshapes) is not moved: kernels fuse the two. An axis that is narrower than the multiple as it
    is, is not rounded.
    """
    kept = _kept_in_place(coupling)
    fused = set(kept.values())
    terms = [Term(t.sizes, t.weight / speed.macs) for t in mac_terms(coupling)]
    for node in coupling.graph.nodes:
        terms += [Term(t.sizes, t.weight / speed.bytes) for t in _moved(coupling, node, kept)]
    terms.append(Term((), speed.node_seconds * (len(coupling.graph.nodes) - len(fused))))
    rounded = _multiples(coupling, families, multiple)
    return cost_of_terms(
        [
            Term(tuple(s._replace(multiple=rounded.get(s.place, 1)) for s in t.sizes), t.weight)
            for t in terms
        ],
        families,
    )


def _moved(coupling: Coupling, node: Node, kept: Mapping[str, str]) -> Iterator[Term]:
    """Yield the bytes of the operands and results of a node that are in memory.

    Constants count where they are weights: of a table that is looked up only few rows are read.
    """
    row = coupling.ops.get(node.kind)
    contracts = row is not None and bool(row.macs)
    places = [
        (v, operand)
        for operand, v in enumerate(node.inputs)
        if kept.get(v) != node.name and (contracts or v not in coupling.graph.constants)
    ]
    places += [(v, -1) for v in node.outputs if v not in kept]
    for value, operand in places:
        kind = coupling.facts.types.get(value) if value else None
        shape = coupling.facts.shape(value) if value else None
        if not isinstance(kind, TensorType) or shape is None:
            continue
        yield Term(
            tuple(
                Size(
                    AxisOf(value, axis) if operand < 0 else coupling.axis(node, operand, axis),
                    int(extent),
                )
                for axis, extent in enumerate(shape)
                if isinstance(extent, int)
            ),
            kind.dtype.bits / 8,
        )


def _kept_in_place(coupling: Coupling) -> dict[str, str]:
    """Return values that are not moved, each with the reader that is fused to its maker.

    A node is fused to one maker at most: the first.
    """
    graph = coupling.graph
    found: dict[str, str] = {}
    for node in graph.nodes:
        for operand, value in enumerate(node.inputs):
            alone = len(graph.users.get(value, ())) == 1 and node.inputs.count(value) == 1
            outside = value not in graph.producers or value in graph.outputs
            if alone and not outside and _takes_in_order(coupling, node, operand):
                found[value] = node.name
                break
    return found


def _takes_in_order(coupling: Coupling, node: Node, operand: int) -> bool:
    """Tell whether a node reads elements in the order in which it makes its only result."""
    bound, row = coupling.bound_of(node), coupling.ops.get(node.kind)
    if bound is None or row is None or row.macs or len(node.outputs) != 1:
        return False
    taken = _in_order(bound.inputs[operand]) if operand < len(bound.inputs) else None
    made, labels = _in_order(bound.outputs[0]), bound.labels()
    free = not any(labels[name].pinned or labels[name].soft for name in taken or ())
    return taken is not None and taken == made and free


def _in_order(axes: tuple[Axis, ...] | None) -> list[str] | None:
    """Return the labels of an operand from the slowest to the fastest; None if it has joins."""
    if axes is None or any(len(axis) > 1 for axis in axes):
        return None
    return [label.name for axis in axes for term in axis for label in term]


def _multiples(
    coupling: Coupling, families: Sequence[Family], multiple: int
) -> Mapping[Place, int]:
    """Return what the sizes of labels and axes that kernels count as channels are rounded up to."""
    found: dict[Place, int] = {}
    for place in {m.place for family in families for m in family.labels} if multiple > 1 else ():
        for axis in channel_axes(coupling, place):
            extent = coupling.space.extent[axis]
            beside = extent // max(1, coupling.space.extent[place])
            if extent >= multiple:
                found[axis] = multiple
                found[place] = max(found.get(place, 1), multiple // gcd(multiple, beside))
    return found
