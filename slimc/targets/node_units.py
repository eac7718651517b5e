"""Contractions with the DQs before and the Q behind them, as ONNX Runtime puts them together.

Evidence: onnxruntime's qdq_propagation.cc, qdq_s8_to_u8.cc, relu_quantizelinear.cc,
clip_quantizelinear.cc and qdq_selectors.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from slimc.analysis.shapes import call_of
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Quant, Weighted
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.rewrite.summed import Summed, has_bias_shape, sole_sum
from slimc.targets.contractions import Conversion, contractions, dequantized, makers, weight_of
from slimc.targets.target import Subject

# A DQ before, or a Q behind, one of these is moved to its other side (CanNodePropagate).
PROPAGATES = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
_EPSILON = float(np.finfo(np.float32).eps)  # by which a Clip may reach into what Q holds

_LONGEST = 64  # values that a constant is computed from: longer chains are no constants in fact


@dataclass(frozen=True, eq=False)
class Result:
    """What reads a result.

    quantizer: the one Q, behind clamps and what Q moves before, if it alone does; clamps: those in
    between; quantizers: how many Q are among the readers; direct: only clamps stand in between.
    """

    quantizer: Conversion | None
    clamps: tuple[Node, ...] = ()
    quantizers: int = 0
    direct: bool = True


@dataclass(frozen=True, eq=False)
class NodeUnit:
    """A contraction of integers: its data and its weight come from a DQ."""

    subject: Subject
    node: Node
    parts: Weighted
    data: Conversion
    weight: Conversion

    @property
    def graph(self) -> Graph:
        return self.subject.graph

    @cached_property
    def result(self) -> Result:
        """What reads its result, or where a bias is added behind it, that sum."""
        return _result(self.subject, self.node if self.added is None else self.added.node)

    @cached_property
    def data_type(self) -> DType | None:
        return seen_type(self.subject, self.data, self.node.inputs[self.parts.data])

    @cached_property
    def result_type(self) -> DType | None:
        one = self.result.quantizer
        return None if one is None else seen_type(self.subject, one, one.node.outputs[0])

    @cached_property
    def bias(self) -> str:
        """The bias, of a product of matrices the one that is added behind it; empty: none."""
        if self.added is not None:
            return self.added.other
        at = self.parts.bias
        return self.node.inputs[at] if at is not None and at < len(self.node.inputs) else ""

    @cached_property
    def added(self) -> Summed | None:
        """What is added to a product of two matrices: the runtime makes it the bias of a Gemm."""
        kind = self.graph.type_of(self.node.inputs[self.parts.data])
        shape = kind.shape if isinstance(kind, TensorType) else None
        if self.parts.bias is not None or shape is None or len(shape) != 2:
            return None
        found = sole_sum(self.graph, self.subject.ops, self.node.outputs[0])
        if found is None:
            return None
        kinds = [self.graph.type_of(v) for v in (found.other, self.node.outputs[0])]
        summand, made = (k.shape if isinstance(k, TensorType) else None for k in kinds)
        if summand is None or made is None or not has_bias_shape(summand, made):
            return None
        return found


def node_units(subject: Subject) -> Iterator[NodeUnit]:
    """Yield the contractions whose data and weight both come from a DQ."""
    graph = subject.graph
    for node, parts in contractions(graph, subject.ops):
        stored = weight_of(subject, node.inputs[parts.weight])
        weight = data_of(graph, node.inputs[parts.weight]) if stored is None else stored.conversion
        data = data_of(graph, node.inputs[parts.data])
        if data is not None and weight is not None:
            yield NodeUnit(subject, node, parts, data, weight)


def data_of(graph: Graph, value: str) -> Conversion | None:
    """Return the DQ of a value, seen through what the runtime moves it behind.

    It moves a DQ with one reader (PropagateDQForward).
    """
    moved = False
    for maker in makers(graph, value):
        if maker.kind not in PROPAGATES:
            break
        value, moved = maker.inputs[0], True
    found = dequantized(graph, value)
    return None if moved and found is not None and _edges(graph, value) > 1 else found


def hidden_data(subject: Subject, node: Node, parts: Weighted) -> Node | None:
    """Return what hides the DQ of a contraction's data from it: the runtime moves none past that.

    Only operators that move, pick or join elements, or clamp them, are looked through.
    """
    first = None
    for maker in makers(subject.graph, node.inputs[parts.data]):
        if maker.op == DEQUANTIZE:
            return first
        row = subject.ops.get(maker.kind)
        if row is None or row.quant not in (Quant.PASS_THROUGH, Quant.SHARED_SCALE):
            return None
        first = first or maker
    return None


def _result(subject: Subject, node: Node) -> Result:
    graph, ops = subject.graph, subject.ops
    clamps: list[Node] = []
    direct = True
    while True:
        value = node.outputs[0]
        readers = graph.users.get(value, ())
        quantizers = sum(reader.op == QUANTIZE for reader in readers)
        if len(readers) != 1 or value in graph.outputs:
            return Result(None, tuple(clamps), quantizers, direct)
        (node,) = readers
        row = ops.get(node.kind)
        if node.op == QUANTIZE:
            return Result(Conversion(graph, node), tuple(clamps), 1, direct)
        if row is not None and row.clamp is not None:
            clamps.append(node)
        elif node.kind in PROPAGATES and node.inputs[0] == value:
            direct = False
        else:
            return Result(None, tuple(clamps), quantizers, direct)


def keeps_signed(subject: Subject) -> bool:
    """Tell whether the target's kernels take s8 data (64-bit ARM); x86 takes u8."""
    wishes = subject.target.quantize.values()
    grids = [wish.activations for wish in wishes if wish.activations is not None]
    return any(grid.dtype is DType.I8 for grid in grids)


