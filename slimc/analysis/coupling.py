"""What must leave together, what may not leave, and why.

Every index of every axis of every value, and of every label of every node, is a point; a node's
axis signature ties the points that are the same index. The connected components are the units:
sets of slices that leave together. No operator is named here; all knowledge is in `ops`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from slimc.analysis.bodies import Opened, open_bodies, open_facts
from slimc.analysis.dynamic_sizes import sizes_read
from slimc.analysis.index_space import AxisOf, IndexSpace, LabelOf, Place
from slimc.analysis.product_axes import Product, resolve
from slimc.analysis.shapes import Facts, infer
from slimc.ir.arrays import Ints, Mask
from slimc.ir.graph import Graph, Node
from slimc.ops.axes import Axis, BoundSignature, Label, Term, labels_of
from slimc.ops.control import OPEN_OPS
from slimc.ops.op import Op, OpTable


@dataclass(frozen=True, eq=False)
class Coupling:
    """The units of a graph at one binding of its named sizes.

    opened: the graph, and its open form, in which the nodes of bodies are nodes among others.
    unit: per index of `space`, its unit; pinned, soft: per unit, whether it may not leave, or only
    approximately.
    """

    opened: Opened
    ops: OpTable
    facts: Facts
    space: IndexSpace
    shared: frozenset[str]
    unit: Ints
    pinned: Mask
    soft: Mask

    @property
    def graph(self) -> Graph:
        """The open form of the graph: what is said of places is said of its nodes and values."""
        return self.opened.graph

    def axis(self, node: Node, operand: int, axis: int) -> AxisOf:
        """Return the place of an axis of an operand as `node` reads it."""
        return axis_of(self.graph, self.shared, node, operand, axis)

    def units_at(self, place: Place) -> Ints:
        """Return the unit of every index of a place."""
        start = self.space.start[place]
        return self.unit[start : start + self.space.extent[place]]

    def bound_of(self, node: Node) -> BoundSignature | None:
        """Return the node's signature if it was laid; None: all its axes are pinned."""
        bound = self.facts.bounds.get(node.name)
        return bound if bound is not None and _numeric(bound) else None

    @cached_property
    def toward_pin(self) -> np.ndarray:
        """Per index, the next one on a shortest way to what pins it."""
        return self.space.toward(self.space.reason_at() >= 0)

    @cached_property
    def toward_soft(self) -> np.ndarray:
        """Per index, the next one on a shortest way to what makes its removal approximate."""
        return self.space.toward(self.space.reason_at(soft=True) >= 0)


def couple(graph: Graph, ops: OpTable, facts: Facts, keep: Collection[str] = ()) -> Coupling:
    """Tie, pin and solve. `facts`: inferred with a number for every named size.

    Axes whose size a run decides (named in the graph without those numbers) are pinned, and so is
    everything that the nodes named in `keep` read or make, also inside their bodies.
    """
    opened = open_bodies(graph, ops)
    ops = OpTable({**ops.rows, **{row.kind: row for row in OPEN_OPS.values()}})
    symbolic, facts = open_facts(opened, infer(graph, ops)), open_facts(opened, facts)
    keep = _inside(keep, opened)
    graph = opened.graph
    space = IndexSpace()
    shared = _shared_weights(graph)
    _add_values(space, graph, facts)
    _pin_ends(space, graph)
    _pin_dynamic(space, symbolic)
    products: list[Product] = []
    for node in graph.nodes:
        bound = facts.bounds.get(node.name)
        if bound is None or not _numeric(bound):
            why = facts.opaque.get(node.name, "the sizes of its axes are not known")
            reason = f"{said(node)}, whose axes are not understood: {why}"
            _pin_node(space, graph, shared, facts, node, reason)
            continue
        _Laying(space, graph, shared, facts, node, bound, products).lay(ops.rows[node.kind])
        _pin_computed_runs(space, node, bound, symbolic.bounds.get(node.name))
        if node.name in keep:
            _pin_node(space, graph, shared, facts, node, f"{said(node)}, which is kept")
    for read in sizes_read(graph, ops, facts):
        if (place := AxisOf(read.value, read.axis)) in space.start:
            space.pin(space.of(place), f"{said(read.node)}, which computes with its size")
    resolve(space, products)
    unit = space.solve()
    return Coupling(
        opened, ops, facts, space, shared, unit, space.pinned_units(unit), space.soft_units(unit)
    )


def _inside(keep: Collection[str], opened: Opened) -> frozenset[str]:
    """Return the names of nodes to keep with those of all nodes inside them."""
    bordering = (node for name, node in opened.borders.items() if name in keep)
    inside = (inner.name for node in bordering for body in node.bodies for inner in body.walk())
    return frozenset((*keep, *inside))


