"""Fix inputs: their values, or their sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from slimc.analysis.shapes import retype
from slimc.errors import SlimcError, did_you_mean
from slimc.ir import dims
from slimc.ir.constant import Constant
from slimc.ir.editor import map_bodies
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType, ValueType, static_shape
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.canonical.inline_branches import written_out
from slimc.passes.context import Context
from slimc.passes.traits import Trait
from slimc.remarks import Remark, note

WHERE = "pass bind-inputs"


@dataclass(frozen=True)
class BindInputs(Pass):
    """Make an input a constant, or numbers of its sizes.

    What depends on it alone can then be folded: arithmetic on sizes. A branch that it chooses, as
    by a sampling rate, takes the place of its If: runtimes infer the types of the other one too,
    which these values and sizes need not suit. A named size is that number wherever the name
    stands. Exact for these values and sizes; the graph takes no others any more.
    """

    name: ClassVar[str] = "bind-inputs"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.BINDS})

    values: tuple[str, ...] = option((), "inputs to fix, as name=number or name=1,2,3")
    shapes: tuple[str, ...] = option(
        (), "sizes to fix, as name=1x3x224x224 (? leaves a size as it is)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in (*self.values, *self.shapes):
            _split(text)

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        said: list[Remark] = []
        graph = with_shapes(graph, self.shapes)
        for text in self.shapes:
            name, _ = _binding(text, graph)
            said.append(note(f"input '{name}' is {graph.types[name]}"))
        for text in self.values:
            name, value = _binding(text, graph)
            constant = _constant(name, value, graph.types.get(name))
            said.append(note(f"input '{name}' is the constant {value} and no input any more"))
            graph = replace(
                graph,
                inputs=tuple(i for i in graph.inputs if i != name),
                constants={**graph.constants, name: constant},
                types={k: t for k, t in graph.types.items() if k != name},
            )
        if not said:
            return PassResult(graph)
        graph = retype(graph, ctx.ops)
        if not any(node.bodies for node in graph.nodes):
            return PassResult(graph, tuple(said))
        chosen = written_out(graph, ctx)
        return PassResult(chosen.graph, (*said, *chosen.remarks))


def with_shapes(graph: Graph, shapes: Iterable[str]) -> Graph:
    """State shapes of inputs, each as `name=1x3x224x224`, and else leave the graph as it is."""
    sizes: dict[str, int] = {}
    for text in shapes:
        name, value = _binding(text, graph)
        graph = _with_shape(graph, name, value, sizes)
    return with_sizes(graph, sizes)


def _split(text: str) -> tuple[str, str]:
    """Return the input and what it is bound to. Names may hold `=`, so the last one counts."""
    name, equals, value = text.rpartition("=")
    if not equals:
        raise SlimcError(
            "bad-binding", f"'{text}' binds nothing", WHERE, "write name=16000, or name=1x3x224x224"
        )
    return name, value


def _binding(text: str, graph: Graph) -> tuple[str, str]:
    """Return an input of the graph and what it is bound to."""
    name, value = _split(text)
    if name not in graph.inputs:
        raise SlimcError(
            "unknown-input",
            f"the model has no input '{name}'",
            WHERE,
            did_you_mean(name, graph.inputs),
        )
    return name, value


def _with_shape(graph: Graph, name: str, text: str, sizes: dict[str, int]) -> Graph:
    """State the shape of an input; collect the numbers that named sizes become."""
    kind = graph.tensor(name)
    if kind is None:
        raise SlimcError("bad-binding", f"input '{name}' is no tensor", WHERE)
    words = text.lower().replace(",", "x").split("x") if text else []
    old = kind.shape if kind.shape is not None else (None,) * len(words)
    if len(words) != len(old):
        message = f"input '{name}' has {len(old)} axes ({kind}), '{text}' has {len(words)}"
        raise SlimcError("bad-binding", message, WHERE)
    shape = []
    for word, size in zip(words, old, strict=True):
        number = int(word) if word.isdecimal() else None
        if number is None and word != "?":
            raise SlimcError("bad-binding", f"'{word}' is no size", WHERE, "write 1x3x224x224")
        fixed = sizes.get(size, size) if isinstance(size, str) else size
        if number is not None and isinstance(fixed, int) and fixed != number:
            message = f"a size of input '{name}' is {fixed} and cannot be {number}"
            raise SlimcError("bad-binding", message, WHERE, f"its type is {kind}")
        if number is not None and isinstance(size, str):
            sizes[size] = number
        shape.append(size if number is None else number)
    return replace(graph, types={**graph.types, name: TensorType(kind.dtype, tuple(shape))})


def with_sizes(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """Write numbers for names of sizes, in bodies too."""
    if not sizes:
        return graph
    nodes = tuple(
        replace(node, attrs=map_bodies(node, lambda body: with_sizes(body, sizes)))
        if node.bodies
        else node
        for node in graph.nodes
    )
    types = {name: _sized(kind, sizes) for name, kind in graph.types.items()}
    return replace(graph, nodes=nodes, types=types)


def _sized(kind: ValueType, sizes: Mapping[str, int]) -> ValueType:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return replace(kind, shape=tuple(dims.evaluate(d, sizes) for d in kind.shape))


def _constant(name: str, text: str, kind: ValueType | None) -> Constant:
    """Read the elements of an input: one number for all of them, or one for each."""
    if not isinstance(kind, TensorType) or kind.dtype is DType.STRING:
        raise SlimcError("bad-binding", f"input '{name}' ({kind}) holds no numbers", WHERE)
    words = text.split(",")
    try:
        numbers = [_number(word.strip(), kind.dtype) for word in words]
    except ValueError as wrong:
        raise SlimcError("bad-binding", f"input '{name}': {wrong}", WHERE) from None
    array = np.array(numbers).astype(kind.dtype.numpy)
    rank = 1 if kind.shape is None else len(kind.shape)
    shape = static_shape(kind) or ((len(words),) if rank == 1 else ())
    if len(shape) != rank or array.size not in (1, math.prod(shape)):
        message = f"input '{name}' is of type {kind}, which {len(words)} numbers do not fill"
        raise SlimcError("bad-binding", message, WHERE, "fix its sizes too: shapes=[...]")
    return Constant(np.full(shape, array) if array.size == 1 else array.reshape(shape))


def _number(word: str, dtype: DType) -> float | int | bool:
    if dtype is DType.BOOL:
        if word.lower() not in ("true", "false", "0", "1"):
            raise ValueError(f"'{word}' is neither true nor false")
        return word.lower() in ("true", "1")
    if dtype.is_integer:
        low, high = dtype.span
        if not word.removeprefix("-").isdecimal() or not low <= int(word) <= high:
            raise ValueError(f"'{word}' is no {dtype.text}")
        return int(word)
    return float(word)
