"""Conversion of graphs from an older opset to that of the IR."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

from slimc.io.forms import CHANGES, Site
from slimc.io.schemas import schema_of
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, collect_names, map_bodies
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import ValueType


def upgrade(graph: Graph, opset: int) -> Graph:
    """Convert a graph from `opset` to the opset of the IR.

    Exact. Error: upgrade-impossible.
    """
    return _Upgrade(opset, collect_names(graph)).graph(graph, ChainMap(), ChainMap())


_STABLE_OPSET = 7  # opset; before it so many attributes were removed that every node is checked


class _Upgrade:
    def __init__(self, opset: int, reserved: set[str]) -> None:
        self._opset = opset
        self._reserved = reserved

    def graph(
        self, graph: Graph, types: ChainMap[str, ValueType], constants: ChainMap[str, Constant]
    ) -> Graph:
        types = types.new_child(dict(graph.types))
        constants = constants.new_child(dict(graph.constants))

        def inside(node: Node) -> Node:
            attrs = map_bodies(node, lambda body: self.graph(body, types, constants))
            return replace(node, attrs=attrs) if node.bodies else node

        graph = replace(graph, nodes=tuple(inside(node) for node in graph.nodes))
        old = [node.name for node in graph.nodes if self._is_old(node)]
        if not old:
            return graph
        editor = Editor(graph, self._reserved)
        for name in old:
            site = Site(editor, name, self._opset, True, types, constants)
            self._convert(site)
        return editor.finish(keep_dead=True)

    def _is_old(self, node: Node) -> bool:
        changes = () if node.domain else CHANGES.get(node.op, ())
        return self._opset < _STABLE_OPSET or any(change.since > self._opset for change in changes)

    def _convert(self, site: Site) -> None:
        reached = self._opset
        while changes := [c for c in CHANGES.get(site.node.op, ()) if c.since > reached]:
            reached = changes[0].since
            changes[0].up(site)
        schema = schema_of(site.node)
        unknown = [key for key in site.node.attrs if schema and key not in schema.attributes]
        if unknown:
            raise site.refusal(f"its attribute '{unknown[0]}' does not exist in opset {OPSET}")