def axis_of(graph: Graph, shared: frozenset[str], node: Node, operand: int, axis: int) -> AxisOf:
    """Return the place of an axis of an operand: of the use for a constant, else of the value."""
    value = node.inputs[operand]
    if value in graph.constants and value not in shared:
        return AxisOf(value, axis, node.name, operand)
    return AxisOf(value, axis)


def said(node: Node) -> str:
    """Return how messages call a node."""
    return f"'{node.name}' ({node.kind})"


def _shared_weights(graph: Graph) -> frozenset[str]:
    """Return constants that stay one array for all their readers.

    Matrices and kernels read twice are weights shared on purpose; vectors and scalars are shared by
    exporters that join equal constants, and may part.
    """
    uses = Counter(i for node in graph.nodes for i in node.inputs if i in graph.constants)
    captured = {v for node in graph.nodes for body in node.bodies for v in body.captured}
    return frozenset(
        name
        for name, constant in graph.constants.items()
        if name in captured
        or name in graph.outputs
        or (uses[name] > 1 and sum(d > 1 for d in constant.shape) > 1)
    )


def _add_values(space: IndexSpace, graph: Graph, facts: Facts) -> None:
    """Give numbers to all values but constants, whose uses get theirs as they are met."""
    met = (v for node in graph.nodes for v in (*node.inputs, *node.outputs) if v)
    for value in dict.fromkeys((*graph.inputs, *met)):
        if value in graph.constants:
            continue
        for axis, extent in enumerate(facts.shape(value) or ()):
            space.add(AxisOf(value, axis), extent)


def _pin_value(space: IndexSpace, value: str, rank: int, reason: str) -> None:
    for axis in range(rank):
        if (place := AxisOf(value, axis)) in space.start:
            space.pin(space.of(place), reason)


def _pin_ends(space: IndexSpace, graph: Graph) -> None:
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            constant = graph.constants.get(value)
            for axis, extent in enumerate(constant.shape if constant else ()):
                space.add(AxisOf(value, axis), extent)
            axis = 0
            while (place := AxisOf(value, axis)) in space.start:
                space.pin(space.of(place), f"graph {kind} '{value}'")
                axis += 1


def _pin_dynamic(space: IndexSpace, symbolic: Facts) -> None:
    for place in list(space.start):
        if not isinstance(place, AxisOf):
            continue
        shape = symbolic.shape_of(place.value)
        known = shape is not None and place.axis < len(shape)
        if shape is None or not known or not isinstance(shape[place.axis], int):
            space.pin(space.of(place), f"value '{place.value}', whose size a run decides")


def _pin_computed_runs(
    space: IndexSpace, node: Node, bound: BoundSignature, symbolic: BoundSignature | None
) -> None:
    """Pin every axis that a run cuts into parts: where it is cut holds at these sizes alone.

    A Slice up to a computed end ties the part that it takes, and nothing ties what lies behind.
    symbolic: the signature as it is laid without numbers for named sizes.
    """
    fixed, sizes = (_cut_axes(symbolic), symbolic.sizes) if symbolic is not None else ({}, {})
    for at, axis in _cut_axes(bound).items():
        names = labels_of((axis,))
        if fixed.get(at) == axis and all(isinstance(sizes.get(name), int) for name in names):
            continue
        reason = f"{said(node)}, which cuts it where a run decides"
        for name in names:
            space.pin(space.of(LabelOf(node.name, name)), reason)


def _cut_axes(bound: BoundSignature) -> dict[tuple[str, int, int], Axis]:
    """Return the axes that are concatenations, by where they stand."""
    sides = (("in", bound.inputs), ("out", bound.outputs))
    return {
        (side, operand, number): axis
        for side, operands in sides
        for operand, axes in enumerate(operands)
        for number, axis in enumerate(axes or ())
        if len(axis) > 1
    }


def _pin_node(
    space: IndexSpace,
    graph: Graph,
    shared: frozenset[str],
    facts: Facts,
    node: Node,
    reason: str,
) -> None:
    for operand, value in enumerate(node.inputs):
        for axis, extent in enumerate(facts.shape(value) or () if value else ()):
            place = axis_of(graph, shared, node, operand, axis)
            space.add(place, extent)
            space.pin(space.of(place), reason)
    captured = [v for body in node.bodies for v in body.captured]
    for value in (*captured, *node.outputs):
        for axis, extent in enumerate(facts.shape(value) or () if value else ()):
            space.add(AxisOf(value, axis), extent)
            space.pin(space.of(AxisOf(value, axis)), reason)


