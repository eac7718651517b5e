"""Conversion of graphs from the IR's opset to the opset of a file."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

from slimc.errors import SlimcError
from slimc.io.expand import expand_function
from slimc.io.forms import CHANGES, Change, Site
from slimc.io.schemas import default_of, misfit, schema_of
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, collect_names, map_bodies
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import ValueType

OLDEST = 13  # opset that can be written
_REFUSED = "opset-cannot-express"


def lowest_opset(graph: Graph, floor: int) -> int:
    """Return the lowest opset from `floor` on that supports every node as it is used."""
    for node in graph.walk():
        while floor < OPSET and schema_of(node) and not schema_of(node, floor):
            floor += 1
    for opset in range(floor, OPSET):
        try:
            downgrade(graph, opset, functions=False)
        except SlimcError as error:
            if error.name != _REFUSED:
                raise
        else:
            return opset
    return OPSET


def downgrade(graph: Graph, opset: int, functions: bool = True) -> Graph:
    """Convert a graph to an older opset; exact (up to rounding in what is decomposed).

    functions: replace a node that the opset lacks by the body of its ONNX function, if it has one.
    Errors: opset-out-of-range, opset-cannot-express (it names the node).
    """
    if not OLDEST <= opset <= OPSET:
        message = f"opset {opset} cannot be written; {OLDEST} to {OPSET} can"
        raise SlimcError("opset-out-of-range", message)
    if opset == OPSET:
        return graph
    return _Downgrade(opset, collect_names(graph), functions).graph(graph, ChainMap(), ChainMap())


class _Downgrade:
    def __init__(self, opset: int, reserved: set[str], functions: bool) -> None:
        self._opset = opset
        self._reserved = reserved
        self._functions = functions

    def graph(
        self, graph: Graph, types: ChainMap[str, ValueType], constants: ChainMap[str, Constant]
    ) -> Graph:
        types = types.new_child(dict(graph.types) | {k: c.type for k, c in graph.constants.items()})
        constants = constants.new_child(dict(graph.constants))

        def inside(node: Node) -> Node:
            attrs = map_bodies(node, lambda body: self.graph(body, types, constants))
            return replace(node, attrs=attrs) if node.bodies else node

        graph = replace(graph, nodes=tuple(inside(node) for node in graph.nodes))
        todo = [node.name for node in graph.nodes if not self._fits(node, types)]
        if not todo:
            return graph
        editor = Editor(graph, self._reserved)
        while todo:
            site = Site(editor, todo.pop(), self._opset, False, types, constants)
            todo += self._convert(site)
        done = editor.finish(keep_dead=True)
        return _without_idle_constants(done, graph)

    def _fits(self, node: Node, types: ChainMap[str, ValueType]) -> bool:
        return not self._changes(node) and not misfit(node, self._opset, types)

    def _changes(self, node: Node) -> list[Change]:
        changes = () if node.domain else CHANGES.get(node.op, ())
        return [change for change in reversed(changes) if change.since > self._opset]

    def _convert(self, site: Site) -> list[str]:
        """Convert a node; return the names of the nodes that were added."""
        before = site.node
        try:
            for change in self._changes(before):
                if change.down is None:
                    raise site.refusal(f"it has another meaning before opset {change.since}")
                change.down(site)
            if site.name in site.editor:
                self._check(site)
        except SlimcError as refusal:
            body = expand_function(before, site.known_types(before)) if self._functions else None
            if body is None or refusal.name != _REFUSED:
                raise
            while site.added:
                site.editor.remove(site.added.pop())
            _splice(site, body)
        return site.added

    def _check(self, site: Site) -> None:
        """Drop attributes that equal their default, then raise if the node does not fit."""
        schema = schema_of(site.node, self._opset)
        for key, value in site.node.attrs.items():
            if schema and key not in schema.attributes and value == default_of(site.node.op, key):
                site.set_attrs(**{key: None})
        reason = misfit(site.node, self._opset, site.known_types(site.node))
        if reason:
            raise site.refusal(reason)


def _without_idle_constants(graph: Graph, before: Graph) -> Graph:
    """Remove constants that became unused since `before`, such as axes that are attributes now."""
    read = {*graph.users, *graph.outputs}
    idle = {
        v
        for v in graph.constants
        if v not in read and (v in before.users or v not in before.constants)
    }
    return replace(graph, constants={k: c for k, c in graph.constants.items() if k not in idle})


def _splice(site: Site, body: Graph) -> None:
    """Replace a node by a graph with the same inputs and outputs."""
    editor, name = site.editor, site.name
    ends = {*body.inputs, *body.outputs}
    names = {v: v for v in ends}
    for value, constant in body.constants.items():
        names[value] = editor.add_constant(constant, f"{name}.{value}")
    for value in body.producers:
        if value not in ends:
            names[value] = editor.fresh_name(f"{name}.{value}")
            editor.set_type(names[value], body.type_of(value))
    for node in body.nodes:
        site.add(
            node.op,
            [names[i] if i else "" for i in node.inputs],
            node.attrs,
            [names[o] if o else "" for o in node.outputs],
        )
    editor.remove(name)
