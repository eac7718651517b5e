"""A change of an operator in an opset, with adapters in both directions."""

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
    """A node that an adapter converts.

    An adapter edits the node; the nodes it adds are in the IR's opset, in both directions.
    """

    editor: Editor
    """Editor of the graph."""
    name: str
    """Name of the node."""
    opset: int
    """Opset of the file."""
    upward: bool
    """Whether the node is converted from the file's opset to the IR's, or back."""
    types: Mapping[str, ValueType]
    """Types of values of enclosing graphs, for captured values."""
    constants: Mapping[str, Constant]
    """Constants of enclosing graphs, for captured values."""
    added: list[str] = field(default_factory=list)
    """Names of the nodes that were added."""

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
        """Return the known types of operands and results of a node."""
        types = {}
        for value in (*node.inputs, *node.outputs):
            kind = self.editor.type_of(value) or self.types.get(value)
            if kind is None and value in self.constants:
                kind = self.constants[value].type
            if kind is not None:
                types[value] = kind
        return types

    def shape(self, i: int) -> Shape | None:
        """Return the shape of operand i as far as it is known."""
        kind = self.type_of(i)
        return kind.shape if isinstance(kind, TensorType) else None

    def rank(self, i: int) -> int | None:
        """Return the rank of operand i if it is known."""
        shape = self.shape(i)
        return None if shape is None else len(shape)

    def dtype(self, i: int) -> DType:
        """Return the element type of operand i. Raises `refusal` if it is not known."""
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
        """Add a node next to this one and return its first result."""
        name = f"{self.name}.{op.lower()}"
        results = self.editor.add(
            op, inputs, outputs=outputs, attrs=attrs, name=name, near=self.name
        )
        producer = self.editor.producer(next(filter(None, results)))
        self.added.append(producer.name if producer else "")
        return results[0]

    def set_attrs(self, **attrs: Attr) -> None:
        """Set attributes; None removes one."""
        merged = {k: v for k, v in {**self.node.attrs, **attrs}.items() if v is not None}
        self.editor.update(self.name, attrs=merged)

    def pop_attr(self, key: str, default: Attr = None) -> Attr:
        """Remove an attribute and return its value."""
        value = self.node.attrs.get(key, default)
        if key in self.node.attrs:
            self.set_attrs(**{key: None})
        return value

    def pop_required_attr(self, key: str) -> Attr:
        """Remove a required attribute and return its value. Raises `refusal` if it is missing."""
        value = self.pop_attr(key)
        if value is None:
            raise self.refusal(f"it lacks the attribute '{key}'")
        return value

    def axis(self, value: Attr, rank: int) -> int:
        """Return an axis counted from the front. Raises `refusal` if it is out of range."""
        if not isinstance(value, int) or not -rank <= value < rank:
            raise self.refusal(f"axis {value} is out of range for rank {rank}")
        return value % rank

    def set_operand(self, i: int, value: str) -> None:
        """Set operand i; trailing absent operands are removed."""
        inputs = [*self.node.inputs, *([""] * (i + 1 - len(self.node.inputs)))]
        inputs[i] = value
        while inputs and not inputs[-1]:
            inputs.pop()
        self.editor.update(self.name, inputs=tuple(inputs))

    def detach(self, output: int, hint: str) -> tuple[str, str]:
        """Rename result `output` of the node to a fresh value; return (old name, fresh name)."""
        old = self.node.outputs[output]
        fresh = self.editor.fresh_name(f"{old}.{hint}")
        outputs = tuple(fresh if i == output else o for i, o in enumerate(self.node.outputs))
        self.editor.update(self.name, outputs=outputs)
        return old, fresh

    def refusal(self, message: str, help: str = "") -> SlimcError:
        """Make the error "upgrade-impossible" or, downward, "opset-cannot-express"."""
        where = f"node '{self.name}' ({self.node.op}), opset {self.opset}"
        if self.upward:
            return SlimcError("upgrade-impossible", message, where, help)
        return SlimcError("opset-cannot-express", message, where, help)


Adapter = Callable[[Site], None]


@dataclass(frozen=True)
class Change:
    """A change of an operator in opset `since`."""

    op: str
    """Operator type."""
    since: int
    """Opset of the change."""
    up: Adapter
    """Adapter from the older form to the newer one."""
    down: Adapter | None = None
    """Adapter back; None: there is none in general.

    The operator then has no older form, except the body of its ONNX function.
    """


def keep_node(_: Site) -> None:
    """Keep the node: both forms mean the same."""
