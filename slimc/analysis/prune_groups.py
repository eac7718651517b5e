"""Families: units with the same membership, so that any k of them cost and save alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd, lcm

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import AxisOf, LabelOf, Place
from slimc.ir.arrays import Ints, Mask
from slimc.ir.graph import Node
from slimc.ops.axes import Axis, labels_of


@dataclass(frozen=True)
class Member:
    """A place that loses indices with a family: `count` of them for every unit."""

    place: Place
    count: int


@dataclass(frozen=True)
class LabelMember:
    """A label of a node that loses indices with a family."""

    place: LabelOf
    count: int


@dataclass(frozen=True, eq=False)
class Family:
    """A width of the network. `units` in the order of their first index; `soft`: approximate."""

    name: str
    units: Ints
    members: tuple[Member, ...]
    soft: bool

    @property
    def first_node(self) -> str:
        """The node that the family is named after."""
        return self.name.partition("#")[0]

    @property
    def width(self) -> int:
        return len(self.units)

    @cached_property
    def labels(self) -> tuple[LabelMember, ...]:
        """The members that are labels of nodes."""
        return tuple(
            LabelMember(m.place, m.count) for m in self.members if isinstance(m.place, LabelOf)
        )

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes whose labels lose indices, in graph order."""
        return tuple(dict.fromkeys(m.place.node for m in self.labels))


def indices_of(coupling: Coupling, family: Family, place: Place) -> Ints:
    """Return the indices of a place that leave with each unit of a family: i64[width, count]."""
    units = coupling.units_at(place)
    sorter = np.argsort(family.units)
    at = np.searchsorted(family.units, units, sorter=sorter)
    position = sorter[np.minimum(at, family.width - 1)]
    own = np.flatnonzero(family.units[position] == units)
    return own[np.argsort(position[own], kind="stable")].reshape(family.width, -1)


def families(coupling: Coupling) -> tuple[Family, ...]:
    """Group the units that may leave by membership, in the order of their first index.

    A family with one unit has no narrower form; it is listed all the same, so that it can be told.
    """
    units, places, counts = _memberships(coupling)
    order = list(coupling.space.start)
    by_unit = np.split(np.arange(len(units)), np.flatnonzero(np.diff(units)) + 1)
    groups: dict[tuple[bytes, bytes], list[int]] = {}
    for rows in by_unit if len(units) else ():
        key = (places[rows].tobytes(), counts[rows].tobytes())
        groups.setdefault(key, []).append(int(units[rows[0]]))
    found: list[Family] = []
    taken: set[str] = set()
    for (at, count), members in groups.items():
        at_places = np.frombuffer(at, np.int64)
        numbers = np.frombuffer(count, np.int64)
        listed = tuple(Member(order[p], int(c)) for p, c in zip(at_places, numbers, strict=True))
        if not any(isinstance(m.place, LabelOf) for m in listed):
            continue
        name = _fresh(_name(coupling, listed), taken)
        soft = bool(coupling.soft[members[0]])
        found.append(Family(name, np.array(members), listed, soft))
    return tuple(found)


def units_beyond(coupling: Coupling, widths: Mapping[str, int]) -> Mask:
    """Return the units that leave so that families have these widths: bool[units], the last ones.

    Which units of a family leave does not matter to shapes, and so to latency. Families without a
    width stay whole.
    """
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[widths.get(family.name, family.width) :]] = True
    return removed


def _memberships(coupling: Coupling) -> tuple[Ints, Ints, Ints]:
    """Return (unit, place, count) for every unit that may leave, sorted by unit, then place.

    A label of one index is no place of its own for a unit that stands on wider axes only: known
    indices of a gather are each such a label, and pick channels of one family.
    """
    extents = np.array([extent for _, _, extent in coupling.space.places()], np.int64)
    place = np.repeat(np.arange(len(extents)), extents)
    free = ~coupling.pinned[coupling.unit]
    keys = coupling.unit[free].astype(np.int64) * len(extents) + place[free]
    unique, counts = np.unique(keys, return_counts=True)
    units, places = np.divmod(unique, max(1, len(extents)))
    label = np.array([isinstance(p, LabelOf) for p, _, _ in coupling.space.places()], bool)[places]
    single = extents[places] == 1
    wide, narrow = (np.zeros(len(coupling.pinned), bool) for _ in range(2))
    wide[units[~single]], narrow[units[single & ~label]] = True, True
    kept = ~(single & label & wide[units] & ~narrow[units])
    return units[kept], places[kept], counts[kept].astype(np.int64)


