"""Graphs: frozen, edges by value name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from types import MappingProxyType

import numpy as np

from slimc.ir.arrays import Singles
from slimc.ir.constant import Constant
from slimc.ir.pairs import limit_pairs
from slimc.ir.types import DType, TypedValues, ValueType

OPSET = 28  # the single opset of the default domain that the IR uses


class Form(Enum):
    """Stage of a graph in the pipeline; `ir/verify.py` checks the invariants of each."""

    IMPORTED = "imported"
    CANONICAL = "canonical"
    QUANTIZED = "quantized"
    LEGAL = "legal"


@dataclass(frozen=True)
class Origin:
    """Where a node comes from."""

    made_by: str
    """Name of the pass that made the node."""
    nodes: tuple[str, ...]
    """Names of the user's nodes that the node replaces."""


Attr = object  # int | float | bytes | Constant | Graph | ValueType | tuple of those


@dataclass(frozen=True, eq=False)
class Node:
    """An operator applied to values."""

    op: str
    """Operator type, without its domain."""
    inputs: tuple[str, ...]
    """Operands by value name; an absent optional operand is the empty name.

    Values that a body captures (If, Loop, Scan) are not listed, but `reads` has them.
    """
    outputs: tuple[str, ...]
    """Results by value name; an absent result is the empty name."""
    name: str
    """Name of the node, unique over a graph and its bodies."""
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    """Attributes, bodies included."""
    domain: str = ""
    """Operator domain; empty for the default one."""
    origin: Origin | None = None
    """Where the node comes from; None for a node of the user's model."""
    integer: bool = False
    """Whether to compute in integers: the target's emitter puts Q/DQ around the node."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the node in the file (key "": its doc string), carried but not interpreted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    @property
    def kind(self) -> str:
        """The key of the operator table: `Conv`; `com.microsoft.Gelu` in another domain."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    @property
    def origins(self) -> tuple[str, ...]:
        """Names of the user's nodes that this node replaces."""
        return self.origin.nodes if self.origin else (self.name,)

    @cached_property
    def bodies(self) -> tuple[Graph, ...]:
        """Graphs among the attributes, in order of attribute names."""
        graphs: list[Graph] = []
        for key in sorted(self.attrs):
            value = self.attrs[key]
            graphs += [
                v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Graph)
            ]
        return tuple(graphs)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Values that the node reads, each once: present inputs, then what its bodies capture."""
        names = [i for i in self.inputs if i]
        for body in self.bodies:
            names += body.captured
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, eq=False)
class Quantization:
    """How a value is quantized: q = clip(round(x / scale) + zero_point, low, high).

    Independent of the target's file format: the emitter decides where Q and DQ nodes are placed and
    how the integers are stored.
    """

    dtype: DType
    """Integer type; or an 8-bit float type, where q is the nearest representable value."""
    scale: np.ndarray
    """f32[] per tensor, f32[C] per index of `axis`, or one per block along `axis`.

    Per block, it has the rank of the value, and along `axis` one index per `block` elements.
    """
    zero_point: np.ndarray
    """Zero point of type `dtype`, in the shape of `scale`."""
    low: int
    """Lowest quantized value that is used."""
    high: int
    """Highest quantized value that is used; 7-bit weights use -64..64."""
    axis: int | None = None
    """Axis of the scales; None per tensor."""
    block: int = 0
    """Elements along `axis` that share a scale; 0 if not per block."""
    pairs: tuple[int, ...] = ()
    """Axes, outermost first, that a kernel sums with pairs in 16 bits.

    Their neighbours are limited so that no pair saturates (see `ir.pairs`).
    """

    def quantize(self, array: np.ndarray) -> np.ndarray:
        """Quantize an array; return quantized values of type `dtype`."""
        scale, zero = self.spread(array.shape)
        steps = array.astype(np.float32) / scale
        if self.dtype.is_float:
            nearest: np.ndarray = np.clip(steps, self.low, self.high).astype(self.dtype.numpy)
            return nearest
        clipped: np.ndarray = np.clip(np.rint(steps) + zero, self.low, self.high)
        integers = clipped.astype(self.dtype.numpy)
        return limit_pairs(integers, self.pairs) if self.pairs else integers

    def dequantize(self, integers: np.ndarray) -> Singles:
        """Return the floats that quantized values represent, as f32."""
        scale, zero = self.spread(integers.shape)
        floats: np.ndarray = (integers.astype(np.float32) - zero) * scale
        return floats.astype(np.float32)

    def nearest(self, array: np.ndarray) -> np.ndarray:
        """Quantize and dequantize (fake quantization): return the nearest representable f32."""
        return self.dequantize(self.quantize(array))

    def spread(self, shape: tuple[int, ...]) -> tuple[Singles, Singles]:
        """Broadcast scale and zero point to a value of that shape, both as f32."""
        return self._spread(self.scale, shape), self._spread(
            self.zero_point.astype(np.float32), shape
        )

    def _spread(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if self.axis is not None and self.block:
            array = np.repeat(array, self.block, self.axis)
        elif self.axis is not None:
            array = array.reshape([-1 if i == self.axis else 1 for i in range(len(shape))])
        return np.broadcast_to(array, shape)


@dataclass(frozen=True, eq=False)
class Graph(TypedValues):
    """A frozen dataflow graph in topological order.

    Value names are unique over a graph and all its bodies, so a body reads outer values by plain
    name.
    """

    name: str
    """Name of the graph."""
    inputs: tuple[str, ...]
    """Graph inputs by value name."""
    outputs: tuple[str, ...]
    """Graph outputs by value name."""
    nodes: tuple[Node, ...]
    """Nodes in topological order."""
    constants: Mapping[str, Constant] = field(default_factory=dict)
    """Constants by value name."""
    types: Mapping[str, ValueType] = field(default_factory=dict)
    """Types of the values, without those of constants; a body has its own."""
    form: Form = Form.IMPORTED
    """Stage in the pipeline."""
    target: str = ""
    """Name of the target; form LEGAL only."""
    opsets: Mapping[str, int] = field(default_factory=dict)
    """Opsets of the domains other than the default one."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the model."""
    records: Mapping[str, Quantization] = field(default_factory=dict)
    """Quantization of values; forms QUANTIZED and LEGAL only."""
    doc: str = ""
    """Doc string of the graph."""
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Metadata of values in the file (value -> key -> text), carried but not interpreted."""

    def __post_init__(self) -> None:
        for key in ("constants", "types", "opsets", "metadata", "records", "notes"):
            value = getattr(self, key)
            if not isinstance(value, MappingProxyType):
                object.__setattr__(self, key, MappingProxyType(dict(value)))

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """Value -> its producer (graph inputs and constants have none)."""
        return MappingProxyType({out: node for node in self.nodes for out in node.outputs if out})

    @cached_property
    def users(self) -> Mapping[str, tuple[Node, ...]]:
        """Value -> its consumers, also those that read it in a body; unread values are missing."""
        consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.reads:
                consumers.setdefault(value, []).append(node)
        return MappingProxyType({k: tuple(v) for k, v in consumers.items()})

    @cached_property
    def captured(self) -> tuple[str, ...]:
        """Values of enclosing graphs that this graph or a body in it reads."""
        own = {*self.inputs, *self.constants, *self.producers}
        names = [v for node in self.nodes for v in node.reads if v not in own]
        names += [v for v in self.outputs if v not in own]
        return tuple(dict.fromkeys(names))

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Node name -> node."""
        return MappingProxyType({node.name: node for node in self.nodes})

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, or None if it is not known."""
        constant = self.constants.get(value)
        return constant.type if constant is not None else self.types.get(value)

    def array(self, value: str) -> np.ndarray | None:
        """Return the elements of a constant, or None if the value is not constant."""
        constant = self.constants.get(value)
        return None if constant is None else constant.array

    def walk(self) -> Iterator[Node]:
        """Yield every node, those of bodies included, outer before inner."""
        for node in self.nodes:
            yield node
            for body in node.bodies:
                yield from body.walk()

    def scopes(self) -> Iterator[Graph]:
        """Yield this graph and all bodies in it, outer before inner."""
        yield self
        for node in self.nodes:
            for body in node.bodies:
                yield from body.scopes()


def same_record(a: Quantization, b: Quantization) -> bool:
    """Return whether two quantizations map floats to the same integers."""
    if a is b:
        return True
    same = (a.dtype, a.axis, a.block, a.low, a.high) == (b.dtype, b.axis, b.block, b.low, b.high)
    return same and bool(
        a.scale.shape == b.scale.shape
        and (a.scale == b.scale).all()
        and (a.zero_point == b.zero_point).all()
    )


def is_f32(graph: Graph, value: str) -> bool:
    """Return whether a value is known to be f32."""
    return graph.dtype_of(value) is DType.F32


def is_finite(graph: Graph, constant: str) -> bool:
    """Return whether a constant contains neither NaN nor infinity."""
    return bool(np.isfinite(graph.constants[constant].array).all())
