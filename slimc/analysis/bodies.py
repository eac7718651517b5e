"""A graph with the bodies of its nodes laid open: one list of nodes, and back.

The nodes of a body stand before the node that has it. That node then reads, after its own operands,
the inputs of its bodies and what they make:

    y = If(c) {else: ... b} {then: ... a}    ->  ... b ... a, y = If.results(c, b, a)
    y = Loop(n, c, x) {i, k, h -> ... m, g}  ->  ... y = Loop.results(n, c, x, i, k, h, m, g)

The inputs of a body have no node that makes them. The open form is for analysis and for edits that
keep what it says; it is no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slimc.analysis.shapes import Facts, call_of
from slimc.ir.constant import Constant
from slimc.ir.editor import map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import ValueType
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.control import ENDS, OPEN_OPS, RESULTS
from slimc.ops.op import OpTable


@dataclass(frozen=True, eq=False)
class Opened:
    """A graph, the same with its bodies laid open, and the nodes whose bodies were.

    A node with bodies of whose operator no results row is known stays closed.
    """

    whole: Graph
    graph: Graph
    borders: Mapping[str, Node]

    def closed(self, edited: Graph) -> Graph:
        """Return the graph with bodies that an edited open form stands for."""
        return edited if self.graph is self.whole else _Closing(self, edited).close()


def open_bodies(graph: Graph, ops: OpTable) -> Opened:
    """Lay open the bodies whose operators say how they flow; without any, the graph as it is."""
    opening = _Opening(ops, {}, {}, {}, [])
    opening.open(graph)
    if not opening.borders:
        return Opened(graph, graph, {})
    flat = replace(
        graph, nodes=tuple(opening.nodes), constants=opening.constants, types=opening.types
    )
    return Opened(graph, flat, opening.borders)


def open_facts(opened: Opened, facts: Facts) -> Facts:
    """Return facts of a graph with bodies that are facts of its open form too."""
    if opened.graph is opened.whole:
        return facts
    bounds: dict[str, BoundSignature] = {}
    opaque: dict[str, str] = {}
    _gather(facts, bounds, opaque)
    flat = Facts(facts.types, facts.values, bounds, opaque, facts.bodies)
    for node in opened.graph.nodes:
        if node.name not in opened.borders:
            continue
        opaque.pop(node.name, None)
        try:
            bounds[node.name] = OPEN_OPS[node.domain].bind(call_of(opened.graph, flat, node))
        except Unmatched as reason:
            opaque[node.name] = str(reason)
    return flat


def _gather(facts: Facts, bounds: dict[str, BoundSignature], opaque: dict[str, str]) -> None:
    bounds.update(facts.bounds)
    opaque.update(facts.opaque)
    for inner in facts.bodies.values():
        for one in inner:
            _gather(one, bounds, opaque)


@dataclass(frozen=True, eq=False)
class _Opening:
    ops: OpTable
    constants: dict[str, Constant]
    types: dict[str, ValueType]
    borders: dict[str, Node]
    nodes: list[Node]

    def open(self, graph: Graph) -> None:
        self.constants.update(graph.constants)
        self.types.update(graph.types)
        for node in graph.nodes:
            if node.bodies and node.kind in OPEN_OPS and self.ops.get(node.kind) is not None:
                for body in node.bodies:
                    self.open(body)
                self.nodes.append(_border(node))
                self.borders[node.name] = node
            else:
                self.nodes.append(node)


def _border(node: Node) -> Node:
    """Return the node that ties the operands and results of `node` to the ends of its bodies."""
    entering = [value for body in node.bodies for value in body.inputs]
    made = [value for body in node.bodies for value in body.outputs]
    return replace(
        node,
        op=RESULTS,
        domain=node.kind,
        inputs=(*_own(node), *entering, *made),
        attrs={
            **{k: v for k, v in node.attrs.items() if not _has_graph(v)},
            ENDS: (len(_own(node)), *(len(body.outputs) for body in node.bodies)),
        },
    )


def _own(node: Node) -> tuple[str, ...]:
    """Return the operands of a node, absent ones at the end included."""
    entering = sum(len(body.inputs) for body in node.bodies)
    return (*node.inputs, *("",) * (entering - len(node.inputs)))


def _has_graph(value: object) -> bool:
    return any(isinstance(v, Graph) for v in (value if isinstance(value, tuple) else (value,)))


class _Closing:
    """Nodes of an edited open form, put back where they belong."""

    def __init__(self, opened: Opened, edited: Graph) -> None:
        self.opened, self.edited = opened, edited
        self.level: dict[str, int] = {}  # node name -> id of the graph that it stands in
        self._enter(opened.whole)

    def close(self) -> Graph:
        self.nodes: dict[int, list[Node]] = {}
        for node in self.edited.nodes:
            self.nodes.setdefault(self._level_of(node), []).append(node)
        bodies = (body for node in self.opened.borders.values() for body in node.bodies)
        inner = {constant for body in bodies for constant in _all_constants(body)}
        graph = self._close(self.opened.whole, self.edited.outputs)
        bodies = (body for node in graph.walk() for body in node.bodies)
        inner |= {constant for body in bodies for constant in body.constants}
        rest = {v: c for v, c in self.edited.constants.items() if v not in inner}
        return replace(graph, constants=rest)

    def _enter(self, graph: Graph) -> None:
        for node in graph.nodes:
            self.level[node.name] = id(graph)
            if node.name in self.opened.borders:
                for body in node.bodies:
                    self._enter(body)

    def _level_of(self, node: Node) -> int:
        """Return where a node stands; a new one stands where the first that reads it does."""
        found = self.level.get(node.name)
        if found is None:
            (first, *_) = (u for o in node.outputs for u in self.edited.users.get(o, ()))
            found = self.level[node.name] = self._level_of(first)
        return found

    def _close(self, graph: Graph, outputs: tuple[str, ...]) -> Graph:
        nodes = tuple(self._closed(node) for node in self.nodes.get(id(graph), ()))
        own = {*graph.constants, *outputs}  # a body may not hand on what is outside of it
        made = (*graph.inputs, *(o for node in nodes for o in node.outputs if o))
        known = self.edited.types
        return replace(
            graph,
            nodes=nodes,
            outputs=outputs,
            constants={v: c for v, c in self.edited.constants.items() if v in own},
            types={v: known[v] for v in made if v in known},
        )

    def _closed(self, node: Node) -> Node:
        old = self.opened.borders.get(node.name)
        if old is None:
            return node
        own = node.inputs[: len(_own(old))]
        left = list(node.inputs[len(own) + sum(len(body.inputs) for body in old.bodies) :])
        ends = {}
        for body in old.bodies:
            ends[id(body)] = tuple(left[: len(body.outputs)])
            del left[: len(body.outputs)]
        attrs = map_bodies(old, lambda body: self._close(body, ends[id(body)]))
        return replace(old, inputs=own[: len(old.inputs)], attrs=attrs)


def _all_constants(graph: Graph) -> set[str]:
    found = set(graph.constants)
    for node in graph.nodes:
        for body in node.bodies:
            found |= _all_constants(body)
    return found
