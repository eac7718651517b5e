"""What a rule sees of a match, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from slimc.ir import dims
from slimc.ir.graph import Attr, Node
from slimc.ir.types import Shape, TensorType, ValueType, static_shape
from slimc.ops.axes import BoundSignature
from slimc.ops.op import Call
from slimc.rewrite.pattern import Found, Surroundings


class Scope(Surroundings, Protocol):
    """A graph being rewritten, as rules look at it: with the constants of outer graphs."""

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, or None where it is not known."""

    def call(self, node: Node) -> Call:
        """Return a node as the functions of the operator table see it."""

    def bound(self, node: Node) -> BoundSignature | None:
        """Lay the axis signature of a node's operator on it; None where it does not fit."""


@dataclass(frozen=True)
class Skip:
    """The rule leaves the match alone, and says why."""

    reason: str
    help: str = ""


@dataclass(frozen=True)
class Made:
    """A new node in place of the match; operands are values, arrays (new constants), new nodes.

    `node`: the name of the matched node that it continues (its place, name and origin); default
    the root. `says`: what the remark says, default from the rule.
    """

    op: str
    inputs: tuple[Operand, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    domain: str = ""
    node: str = ""
    says: str = ""
    hints: tuple[str, ...] = ()  # names for new constants, by operand

    def __post_init__(self) -> None:
        # arithmetic on arrays without axes gives numpy scalars, which are no arrays
        numbers = (np.number, np.bool_)
        inputs = tuple(np.asarray(i) if isinstance(i, numbers) else i for i in self.inputs)
        object.__setattr__(self, "inputs", inputs)

    @property
    def kind(self) -> str:
        """The key of the operator table."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


Operand = str | np.ndarray | Made


class NotConstantError(Exception):
    """A rule asked for the elements of a value that is computed."""


@dataclass(frozen=True)
class Match:
    """A place where a pattern matches.

    `root`: the last node. Names are those of the pattern; nodes are asked for by label or operator.
    """

    root: Node
    found: Found
    scope: Scope

    def value(self, name: str) -> str:
        """Return the value of a name; KeyError if its operand is absent."""
        return self.found.values[name]

    def has(self, name: str) -> bool:
        """Tell whether an optional operand is there."""
        return name in self.found.values

    @property
    def rest(self) -> tuple[str, ...]:
        """The further operands that `*xs` stands for."""
        return self.found.rest

    def node(self, label: str) -> Node:
        """Return a matched node by its label, or by its operator (the one nearest the root)."""
        for name, node in self.found.nodes:
            if label in (name, node.kind):
                return node
        raise KeyError(label)

    def has_node(self, label: str) -> bool:
        """Tell whether the alternative that matched has a node of this label or operator."""
        return any(label in (name, node.kind) for name, node in self.found.nodes)

    def attr(self, name: str, default: Any = None, of: str = "") -> Any:
        """Return an attribute of the root, or of the node `of`; bytes as text."""
        value = (self.node(of) if of else self.root).attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def array(self, name: str) -> np.ndarray:
        """Return the elements of a constant; where it is computed the match is skipped."""
        array = self.scope.array(self.value(name))
        if array is None:
            raise NotConstantError(f"'{self.value(name)}' is computed, not constant")
        return array

    def numbers(self, name: str) -> np.ndarray:
        """Return the elements of a constant as f64, for arithmetic that rounds once, at its end."""
        return self.array(name).astype(np.float64)

    def optional_numbers(self, name: str, default: float) -> np.ndarray:
        """Return the elements of a constant as f64, or `default` if the operand is absent."""
        return self.numbers(name) if self.has(name) else np.asarray(default, np.float64)

    def type(self, name: str = "") -> TensorType | None:
        """Return the tensor type of a name's value, or of the root's result."""
        kind = self.scope.type_of(self.value(name) if name else self.root.outputs[0])
        return kind if isinstance(kind, TensorType) else None

    def rank(self, name: str = "") -> int | None:
        """Return the number of axes, or None where it is not known."""
        kind = self.type(name)
        return None if kind is None or kind.shape is None else len(kind.shape)

    def shape(self, name: str = "") -> tuple[int, ...] | None:
        """Return the shape if every size is a number."""
        return static_shape(self.type(name))

    def sizes(self, name: str = "") -> Shape | None:
        """Return the shape of a name's value, or of the root's result, as far as it is known."""
        kind = self.type(name)
        return None if kind is None else kind.shape

    def sizes_of(self, label: str) -> Shape | None:
        """Return the shape of what a matched node makes, as far as it is known."""
        kind = self.scope.type_of(self.node(label).outputs[0])
        return kind.shape if isinstance(kind, TensorType) else None

    def same_type(self, name: str) -> bool:
        """Tell whether a name's value has the element type and every size of the root's result."""
        a, b = self.type(name), self.type()
        if a is None or b is None or a.dtype is not b.dtype or a.shape is None or b.shape is None:
            return False
        return len(a.shape) == len(b.shape) and all(map(dims.are_equal, a.shape, b.shape))

    def is_float(self, name: str = "") -> bool:
        """Tell whether the elements are known to be floating point."""
        kind = self.type(name)
        return kind is not None and kind.dtype.is_float

    def rebuilt(self, label: str, *, says: str = "", **operands: np.ndarray | None) -> Made:
        """Return a matched node with other constants for operands, in place of the whole match.

        Operands are named as in the pattern; one that was absent takes the first free place. Arrays
        take the element type of the root's result if they are floating point.
        """
        node = self.node(label)
        inputs: list[Operand] = list(node.inputs)
        hints = [""] * len(inputs)
        for name, array in operands.items():
            if array is None:
                continue
            place = self._place(node, name, len(inputs))
            inputs[place:] = [self._as_root(array), *inputs[place + 1 :]]
            hints[place:] = [name, *hints[place + 1 :]]
        says = says or f"folded into @{node.name}"
        return Made(
            node.op, tuple(inputs), node.attrs, node.domain, node.name, says, tuple(hints)
        )  # fmt: skip

    def _place(self, node: Node, name: str, count: int) -> int:
        value = self.found.values.get(name)
        if value is not None and value in node.inputs:
            return node.inputs.index(value)
        return next((i for i, v in enumerate(node.inputs) if not v), count)

    def _as_root(self, array: np.ndarray) -> np.ndarray:
        kind = self.type()
        if kind is None or array.dtype.kind not in "fV":
            return array
        return array.astype(kind.dtype.numpy)
