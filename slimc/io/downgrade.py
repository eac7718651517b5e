"""Forms of operators in the IR's opset -> those of the opset that a file is written in."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from slimc.errors import SlimcError
from slimc.io.forms import CHANGES, Site
from slimc.io.schemas import default_of, schema_of, type_text
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, all_names, with_bodies
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import ValueType

OLDEST = 13  # opset that can be written
ERROR = "opset-cannot-express"


def lowest_opset(graph: Graph, floor: int) -> int:
    """Return the lowest opset from `floor` on that expresses every node by itself."""
    for opset in range(_by_operators(graph, floor), OPSET):
        try:
            downgrade(graph, opset, expand=False)
        except SlimcError as error:
            if error.name != ERROR:
                raise
        else:
            return opset
    return OPSET


def _by_operators(graph: Graph, floor: int) -> int:
    for node in graph.walk():
        while floor < OPSET and schema_of(node, OPSET) and not schema_of(node, floor):
            floor += 1
    return floor


def downgrade(graph: Graph, opset: int, expand: bool = True) -> Graph:
    """Bring a graph to the forms of an older opset; exact.

    expand: express a node that the opset lacks by the body of its ONNX function, if it is one.
    Errors: opset-out-of-range, opset-cannot-express (it names the node).
    """
    if not OLDEST <= opset <= OPSET:
        message = f"opset {opset} cannot be written, {OLDEST} to {OPSET} can"
        raise SlimcError("opset-out-of-range", message)
    if opset == OPSET:
        return graph
    return _Downgrade(opset, all_names(graph), expand).graph(graph, ChainMap(), ChainMap())


class _Downgrade:
    def __init__(self, opset: int, taken: set[str], expand: bool) -> None:
        self._opset = opset
        self._taken = taken
        self._expand = expand

    def graph(
        self, graph: Graph, types: ChainMap[str, ValueType], constants: ChainMap[str, Constant]
    ) -> Graph:
        types = types.new_child(dict(graph.types))
        constants = constants.new_child(dict(graph.constants))

        def inside(node: Node) -> Node:
            attrs = with_bodies(node, lambda body: self.graph(body, types, constants))
            return replace(node, attrs=attrs) if node.bodies else node

        graph = replace(graph, nodes=tuple(inside(node) for node in graph.nodes))
        editor: Editor | None = None
        todo = [node for node in reversed(graph.nodes) if self._is_newer(node)]
        todo = [node for node in reversed(graph.nodes) if self._is_newer(node) and self._changes(node)]
        editor = Editor(graph, self._taken)
        known = set(editor._nodes)
        for node in reversed(todo):
            site = Site(editor, node.name, self._opset, ERROR, types, constants)
            for change in self._changes(node):
                if change.down is None:
                    raise site.refusal(f"it is of opset {change.since}")
                change.down(site)
        done = editor.done(keep_dead=True)
        for node in done.nodes:
            reason = self.misfit(node, types)
            if reason:
                raise SlimcError(ERROR, reason, f"node '{node.name}' ({node.op}), opset {self._opset}")
        return done

    def _is_newer(self, node):
        return True

    def misfit(self, node, types):
        return ""

    def _changes(self, node: Node):
        changes = () if node.domain else CHANGES.get(node.op, ())
        return [change for change in reversed(changes) if change.since > self._opset]
