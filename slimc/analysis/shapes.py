"""The type of every value, from the axis signatures of the operators.

Sizes may be numbers, names or computed from names (`ir.dims`); shape arithmetic (Shape, Gather,
Concat ... feeding a Reshape) is evaluated by the rows' `value` rules, so that with a number for
every name all that follows from shapes is a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from slimc.ir import dims
from slimc.ir.editor import map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import Dim, DType, TensorType, TypedValues, ValueType, static_shape
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, OpTable, UnknownType
from slimc.ops.values import LIMIT

BATCH, SIDE, LENGTH = 2, 64, 16  # sizes for names that nobody has bound


@dataclass(frozen=True, eq=False)
class Facts(TypedValues):
    """What is known of the values and nodes of a graph.

    types: of every value, constants and values inside bodies included. values: elements as far as
    they are known (object arrays hold numbers, names and None). bounds: node name -> its signature
    laid on it. opaque: node name -> why it has none. bodies: node name -> facts of its bodies, of
    which `bounds` and `opaque` are their own.
    """

    types: Mapping[str, ValueType]
    values: Mapping[str, np.ndarray]
    bounds: Mapping[str, BoundSignature]
    opaque: Mapping[str, str]
    bodies: Mapping[str, tuple[Facts, ...]]

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value, or None where it is not known."""
        return self.types.get(value)

    def shape(self, value: str) -> tuple[int, ...] | None:
        """Return the shape of a value if every size is a number, else None."""
        return static_shape(self.types.get(value))


def infer(graph: Graph, ops: OpTable, sizes: Mapping[str, int] | None = None) -> Facts:
    """Infer the types of all values; `sizes` gives numbers for names.

    A size that follows from the operands replaces the one recorded in the graph; what does not
    follow (results of opaque nodes) keeps its recorded type.
    """
    return _Inference(ops, dict(sizes or {})).run(graph)


def retype(graph: Graph, ops: OpTable) -> Graph:
    """Return the graph with inferred types; graph outputs keep the names of their sizes."""
    return _retyped(graph, infer(graph, ops).types)


def call_of(graph: Graph, facts: Facts, node: Node) -> Call:
    """Return a node of `graph` as the functions of the operator table see it."""
    return _call(graph, facts.types, facts.values, node)


def clamp_bounds(
    graph: Graph, ops: OpTable, facts: Facts, node: Node
) -> tuple[float, float] | None:
    """Return the bounds of y = min(max(x, low), high), None of other nodes and computed ones."""
    clamp = ops.clamp(node)
    return None if clamp is None else clamp(call_of(graph, facts, node))


def default_sizes(graph: Graph) -> dict[str, int]:
    """Return a number for every name in the inputs' types: 2 for what looks like a batch."""
    found: dict[str, int] = {}
    for value in graph.inputs:
        shape = graph.shape_of(value) or ()
        for axis, dim in enumerate(shape):
            for name in dims.collect_names(dim):
                batch = axis == 0 or "batch" in name.lower() or name in ("n", "N", "b", "B")
                usual = SIDE if len(shape) > 3 and axis > 1 else LENGTH
                found.setdefault(name, BATCH if batch else usual)
    return found


def _call(
    graph: Graph, types: Mapping[str, ValueType], values: Mapping[str, np.ndarray], node: Node
) -> Call:
    operands = tuple((types.get(v) or UnknownType()) if v else None for v in node.inputs)
    elements = tuple(_elements(graph, values, v) for v in node.inputs)
    return Call(node.op, node.attrs, operands, elements, len(node.outputs))


def _elements(graph: Graph, known: Mapping[str, np.ndarray], value: str) -> np.ndarray | None:
    array = graph.array(value) if value else None
    if array is None:
        return known.get(value)
    return None if array.dtype.kind in "OUS" else array


def _retyped(graph: Graph, types: Mapping[str, ValueType]) -> Graph:
    def renewed(value: str) -> ValueType | None:
        old, new = graph.types.get(value), types.get(value)
        return _with_names_of(new, old) if value in graph.outputs else new or old

    made = [o for node in graph.nodes for o in node.outputs if o]
    found = {v: renewed(v) for v in (*graph.inputs, *made)}
    nodes = tuple(
        replace(node, attrs=map_bodies(node, lambda body: _retyped(body, types)))
        if node.bodies
        else node
        for node in graph.nodes
    )
    kept = {v: t for v, t in found.items() if t is not None}
    return replace(graph, nodes=nodes, types={**graph.types, **kept})


def _with_names_of(new: ValueType | None, old: ValueType | None) -> ValueType | None:
    if not isinstance(new, TensorType) or not isinstance(old, TensorType):
        return new or old
    if new.shape is None or old.shape is None or len(new.shape) != len(old.shape):
        return new
    pairs = zip(new.shape, old.shape, strict=True)
    shape = tuple(o if isinstance(o, str) and not isinstance(n, int) else n for n, o in pairs)
    return TensorType(new.dtype, shape)


