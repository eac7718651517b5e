"""Any graph that the IR can hold comes back from its text, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node, Origin
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType, OptionalType, SequenceType, TensorType

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DIMS = st.one_of(st.none(), st.integers(0, 9), NAMES)
TENSORS = st.builds(
    TensorType,
    st.sampled_from(list(DType)),
    st.one_of(st.none(), st.lists(DIMS, max_size=4).map(tuple)),
)
TYPES = st.recursive(
    TENSORS, lambda inner: st.builds(SequenceType, inner) | st.builds(OptionalType, inner)
)
FLOATS = st.floats(width=32)


@st.composite
def constants(draw: st.DrawFn) -> Constant:
    dtype = draw(st.sampled_from([d for d in DType if d is not DType.STRING]))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = math.prod(shape)
    if dtype is DType.BOOL or dtype.bits < 8:
        low, high = (0, 1) if dtype is DType.BOOL or not dtype.is_integer else dtype.span
        elements = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        return Constant(np.array(elements, np.int64).reshape(shape).astype(dtype.numpy))
    bits = draw(
        st.binary(min_size=size * dtype.numpy.itemsize, max_size=size * dtype.numpy.itemsize)
    )
    return Constant(np.frombuffer(bits, dtype.numpy).reshape(shape))


ATTRIBUTES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    FLOATS,
    st.binary(max_size=12),
    NAMES.map(str.encode),
    constants(),
    TYPES,
    st.lists(st.integers(-9, 9), max_size=4).map(tuple),
    st.lists(FLOATS, max_size=4).map(tuple),
    st.lists(st.binary(max_size=4), max_size=4).map(tuple),
)


@st.composite
def graphs(draw: st.DrawFn, depth: int = 1) -> Graph:
    return _graph(draw, depth, set(), [])


def _graph(draw: st.DrawFn, depth: int, taken: set[str], outer: list[str]) -> Graph:
    def fresh() -> str:
        name = draw(NAMES.filter(lambda n: n not in taken))
        taken.add(name)
        return name

    inputs = [fresh() for _ in range(draw(st.integers(0, 2)))]
    weights = {fresh(): draw(constants()) for _ in range(draw(st.integers(0, 2)))}
    known = [*outer, *inputs, *weights]
    types = {name: draw(TYPES) for name in inputs}
    nodes: list[Node] = []
    for _ in range(draw(st.integers(0, 3))):
        attrs: dict[str, Any] = draw(st.dictionaries(NAMES, ATTRIBUTES, max_size=3))
        if depth and draw(st.booleans()):
            attrs["body"] = _graph(draw, depth - 1, taken, known)
        operands = draw(st.lists(st.sampled_from(["", *known]), max_size=3))
        results = [fresh() for _ in range(draw(st.integers(1, 2)))]
        origin = draw(st.none() | st.builds(Origin, NAMES, st.lists(NAMES, max_size=2).map(tuple)))
        domain = draw(st.sampled_from(["", "com.microsoft", "my::domain"]))
        op = draw(st.sampled_from(["Conv", "constant", "form", "odd.op", "graph"]))
        nodes.append(
            Node(
                op,
                tuple(operands),
                tuple(results),
                fresh(),
                attrs,
                domain,
                origin,
                draw(st.booleans()),
            )
        )
        known = [*known, *results]
    outputs = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
    return Graph(draw(NAMES), tuple(inputs), tuple(outputs), tuple(nodes), weights, types)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Constant):
        return isinstance(b, Constant) and a.same_as(b)
    if isinstance(a, float):
        return isinstance(b, float) and (str(a) == str(b) or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (Graph, Node)):
        return all(same(getattr(a, f), getattr(b, f)) for f in a.__dataclass_fields__)
    if hasattr(a, "keys"):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs())
def test_graphs_come_back_from_text(graph: Graph) -> None:
    text = to_text(graph)
    again = parse_text(text)
    assert same(graph, again)
    assert to_text(again) == text
