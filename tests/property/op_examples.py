"""One or more example calls for every row of the operator table."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from slimc.analysis.shapes import infer
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS

Arrays = list[np.ndarray | None]


@dataclass(frozen=True)
class Operand:
    """What an operand holds: a shape to fill with numbers, or an array that stays a constant."""

    shape: tuple[int, ...] = ()
    dtype: DType = DType.F32
    low: float = -1.0
    high: float = 1.0
    array: np.ndarray | None = None

    def drawn(self, generator: np.random.Generator) -> np.ndarray:
        if self.array is not None:
            return self.array
        if self.dtype is DType.BOOL:
            return generator.random(self.shape) < 0.5
        if self.dtype.is_integer:
            drawn = generator.integers(int(self.low), int(self.high), self.shape)
            return np.asarray(drawn).astype(self.dtype.numpy)
        return np.asarray(generator.uniform(self.low, self.high, self.shape), self.dtype.numpy)

    def other(self, elements: np.ndarray) -> np.ndarray:
        """Return other elements, within bounds if they are integers."""
        if self.dtype is DType.BOOL:
            return ~elements
        if not self.dtype.is_integer:
            return elements + 1
        low, high = int(self.low), int(self.high)
        moved = low + (elements.astype(np.int64) + 1 - low) % (high - low)
        return moved.astype(elements.dtype)


def f(*shape: int, low: float = -1.0, high: float = 1.0) -> Operand:
    """Floats that are fed."""
    return Operand(shape, low=low, high=high)


def i(*shape: int, high: int, low: int = 0, dtype: DType = DType.I64) -> Operand:
    """Integers below `high` that are fed."""
    return Operand(shape, dtype, low, high)


def b(*shape: int) -> Operand:
    """Truths that are fed."""
    return Operand(shape, DType.BOOL)


def c(elements: Any, kind: Any = np.int64) -> Operand:
    """A constant; of a float `kind` its axes may lose indices as those of what is fed."""
    return Operand(array=np.asarray(elements, kind))


@dataclass(frozen=True)
class Example:
    """One call.

    dynamic: sizes of results depend on the data. onnx_errs: why onnx's shape inference does not
    agree with onnxruntime. mixes: a label that is tied and, step by step, summed over too.
    """

    kind: str
    operands: tuple[Operand | None, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    results: int = 1
    dynamic: bool = False
    onnx_errs: str = ""
    mixes: str = ""

    @property
    def id(self) -> str:
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items() if not isinstance(v, Constant))
        shapes = ",".join(
            "-" if o is None else str(list(o.shape if o.array is None else o.array.shape))
            for o in self.operands
        )
        return f"{self.kind}({shapes}){{{attrs}}}".replace(" ", "")

    def arrays(self) -> Arrays:
        generator = np.random.default_rng(zlib.crc32(self.id.encode()))
        return [None if o is None else o.drawn(generator) for o in self.operands]


def x(
    kind: str,
    *operands: Operand | None,
    results: int = 1,
    dynamic: bool = False,
    onnx_errs: str = "",
    mixes: str = "",
    **attrs: Any,
) -> Example:
    """Return an example; the other keywords are attributes."""
    return Example(kind, operands, attrs, results, dynamic, onnx_errs, mixes)


def graph_of(example: Example, arrays: Arrays, attrs: Mapping[str, Any]) -> Graph:
    """Return the call as a graph: what is fed are inputs x0, x1 ..., the rest constants."""
    names = ["" if a is None else f"x{k}" for k, a in enumerate(arrays)]
    fed = {
        name: array
        for name, array, operand in zip_longest(names, arrays, example.operands)
        if array is not None and operand is not None and operand.array is None
    }
    constants = {
        name: Constant(array)
        for name, array in zip(names, arrays, strict=True)
        if array is not None and name not in fed
    }
    domain, _, op = example.kind.rpartition(".")
    while names and not names[-1]:
        names.pop()
    outputs = tuple(f"y{k}" for k in range(example.results))
    node = Node(op, tuple(names), outputs, "call", attrs, domain)
    graph = Graph(
        "call",
        tuple(fed),
        outputs,
        (node,),
        constants,
        {name: TensorType(DType.of_numpy(a.dtype), a.shape) for name, a in fed.items()},
        opsets={domain: 1} if domain else {},
    )
    facts = infer(graph, OPS)
    types = {**graph.types, **{o: facts.types[o] for o in outputs if o in facts.types}}
    return Graph("call", graph.inputs, outputs, (node,), constants, types, opsets=graph.opsets)


def feeds(graph: Graph, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays that a graph made of them is fed."""
    named = {f"x{k}": a for k, a in enumerate(arrays) if a is not None}
    return {name: named[name] for name in graph.inputs}
