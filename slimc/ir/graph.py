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
from slimc.ir.pairs import within_pairs
from slimc.ir.types import DType, TypedValues, ValueType

OPSET = 28  # the ONE opset of the default domain that the IR speaks


class Form(Enum):
    """How far a graph has come; `ir/verify.py` holds what each form promises."""

    IMPORTED = "imported"
    CANONICAL = "canonical"
    QUANTIZED = "quantized"
    LEGAL = "legal"


@dataclass(frozen=True)
class Origin:
    """Where a node comes from: the pass that made it and the user's nodes it stands for."""

    made_by: str
    nodes: tuple[str, ...]


Attr = object  # int | float | bytes | Constant | Graph | ValueType | tuple of those


@dataclass(frozen=True, eq=False)
class Node:
    """An operator applied to values. An absent optional operand is the empty name.

    `integer` asks for integer arithmetic: the target's emitter puts Q/DQ around it. Values an
    operator's body captures (If, Loop, Scan) are not listed in `inputs`; `Graph.users` knows them.
    `notes`: text that the file's maker attached (key "": its doc string); it means nothing to us.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    domain: str = ""
    origin: Origin | None = None
    integer: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    @property
    def kind(self) -> str:
        """The key of the operator table: `Conv`; `com.microsoft.Gelu` in another domain."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    @property
    def origins(self) -> tuple[str, ...]:
        """The user's node names that this node stands for."""
        return self.origin.nodes if self.origin else (self.name,)

    @cached_property
    def bodies(self) -> tuple[Graph, ...]:
        """Graphs among the attributes, in order of attribute names."""
        found: list[Graph] = []
        for key in sorted(self.attrs):
            value = self.attrs[key]
            found += [
                v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Graph)
            ]
        return tuple(found)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Values the node needs, each once: present inputs, then what bodies capture."""
        names = [i for i in self.inputs if i]
        for body in self.bodies:
            names += body.captured
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, eq=False)
class Quantization:
    """How the elements of a value become integers: q = clip(round(x / scale) + zero_point).

    scale: f32[] per tensor, f32[C] along `axis`, or, where `block` elements along it share one, of
    the value's rank with so many fewer indices there. zero_point: same shape, of `dtype`.
    `low`, `high`: the integers used (7-bit weights use -64..64). `pairs`: the axes, outermost
    first, that a kernel sums a weight over, neighbours in 16 bits: they stay small (`ir.pairs`).
    An 8-bit float `dtype` takes the place of integers: then q is the nearest of its numbers.
    Neutral of the target's file form: where Q and DQ stand and how the integers are stored is the
    emitter's business.
    """

    dtype: DType
    scale: np.ndarray
    zero_point: np.ndarray
    low: int
    high: int
    axis: int | None = None
    block: int = 0
    pairs: tuple[int, ...] = ()

    def quantize(self, array: np.ndarray) -> np.ndarray:
        """Return the integers of `array`, as `dtype`."""
        scale, zero = self.spread(array.shape)
        steps = array.astype(np.float32) / scale
        if self.dtype.is_float:
            nearest: np.ndarray = np.clip(steps, self.low, self.high).astype(self.dtype.numpy)
            return nearest
        clipped: np.ndarray = np.clip(np.rint(steps) + zero, self.low, self.high)
        integers = clipped.astype(self.dtype.numpy)
        return within_pairs(integers, self.pairs) if self.pairs else integers

    def dequantize(self, integers: np.ndarray) -> Singles:
        """Return the f32 numbers that `integers` stand for."""
        scale, zero = self.spread(integers.shape)
        real: np.ndarray = (integers.astype(np.float32) - zero) * scale
        return real.astype(np.float32)

    def nearest(self, array: np.ndarray) -> np.ndarray:
        """Return what integer arithmetic sees of an array: rounded to the grid and back, as f32."""
        return self.dequantize(self.quantize(array))

    def spread(self, shape: tuple[int, ...]) -> tuple[Singles, Singles]:
        """Return scale and zero point of each element of a value of that shape, as f32."""
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

    `types` holds the type of every value, constants and the inside of bodies excepted (a body has
    its own). Value names are unique over a graph and all its bodies, so a body reads outer values
    by plain name.
    `records` (form QUANTIZED) says how values become integers. `opsets` lists domains besides the
    default one.
    `notes`: text that the file's maker attached to values (value -> key -> text).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    types: Mapping[str, ValueType] = field(default_factory=dict)
    form: Form = Form.IMPORTED
    target: str = ""  # of form LEGAL
    opsets: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Quantization] = field(default_factory=dict)
    doc: str = ""
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("constants", "types", "opsets", "metadata", "records", "notes"):
            value = getattr(self, key)
            if not isinstance(value, MappingProxyType):
                object.__setattr__(self, key, MappingProxyType(dict(value)))

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """Value -> the node that makes it (graph inputs and constants have none)."""
        return MappingProxyType({out: node for node in self.nodes for out in node.outputs if out})

    @cached_property
    def users(self) -> Mapping[str, tuple[Node, ...]]:
        """Value -> nodes that read it, also inside their bodies; unread values are missing."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in node.reads:
                found.setdefault(value, []).append(node)
        return MappingProxyType({k: tuple(v) for k, v in found.items()})

    @cached_property
    def captured(self) -> tuple[str, ...]:
        """Values read here or deeper but made outside."""
        own = {*self.inputs, *self.constants, *self.producers}
        names = [v for node in self.nodes for v in node.reads if v not in own]
        names += [v for v in self.outputs if v not in own]
        return tuple(dict.fromkeys(names))

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Node name -> node."""
        return MappingProxyType({node.name: node for node in self.nodes})

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, or None where it is not known."""
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
    """Tell whether two records map real numbers to the same integers."""
    if a is b:
        return True
    same = (a.dtype, a.axis, a.block, a.low, a.high) == (b.dtype, b.axis, b.block, b.low, b.high)
    return same and bool(
        a.scale.shape == b.scale.shape
        and (a.scale == b.scale).all()
        and (a.zero_point == b.zero_point).all()
    )


def is_f32(graph: Graph, value: str) -> bool:
    """Tell whether a value is known to hold f32."""
    return graph.dtype_of(value) is DType.F32


def finite(graph: Graph, constant: str) -> bool:
    """Tell whether a constant holds neither NaN nor infinity."""
    return bool(np.isfinite(graph.constants[constant].array).all())
