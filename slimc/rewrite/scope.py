"""A graph under an Editor, seen with what the graphs around it know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, collect_names, map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, TypedValues, ValueType
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, OpTable, UnknownType
from slimc.rewrite.match import Made, Operand


@dataclass(frozen=True)
class EditedScope(TypedValues):
    """The graph that `edit` changes; `outer`: the graph whose node has it as a body."""

    edit: Editor
    ops: OpTable
    outer: EditedScope | None = None

    def producer(self, value: str) -> Node | None:
        """Return the node of this graph that makes `value`."""
        return self.edit.producer(value)

    def users(self, value: str) -> tuple[Node, ...]:
        """Return the nodes of this graph that read `value`."""
        return self.edit.users(value)

    def count_users(self, value: str) -> int:
        """Count the nodes of this graph that read `value`."""
        return self.edit.count_users(value)

    def is_output(self, value: str) -> bool:
        """Tell whether `value` is an output of this graph."""
        return self.edit.is_output(value)

    def array(self, value: str) -> np.ndarray | None:
        """Return the elements of a constant, also of an outer graph."""
        found = self.edit.array(value)
        return self.outer.array(value) if found is None and self.outer is not None else found

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, also of an outer graph."""
        found = self.edit.type_of(value)
        return self.outer.type_of(value) if found is None and self.outer is not None else found

    def call(self, node: Node | Made) -> Call:
        """Return a node, or one to be made, as the functions of the operator table see it."""
        types = tuple(self._operand_type(i) for i in node.inputs)
        values = tuple(self._elements(i) for i in node.inputs)
        results = len(node.outputs) if isinstance(node, Node) else 1
        return Call(node.op, node.attrs, types, values, results)

    def bound(self, node: Node) -> BoundSignature | None:
        """Lay the axis signature of a node's operator on it; None where it does not fit."""
        row = self.ops.get(node.kind)
        try:
            return None if row is None else row.bind(self.call(node))
        except Unmatched:
            return None

    def result_type(self, made: Made) -> ValueType | None:
        """Return the type of a new node's result as its row says, None where it does not follow."""
        row = self.ops.get(made.kind)
        if row is None:
            return None
        call = self.call(made)
        (dtype,) = row.result_dtypes(call)
        try:
            (shape,) = row.bind(call).output_shapes()
        except Unmatched:
            shape = None
        return None if dtype is None else TensorType(dtype, shape)

    def _operand_type(self, operand: Operand) -> ValueType | UnknownType | None:
        """Return the type of an operand; one of unknown type is present all the same."""
        if isinstance(operand, np.ndarray):
            return Constant(operand).type
        if isinstance(operand, Made):
            return self.result_type(operand) or UnknownType()
        return (self.type_of(operand) or UnknownType()) if operand else None

    def _elements(self, operand: Operand) -> np.ndarray | None:
        if isinstance(operand, str):
            return self.array(operand) if operand else None
        return operand if isinstance(operand, np.ndarray) else None


def rewrite_bodies(scope: EditedScope, change: Callable[[Graph], Graph]) -> bool:
    """Replace the bodies of the nodes that were there and are left; tell whether one differs."""
    differs = False
    for name in [node.name for node in scope.edit.graph.nodes if node.name in scope.edit]:
        node = scope.edit.node(name)
        if not node.bodies:
            continue
        attrs = map_bodies(node, change)
        bodies = replace(node, attrs=attrs).bodies
        if any(a is not b for a, b in zip(bodies, node.bodies, strict=True)):
            scope.edit.update(name, attrs=attrs)
            differs = True
    return differs


def edit_nested(
    graph: Graph, change: Callable[[EditedScope], None], ops: OpTable, made_by: str
) -> Graph:
    """Let `change` edit a graph, then the bodies in it, outer before inner."""
    taken = collect_names(graph)

    def changed(graph: Graph, outer: EditedScope | None) -> Graph:
        scope = EditedScope(Editor(graph, taken, made_by), ops, outer)
        change(scope)
        rewrite_bodies(scope, lambda body: changed(body, scope))
        if not scope.edit.changed:
            return graph
        after = scope.edit.finish()
        taken.update(collect_names(after))
        return after

    return changed(graph, None)


def agree(old: ValueType | None, new: ValueType | None) -> bool:
    """Tell whether a value of type `new` may stand where one of type `old` stood."""
    if old is None or new is None:
        return True
    if not isinstance(old, TensorType) or not isinstance(new, TensorType):
        return old == new
    if old.dtype is not new.dtype:
        return False
    if old.shape is None or new.shape is None:
        return True
    return len(old.shape) == len(new.shape) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(old.shape, new.shape, strict=True)
    )