def seen_type(subject: Subject, one: Conversion, value: str) -> DType | None:
    """Return the integer type that a kernel sees of a Q or DQ, at `value`.

    On x86 s8 becomes u8 where one DQ with one reader follows its Q; every reader gets a DQ of its
    own first.
    """
    kind = one.integers
    if kind is not DType.I8 or keeps_signed(subject):
        return kind
    graph = subject.graph
    source = one.node if one.node.op == QUANTIZE else graph.producers.get(one.node.inputs[0])
    if source is None or source.op != QUANTIZE or folds(graph, source.inputs[0]):
        return kind  # an input of integers, or a constant
    maker = graph.producers.get(value)
    if maker is not None and maker.op not in (QUANTIZE, DEQUANTIZE):
        return DType.U8 if _edges(graph, value) == 1 else kind
    integers = source.outputs[0]
    readers = graph.users.get(integers, ())
    edges = sum(max(1, _edges(graph, r.outputs[0])) for r in readers) + (integers in graph.outputs)
    return DType.U8 if edges == 1 else kind


def _edges(graph: Graph, value: str) -> int:
    """Count what reads a value in the file, outputs too: nodes that stand for one count once."""
    counts: dict[tuple[str, ...], int] = {}
    for reader in graph.users.get(value, ()):
        key = reader.origins
        counts[key] = max(counts.get(key, 1), reader.inputs.count(value))
    return sum(counts.values()) + (value in graph.outputs)


def folds(graph: Graph, value: str) -> bool:
    """Tell whether a value is a constant, or computed from constants alone: it is one when read."""
    todo, seen = [value], {value}
    while todo:
        one = todo.pop()
        maker = graph.producers.get(one)
        if maker is None and one not in graph.constants:
            return False
        if maker is not None and (maker.bodies or len(seen) > _LONGEST):
            return False
        more = [v for v in (maker.inputs if maker is not None else ()) if v and v not in seen]
        todo += reversed(more)
        seen.update(more)
    return True


def covers(subject: Subject, clamp: Node, one: Conversion) -> bool:
    """Tell whether a Q does the work of a clamp before it, so that the runtime drops the clamp.

    Of a Relu the zero point is the least integer; of a Clip the bounds hold all that Q holds.
    """
    row = subject.ops.get(clamp.kind)
    rule = row.clamp if row is not None else None
    bounds = rule(call_of(subject.graph, subject.facts, clamp)) if rule is not None else None
    kind, scale, zero = one.integers, one.scale, one.zero
    if bounds is None or kind is None or scale is None or scale.size != 1 or zero is None:
        return False
    (low, high), point, step = kind.span, int(zero.reshape(-1)[0]), scale.reshape(-1)[0]
    if bounds == (0.0, np.inf):
        return point == low
    least, largest = float(step * np.float32(low - point)), float(step * np.float32(high - point))
    return least >= bounds[0] - _EPSILON and largest <= bounds[1] + _EPSILON