class _Inference:
    """Types and elements found so far, over a graph and its bodies (value names are unique)."""

    def __init__(self, ops: OpTable, sizes: Mapping[str, int]) -> None:
        self.ops = ops
        self.sizes = sizes
        self.types: dict[str, ValueType] = {}
        self.values: dict[str, np.ndarray] = {}

    def run(self, graph: Graph) -> Facts:
        """Infer one graph, outer ones first."""
        for value, constant in graph.constants.items():
            self.types[value] = constant.type
            if constant.array.size <= LIMIT and constant.dtype is not DType.STRING:
                self.values[value] = constant.array
        for value in graph.inputs:
            if (kind := self._recorded(graph, value)) is not None:
                self.types[value] = kind
        bounds: dict[str, BoundSignature] = {}
        opaque: dict[str, str] = {}
        bodies: dict[str, tuple[Facts, ...]] = {}
        for node in graph.nodes:
            if node.bodies:
                bodies[node.name] = tuple(self.run(body) for body in node.bodies)
            row, call = self.ops.get(node.kind), _call(graph, self.types, self.values, node)
            bound = self._bind(node, row, call)
            if isinstance(bound, BoundSignature):
                bounds[node.name] = bound
            else:
                opaque[node.name] = bound
            if row is not None:
                self._note(graph, node, self._learn(node, row, call, bound), row.elements(call))
            else:
                self._note(graph, node, (), ())
        return Facts(self.types, self.values, bounds, opaque, bodies)

    def _recorded(self, graph: Graph, value: str) -> ValueType | None:
        """Return the type in the graph, with numbers for the names that have one."""
        kind = graph.types.get(value)
        if not isinstance(kind, TensorType) or kind.shape is None:
            return kind
        return TensorType(kind.dtype, tuple(dims.evaluate(d, self.sizes) for d in kind.shape))

    def _bind(self, node: Node, row: Op | None, call: Call) -> BoundSignature | str:
        """Return the signature laid on a node, or why there is none."""
        if row is None:
            return f"operator {node.kind} is not in the operator table"
        try:
            return row.bind(call)
        except Unmatched as reason:
            return str(reason)

    def _learn(
        self, node: Node, row: Op, call: Call, bound: BoundSignature | str
    ) -> Sequence[ValueType | None]:
        """Return what follows for the types of the results."""
        if row.types is not None:
            made = tuple(tuple(self.types.get(o) for o in body.outputs) for body in node.bodies)
            return row.types(call, made)
        if row.axes is None:
            return ()
        shapes = (
            bound.output_shapes() if isinstance(bound, BoundSignature) else (None,) * call.results
        )
        pairs = zip(row.result_dtypes(call), shapes, strict=True)
        return [None if dtype is None else TensorType(dtype, shape) for dtype, shape in pairs]

    def _note(
        self,
        graph: Graph,
        node: Node,
        learnt: Sequence[ValueType | None],
        elements: Sequence[np.ndarray | None],
    ) -> None:
        """Enter types and elements of the results."""
        for i, value in enumerate(node.outputs):
            if not value:
                continue
            known = elements[i] if i < len(elements) else None
            kind = _merged(learnt[i] if i < len(learnt) else None, self._recorded(graph, value))
            if known is not None and isinstance(kind, TensorType):
                kind = TensorType(kind.dtype, known.shape)
                self.values[value] = _typed(known, kind.dtype)
            if kind is not None:
                self.types[value] = kind


def _typed(known: np.ndarray, dtype: DType) -> np.ndarray:
    """Return numbers as `dtype`; arrays with names stay as they are."""
    return known if known.dtype == object else known.astype(dtype.numpy)


def _merged(learnt: ValueType | None, recorded: ValueType | None) -> ValueType | None:
    """Join what follows from the operands with what is recorded.

    A learnt size wins, but a number beats a name.
    """
    if not isinstance(learnt, TensorType):
        return learnt or recorded
    if not isinstance(recorded, TensorType) or recorded.shape is None:
        return learnt
    if learnt.shape is None or len(learnt.shape) != len(recorded.shape):
        return learnt if learnt.shape is not None else TensorType(learnt.dtype, recorded.shape)
    pairs = zip(learnt.shape, recorded.shape, strict=True)
    return TensorType(learnt.dtype, tuple(_better(a, b) for a, b in pairs))


def _better(learnt: Dim, recorded: Dim) -> Dim:
    if learnt is None or (isinstance(learnt, str) and isinstance(recorded, int)):
        return recorded
    return learnt
