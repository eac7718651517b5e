"""A graph under an Editor, seen with what the graphs around it know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, OpTable
from slimc.rewrite.match import Made


@dataclass(frozen=True)
class EditedScope:
    """The graph that `edit` changes; `outer`: the graph whose node has it as a body."""

    edit: Editor
    outer: EditedScope | None = None

    def producer(self, value: str) -> Node | None:
        """Return the node of this graph that makes `value`."""
        return self.edit.producer(value)

    def users(self, value: str) -> tuple[Node, ...]:
        """Return the nodes of this graph that read `value`."""
        return self.edit.users(value)

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


def result_type(made: Made, scope: EditedScope, ops: OpTable) -> ValueType | None:
    """Return the type of a new node's result as its row says, None where it does not follow."""
    row = ops.get(made.kind)
    if row is None:
        return None
    types = tuple(_operand_type(i, scope, ops) for i in made.inputs)
    values = tuple(i if isinstance(i, np.ndarray) else _elements(i, scope) for i in made.inputs)
    call = Call(made.op, made.attrs, types, values)
    (dtype,) = row.result_dtypes(call)
    try:
        (shape,) = row.bind(call).output_shapes()
    except Unmatched:
        shape = None
    return None if dtype is None else TensorType(dtype, shape)


def _operand_type(
    operand: str | np.ndarray | Made, scope: EditedScope, ops: OpTable
) -> ValueType | None:
    if isinstance(operand, Made):
        # an operand is present, whether its type is known or not
        return result_type(operand, scope, ops) or TensorType(DType.F32, None)
    if isinstance(operand, np.ndarray):
        return Constant(operand).type
    return (scope.type_of(operand) or TensorType(DType.F32, None)) if operand else None


def _elements(operand: str | Made, scope: EditedScope) -> np.ndarray | None:
    return scope.array(operand) if isinstance(operand, str) and operand else None


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
