"""A node that a runtime lacks, on its way to being expressed by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import Dim, DType, TypedValues, ValueType


@dataclass(frozen=True)
class OldNode(TypedValues):
    """A node in whose place others come: the last of them takes its name and first result.

    outer: types of values of the enclosing graphs, which a body may read. added: names of the
    nodes that come before it.
    """

    editor: Editor
    node: Node
    outer: Mapping[str, ValueType]
    added: list[str]

    @property
    def dtype(self) -> DType:
        return self.dtype_of(self.operand(0))

    def dtype_of(self, value: str) -> DType:
        """Return the element type of an operand, f32 where it is not known."""
        return super().dtype_of(value) or DType.F32

    def type_of(self, value: str) -> ValueType | None:
        return self.editor.type_of(value) or self.outer.get(value)

    @property
    def rank(self) -> int:
        """The rank of the first operand. Raises the refusal if it is not known."""
        return self.rank_of(self.operand(0))

    def rank_of(self, value: str) -> int:
        """Return the rank of an operand. Raises the refusal if it is not known."""
        rank = super().rank_of(value)
        if rank is None:
            raise self.refusal("the rank of its operand is not known")
        return rank

    def size(self, axis: int) -> Dim:
        """Return the size of the first operand along an axis, None where it is not known."""
        shape = self.shape_of(self.node.inputs[0])
        return None if shape is None else shape[axis]

    def number(self, name: str, default: int | float) -> float:
        value = self.node.attrs.get(name, default)
        return float(value) if isinstance(value, (int, float)) else float(default)

    def whole(self, name: str, default: int) -> int:
        return int(self.number(name, default))

    def operand(self, i: int) -> str:
        return self.node.inputs[i] if i < len(self.node.inputs) else ""

    def result(self, i: int) -> str:
        return self.node.outputs[i] if i < len(self.node.outputs) else ""

    def array(self, i: int) -> np.ndarray | None:
        """Return the elements of operand i where it is constant."""
        return self.editor.array(self.operand(i))

    def constant(self, value: object, dtype: DType | None = None) -> str:
        array = np.asarray(value, (dtype or self.dtype).numpy)
        return self.editor.add_constant(array, f"{self.node.name}.c")

    def add(self, op: str, *inputs: str, **attrs: Attr) -> str:
        """Add a node before this one and return its result."""
        return self._add(op, inputs, (), attrs)

    def give(self, result: int, op: str, *inputs: str) -> None:
        """Let another node make a further result, where that is read."""
        if self.result(result):
            self._add(op, inputs, (self.result(result),), {})

    def cast(self, value: str, dtype: DType) -> str:
        """Return an operand as another type."""
        return value if self.dtype_of(value) is dtype else self.add("Cast", value, to=dtype.code)

    def become(self, op: str, *inputs: str, **attrs: Attr) -> None:
        """Let the node be another operator, which makes its first result."""
        results = self.node.outputs[:1]
        self.editor.update(
            self.node.name, op=op, inputs=inputs, outputs=results, attrs=attrs, domain=""
        )

    def give_way(self, body: Graph) -> None:
        """Put a graph in place of the node, whose operands and results it reads and makes."""
        ends = {*body.inputs, *body.outputs}
        names = {value: value for value in ends}
        for value, constant in body.constants.items():
            names[value] = self.editor.add_constant(constant, f"{self.node.name}.{value}")
        for value in body.producers:
            if value not in ends:
                names[value] = self.editor.fresh_name(f"{self.node.name}.{value}")
                self.editor.set_type(names[value], body.type_of(value))
        for node in body.nodes:
            inputs = [names[i] if i else "" for i in node.inputs]
            self._add(node.op, inputs, [names[o] if o else "" for o in node.outputs], node.attrs)
        self.editor.remove(self.node.name)

    def refusal(self, why: str) -> SlimcError:
        return SlimcError(
            "target-refuses",
            f"the runtime has no {self.node.op}, and other operators cannot take its place: {why}",
            f"'{self.node.name}'",
            "put another operator in its place before export, or keep that part out",
        )

    def _add(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], attrs: Mapping[str, Attr]
    ) -> str:
        name = f"{self.node.name}.{op}"
        made = self.editor.add(
            op, inputs, outputs=outputs, attrs=attrs, name=name, near=self.node.name
        )
        maker = self.editor.producer(next(filter(None, made)))
        if maker is not None:
            self.added.append(maker.name)
        return made[0]


Way = Callable[[OldNode], None]
