"""Express operators that a runtime lacks by older ones."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from slimc.analysis.shapes import retype
from slimc.io.expand import expand_function
from slimc.io.schemas import schema_of
from slimc.ir.editor import Editor, collect_names, map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import ValueType
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied
from slimc.rewrite.result import PassResult
from slimc.targets.express.fused import FUSED
from slimc.targets.express.indices import INDICES
from slimc.targets.express.norms import NORMS
from slimc.targets.express.old_node import OldNode, Way
from slimc.targets.express.pointwise import POINTWISE
from slimc.targets.target import Target

MADE_BY = "legalize"
WAYS: Mapping[str, Way] = {**INDICES, **NORMS, **POINTWISE}

Types = ChainMap[str, ValueType]


def decompose(graph: Graph, target: Target, ops: OpTable) -> PassResult:
    """Express what the target lacks, and we know how to, by operators it has; in bodies too.

    It lacks what `target.decompose` names, and what is newer than its last opset. Where we have no
    way of our own, the ONNX function of the operator is one. Raises SlimcError "target-refuses".
    """
    work = _Decomposition(target, collect_names(graph))
    made = work.graph(graph, ChainMap())
    return PassResult(graph if made is graph else retype(made, ops), tuple(work.remarks))


class _Decomposition:
    def __init__(self, target: Target, taken: set[str]) -> None:
        self.target = target
        self.remarks: list[Remark] = []
        self._reserved = taken

    def graph(self, graph: Graph, outer: Types) -> Graph:
        """Return a graph, or a body, without what the target lacks."""
        types = outer.new_child({**graph.types, **{k: c.type for k, c in graph.constants.items()}})
        editor = Editor(graph, self._reserved, MADE_BY)
        for node in graph.nodes:
            attrs = map_bodies(node, lambda body: self.graph(body, types))
            if any(attrs[key] is not node.attrs[key] for key in attrs):
                editor.update(node.name, attrs=attrs)
            if self._lacks(node) and self._express(editor, node, types):
                others = "operators of ONNX" if node.domain else "older operators"
                self.remarks.append(applied(node.name, f"{node.kind} expressed by {others}"))
        return editor.finish() if editor.changed else graph

    def _lacks(self, node: Node) -> bool:
        if node.domain:
            target = self.target
            known = node.domain in target.domains or node.op in target.plugins
            return node.kind in FUSED and (not known or node.kind in target.forbids)
        return node.op in self.target.decompose or schema_of(node, self.target.opset_max) is None

    def _express(self, editor: Editor, node: Node, types: Types) -> bool:
        """Put older operators in the place of a node, and of those in turn; tell if it went."""
        old = OldNode(editor, node, types, [])
        way = FUSED.get(node.kind) if node.domain else WAYS.get(node.op)
        if way is not None:
            way(old)
        else:
            known = {v: kind for v in (*node.inputs, *node.outputs) if (kind := old.type_of(v))}
            body = expand_function(node, known)
            if body is None:
                return False
            old.give_way(body)
        for name in (*old.added, node.name):
            if name in editor and self._lacks(inner := editor.node(name)):
                self._express(editor, inner, types)
        return True
