"""The form of a change: what a newer opset made of an operator, and both ways over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Node
from slimc.ir.types import DType, Shape, TensorType, ValueType


@dataclass(frozen=True)
class Site:
    """A node on its way over a change.

    A change edits the node; the nodes it adds are in the form of the IR's opset, both ways.
    `upward`: which way it goes; `opset`: that of the file. `types`, `constants`: those of
    enclosing graphs, for what a body captures. `added`: names of the nodes added.
    """

    editor: Editor
    name: str
    opset: int
    upward: bool
    types: Mapping[str, ValueType]
    constants: Mapping[str, Constant]
    added: list[str] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return self.editor.node(self.name)

    def operand(self, i: int) -> str:
        """Return the name of operand i, empty if it is absent."""
        return self.node.inputs[i] if i < len(self.node.inputs) else ""

    def elements(self, i: int) -> np.ndarray | None:
        """Return the elements of operand i if it is constant."""
        value = self.operand(i)
        array = self.editor.array(value)
        outer = self.constants.get(value)
        return outer.array if array is None and outer is not None else array

    def type_of(self, i: int) -> ValueType | None:
        """Return the type of operand i, None if it is absent or not known."""
        value = self.operand(i)
        return self.known_types(self.node).get(value) if value else None

    def known_types(self, node: Node) -> dict[str, ValueType]:
        """Return the types of operands and results of a node, as far as they are known."""
        found = {}
        for value in (*node.inputs, *node.outputs):
            kind = self.editor.type_of(value) or self.types.get(value)
            if kind is None and value in self.constants:
                kind = self.constants[value].type
            if kind is not None:
                found[value] = kind
        return found

    def shape(self, i: int) -> Shape | None:
        """Return the shape of operand i as far as it is known."""
        kind = self.type_of(i)
        return kind.shape if isinstance(kind, TensorType) else None

    def rank(self, i: int) -> int | None:
        """Return the rank of operand i if it is known."""
        shape = self.shape(i)
        return None if shape is None else len(shape)

    def dtype(self, i: int) -> DType:
        """Return the element type of operand i. Raises the error of the way if not known."""
        kind = self.type_of(i)
        if isinstance(kind, TensorType):
            return kind.dtype
        raise self.refusal(
            f"the element type of its operand '{self.operand(i)}' is not known",
            "state the types of all values: run onnx.shape_inference and save the model",
        )

    def constant(self, values: object, dtype: DType, hint: str) -> str:
        """Add a constant and return its name."""
        return self.editor.add_constant(np.array(values, dtype.numpy), f"{self.name}.{hint}")

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Attr] | None = None,
        outputs: Sequence[str] = (),
    ) -> str:
        """Add a node beside this one and return its first result."""
        name = f"{self.name}.{op.lower()}"
        made = self.editor.add(op, inputs, outputs=outputs, attrs=attrs, name=name, near=self.name)
        maker = self.editor.producer(next(filter(None, made)))
        self.added.append(maker.name if maker else "")
        return made[0]

    def set_attrs(self, **attrs: Attr) -> None:
        """Set attributes; None takes one away."""
        merged = {k: v for k, v in {**self.node.attrs, **attrs}.items() if v is not None}
        self.editor.update(self.name, attrs=merged)

    def take(self, key: str, default: Attr = None) -> Attr:
        """Take an attribute away and return its value."""
        value = self.node.attrs.get(key, default)
        if key in self.node.attrs:
            self.set_attrs(**{key: None})
        return value

    def need(self, key: str) -> Attr:
        """Take an attribute away that the operator cannot do without, and return its value."""
        value = self.take(key)
        if value is None:
            raise self.refusal(f"it lacks the attribute '{key}'")
        return value

    def axis(self, value: Attr, rank: int) -> int:
        """Return an axis counted from the front. Raises the error of the way if there is none."""
        if not isinstance(value, int) or not -rank <= value < rank:
            raise self.refusal(f"axis {value} is none of {rank} axes")
        return value % rank

    def set_operand(self, i: int, value: str) -> None:
        """Let operand i be another value; trailing absent operands go."""
        inputs = [*self.node.inputs, *([""] * (i + 1 - len(self.node.inputs)))]
        inputs[i] = value
        while inputs and not inputs[-1]:
            inputs.pop()
        self.editor.update(self.name, inputs=tuple(inputs))

    def detach(self, output: int, hint: str) -> tuple[str, str]:
        """Let the node make a fresh value instead of result `output`; return (old name, fresh)."""
        old = self.node.outputs[output]
        fresh = self.editor.fresh(f"{old}.{hint}")
        outputs = tuple(fresh if i == output else o for i, o in enumerate(self.node.outputs))
        self.editor.update(self.name, outputs=outputs)
        return old, fresh

    def refusal(self, message: str, help: str = "") -> SlimcError:
        """Make the error of the way: "upgrade-impossible" or "opset-cannot-express"."""
        where = f"node '{self.name}' ({self.node.op}), opset {self.opset}"
        if self.upward:
            return SlimcError("upgrade-impossible", message, where, help)
        return SlimcError("opset-cannot-express", message, where, help)


Way = Callable[[Site], None]


@dataclass(frozen=True)
class Change:
    """What became of an operator in opset `since`.

    up: from the form before to this one. down: back; None: there is no way back in general, so the
    operator is not expressible below `since` (unless by the body of its ONNX function).
    """

    op: str
    since: int
    up: Way
    down: Way | None = None


def keep(_: Site) -> None:
    """Change nothing: the older form means the same."""