def _numeric(bound: BoundSignature) -> bool:
    """Tell whether every label that stands on an axis has a number for its size.

    One below zero follows from default sizes for inputs that the model does not take.
    """
    sizes = (bound.sizes.get(name) for name in bound.labels())
    return all(isinstance(size, int) and size >= 0 for size in sizes)


def sizes_of(bound: BoundSignature) -> dict[str, int]:
    """Return the label sizes of a bound whose labels all have one."""
    return {k: v for k, v in bound.sizes.items() if isinstance(v, int)}


@dataclass(frozen=True)
class _Laying:
    """One node's signature, laid on the space."""

    space: IndexSpace
    graph: Graph
    shared: frozenset[str]
    facts: Facts
    node: Node
    bound: BoundSignature
    products: list[Product]

    @cached_property
    def labels(self) -> dict[str, Label]:
        return self.bound.labels()

    @cached_property
    def sizes(self) -> dict[str, int]:
        return sizes_of(self.bound)

    def lay(self, row: Op) -> None:
        for name, label in self.labels.items():
            self._add_label(label, self.bound.sizes[name])
        self._pin_unsaid()
        self._mark_lonely(row)
        for operand, axes in enumerate(self.bound.inputs):
            for axis, terms in enumerate(axes or ()):
                self._tie_axis(axis_of(self.graph, self.shared, self.node, operand, axis), terms)
        for value, axes in zip(self.node.outputs, self.bound.outputs, strict=True):
            for axis, terms in enumerate(axes or () if value else ()):
                self._tie_axis(AxisOf(value, axis), terms)

    def _add_label(self, label: Label, extent: object) -> None:
        place = LabelOf(self.node.name, label.name)
        self.space.add(place, int(str(extent)))
        if label.pinned:
            reason = f"{said(self.node)}, which needs every index of it"
            self.space.pin(self.space.of(place), reason)
        if label.soft:
            reason = f"{said(self.node)}, whose statistics run over it"
            self.space.soften(self.space.of(place), reason)

    def _pin_unsaid(self) -> None:
        """Pin operands and results of whose axes the signature says nothing."""
        reason = f"{said(self.node)}, which reads it as a whole"
        for operand, value in enumerate(self.node.inputs):
            if value and (operand >= len(self.bound.inputs) or self.bound.inputs[operand] is None):
                for axis, extent in enumerate(self.facts.shape(value) or ()):
                    place = axis_of(self.graph, self.shared, self.node, operand, axis)
                    self.space.add(place, extent)
                    self.space.pin(self.space.of(place), reason)
        for i, value in enumerate(self.node.outputs):
            if value and (i >= len(self.bound.outputs) or self.bound.outputs[i] is None):
                rank = len(self.facts.shape(value) or ())
                _pin_value(self.space, value, rank, f"{said(self.node)}, which makes it as a whole")

    def _mark_lonely(self, row: Op) -> None:
        """Mark labels that only operands have, and labels that only results have.

        The first are summed over, which only zeros leave unchanged: of integers with a zero point
        that is not known. The second can only shrink if a refit says how.
        """
        ins, outs = labels_of(*self.bound.inputs), labels_of(*self.bound.outputs)
        integers = not self.facts.is_float(self.node.inputs[0]) if self.node.inputs else False
        for name in ins:
            if name not in outs and row.macs and integers:
                reason = f"{said(self.node)}, which sums integers over it"
                self.space.soften(self.space.of(LabelOf(self.node.name, name)), reason)
        for name in outs:
            if name not in ins and row.refit is None:
                reason = f"{said(self.node)}, which decides its size"
                self.space.pin(self.space.of(LabelOf(self.node.name, name)), reason)

    def _tie_axis(self, place: AxisOf, axis: Axis) -> None:
        extents = [prod(self.sizes[label.name] for label in term) for term in axis]
        self.space.add(place, sum(extents))
        start = self.space.start[place]
        for term, extent in zip(axis, extents, strict=True):
            self._tie_term(start, term)
            start += extent

    def _tie_term(self, start: int, term: Term) -> None:
        extents = tuple(self.sizes[label.name] for label in term)
        free = tuple(
            i
            for i, label in enumerate(term)
            if len(term) == 1 or (extents[i] > 1 and not self.labels[label.name].pinned)
        )
        places = tuple(LabelOf(self.node.name, label.name) for label in term)
        product = Product(start, places, extents, free, said(self.node))
        if len(free) == 1:
            product.tie(self.space, free[0])
        elif not free:
            product.pin(self.space)
        else:
            self.products.append(product)