def _fresh(name: str, taken: set[str]) -> str:
    chosen, k = name, 1
    while chosen in taken:
        k += 1
        chosen = f"{name}#{k}"
    taken.add(chosen)
    return chosen


def _name(coupling: Coupling, members: tuple[Member, ...]) -> str:
    """Name a family after the first weighted node whose output channels it is, else its first."""
    first = ""
    for member in members:
        if isinstance(member.place, LabelOf):
            node = coupling.graph.by_name[member.place.node]
            weighted = coupling.ops.weighted(node)
            if weighted is not None and weighted.channel == member.place.label:
                return node.name
            first = first or node.name
    return first


def role(coupling: Coupling, place: LabelOf) -> str:
    """Return what a label is to its node: output channels, input channels, or another axis."""
    node = coupling.graph.by_name[place.node]
    weighted = coupling.ops.weighted(node)
    bound = coupling.facts.bounds[node.name]
    if place.label not in labels_of(*bound.outputs):
        return "input channels"
    if weighted is None:
        return "axis"
    if place.label == weighted.channel:
        return "output channels"
    return "groups" if place.label in labels_of(bound.inputs[weighted.weight]) else "axis"


def readers(coupling: Coupling, family: Family) -> int:
    """Return how many contractions sum over the channels of a family, at least 1."""
    rows = coupling.ops.rows
    return max(
        1,
        sum(
            bool(rows[coupling.graph.by_name[m.place.node].kind].macs)
            and role(coupling, m.place) == "input channels"
            for m in family.labels
        ),
    )


def step(coupling: Coupling, family: Family, align: int) -> int:
    """Return how many units make a multiple of `align` channels wherever a kernel counts them.

    Kernels count the channels that contractions read and make. A family narrower than one multiple
    goes by a half of it, a quarter and so on, until it has two steps.
    """
    counts = {m.place: m.count for m in family.members}
    places = [p for member in family.labels for p in channel_axes(coupling, member.place)]

    def units(multiple: int) -> int:
        return lcm(*(multiple // gcd(multiple, counts.get(p, multiple)) for p in places))

    if units(align) <= family.width:
        return units(align)
    while align > 1 and 2 * units(align) > family.width:
        align //= 2
    return units(align)


def channel_axes(coupling: Coupling, place: LabelOf) -> Iterator[AxisOf]:
    """Yield the axes on which a contraction has this label as channels, none for other nodes.

    A label that only counts products (attention heads: both operands have it, alone on an axis) is
    no channel.
    """
    node = coupling.graph.by_name[place.node]
    what = role(coupling, place)
    if not coupling.ops.rows[node.kind].macs or what == "axis":
        return
    bound = coupling.facts.bounds[node.name]
    found: list[tuple[AxisOf, Axis]] = []
    for operand, axes in enumerate(bound.inputs):
        for number, axis in enumerate(axes or ()):
            found.append((coupling.axis(node, operand, number), axis))
    for value, axes in zip(node.outputs, bound.outputs, strict=True):
        for number, axis in enumerate(axes or () if value else ()):
            found.append((AxisOf(value, number), axis))
    for at, axis in found:
        alone = sum(len(term) for term in axis) == 1
        if place.label in labels_of((axis,)) and not (alone and what == "groups"):
            yield at


def weighted_nodes(coupling: Coupling) -> tuple[Node, ...]:
    """Return the nodes whose weights are constants or computed from such, in graph order."""
    graph, found = coupling.graph, []
    fixed = set(graph.constants)
    for node in graph.nodes:
        if coupling.ops.weight_of(node) in fixed:
            found.append(node)
        if all(value in fixed for value in node.reads):
            fixed.update(o for o in node.outputs if o)
    return tuple(found)


def channel_labels(coupling: Coupling, node: Node) -> tuple[LabelOf, ...]:
    """Return the labels of a weighted node that are channels: made first, then read."""
    weighted = coupling.ops.weighted(node)
    bound = coupling.facts.bounds[node.name]
    if weighted is None:
        return ()
    results = labels_of(*bound.outputs)
    kernel = labels_of(bound.inputs[weighted.weight])
    data = labels_of(bound.inputs[weighted.data])
    read = [name for name in kernel if name in data and name not in results]
    made = [weighted.channel] if weighted.channel in kernel else []
    free = [n for n in kernel if n in data and n in results and n not in made]
    labels = bound.labels()
    both = [name for name in free if not labels[name].pinned and bound.sizes[name] != 1]
    return tuple(LabelOf(node.name, name) for name in dict.fromkeys((*made, *both, *read)))
