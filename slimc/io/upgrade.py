"""Older forms of operators -> those of the IR's opset."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import replace

from slimc.io.forms import CHANGES, Site
from slimc.io.schemas import schema_of
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, all_names, with_bodies
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import ValueType


def upgrade(graph: Graph, opset: int) -> Graph:
    """Bring a graph whose nodes are in the forms of `opset` to those of the IR.

    Exact. Error: upgrade-impossible.
    """
    return _Upgrade(opset, all_names(graph)).graph(graph, ChainMap(), ChainMap())


_SETTLED = 7  # opset; before it every node is looked at, as attributes were given up by the dozen


class _Upgrade:
    def __init__(self, opset: int, taken: set[str]) -> None:
        self._opset = opset
        self._taken = taken

    def graph(
        self, graph: Graph, types: ChainMap[str, ValueType], constants: ChainMap[str, Constant]
    ) -> Graph:
        types = types.new_child(dict(graph.types))
        constants = constants.new_child(dict(graph.constants))

        def inside(node: Node) -> Node:
            attrs = with_bodies(node, lambda body: self.graph(body, types, constants))
            return replace(node, attrs=attrs) if node.bodies else node

        graph = replace(graph, nodes=tuple(inside(node) for node in graph.nodes))
        old = [node.name for node in graph.nodes if self._is_old(node)]
        if not old:
            return graph
        editor = Editor(graph, self._taken)
        for name in old:
            site = Site(editor, name, self._opset, True, types, constants)
            self._bring_up(site)
        return editor.done(keep_dead=True)

    def _is_old(self, node: Node) -> bool:
        changes = () if node.domain else CHANGES.get(node.op, ())
        return self._opset < _SETTLED or any(change.since > self._opset for change in changes)

    def _bring_up(self, site: Site) -> None:
        reached = self._opset
        while changes := [c for c in CHANGES.get(site.node.op, ()) if c.since > reached]:
            reached = changes[0].since
            changes[0].up(site)
        schema = schema_of(site.node)
        unknown = [key for key in site.node.attrs if schema and key not in schema.attributes]
        if unknown:
            raise site.refusal(f"its attribute '{unknown[0]}' has no place in opset {OPSET}")
