"""Integer layers: how many contractions were meant to run in integers, and how many do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from slimc.errors import SlimcError
from slimc.execute.oracles.ask import Kernel, ask_onnxruntime
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable, Quant
from slimc.ops.qdq import DEQUANTIZE, DYNAMIC_QUANTIZE, QUANTIZE
from slimc.targets.target import Target

ONNXRUNTIME = "onnxruntime"  # the runtime that can be asked on this machine

Meant = Literal["integers", "fp8", "dynamic", "weights", "floats"]
_WANTED: tuple[Meant, ...] = ("integers", "fp8", "dynamic")
_REACHED = ("integers", "fp8")
_RANK = {"floats": 0, "weights": 1, "fp8": 2, "integers": 3}


@dataclass(frozen=True, eq=False)
class Layer:
    """A contraction of a file.

    meant: what its Q/DQ say that data and weight are: both integers (ranges fixed ahead, or
    "dynamic": measured in each run), its weight alone, or neither. kernel: what does its work in a
    runtime; None where none could be told.
    """

    node: Node
    meant: Meant
    kernel: Kernel | None = None

    @property
    def intended(self) -> bool:
        """Tell whether it is meant to sum products of integers (or of 8-bit floats)."""
        return self.meant in _WANTED

    @property
    def reached(self) -> bool:
        """Tell whether it does."""
        return self.kernel is not None and self.kernel.computes in _REACHED


def intended(graph: Graph, ops: OpTable) -> tuple[int, tuple[str, ...]]:
    """Return how many contractions are marked for integers, and the names of those that are not."""
    integer = 0
    floating: list[str] = []
    for node in graph.walk():
        if not ops.weighted(node):
            continue
        if node.integer:
            integer += 1
        else:
            floating.append(node.name)
    return integer, tuple(floating)


def achieved(graph: Graph, file: Path, target: Target, ops: OpTable) -> int | None:
    """Count the layers of a graph, as a file holds it, that the target's runtime runs in integers.

    None where that runtime cannot be asked in this process. Raises SlimcError "runtime-refuses".
    """
    if target.runtime != ONNXRUNTIME:
        return None
    answer = ask_onnxruntime(file, {"signed": takes_signed(target)})
    if not answer.built:
        raise SlimcError("runtime-refuses", answer.problems[0].message, "onnxruntime, on loading")
    found = traced(graph, layers_of(graph, ops), answer.kernels)
    return sum(layer.intended and layer.reached for layer in found)


def takes_signed(target: Target) -> bool:
    """Tell whether the integer kernels of a target take signed activations."""
    return any(
        wish.activations is not None and wish.activations.dtype is DType.I8
        for wish in target.quantize.values()
    )


def layers_of(graph: Graph, ops: OpTable) -> tuple[Layer, ...]:
    """Return the contractions of a graph as a file holds it, those in bodies included."""
    flow = Flow(graph, ops)
    return tuple(
        Layer(node, meant) for node in graph.walk() if (meant := flow.meant(node)) is not None
    )


class Flow:
    """Values of a graph and its bodies, and the nodes that make and read them."""

    def __init__(self, graph: Graph, ops: OpTable) -> None:
        self._ops = ops
        scopes = list(graph.scopes())
        self.makers = {out: node for one in scopes for out, node in one.producers.items()}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.walk():
            for value in node.reads:
                self.readers.setdefault(value, []).append(node)
        self._constants = {value for one in scopes for value in one.constants}
        self._types: dict[str, Any] = {}
        for one in scopes:
            self._types |= {**one.types, **{k: c.type for k, c in one.constants.items()}}
        self._conversions: dict[str, Node] = {}  # value -> the DQ that it comes from
        for node in graph.walk():
            source = self._conversion(node)
            if source is not None:
                self._conversions |= dict.fromkeys(filter(None, node.outputs), source)

    def meant(self, node: Node) -> Meant | None:
        """Return how a contraction is meant to compute; None of what is none."""
        row = self._ops.get(node.kind)
        if row is not None and row.integers == "weight":
            return "weights"
        if row is not None and row.integers == "operands":
            makers = (self.makers.get(value) for value in node.inputs)
            return "dynamic" if any(m and m.op == DYNAMIC_QUANTIZE for m in makers) else "integers"
        parts = self._ops.weighted(node)
        if parts is None:
            return None
        data, weight = (self._conversions.get(node.inputs[i]) for i in (parts.data, parts.weight))
        if data is not None and weight is not None:
            return "fp8" if self._holds_floats(data) else "integers"
        return "weights" if weight is not None and self._is_stored(weight) else "floats"

    def _conversion(self, node: Node) -> Node | None:
        """Return the DQ that results come from, through what keeps its scale.

        Of several operands each must come from one; that of the first counts.
        """
        if node.op == DEQUANTIZE:
            return node
        quant = self._ops.quant(node)
        if quant not in (Quant.PASS_THROUGH, Quant.SHARED_SCALE):
            return None
        operands = node.inputs if quant is Quant.SHARED_SCALE else node.inputs[:1]
        found = [self._conversions.get(one) for one in operands if one]
        return found[0] if found and all(one is not None for one in found) else None

    def _is_stored(self, conversion: Node) -> bool:
        """Tell whether a DQ, or the Q before it, works on what no run changes."""
        value = conversion.inputs[0]
        while value not in self._constants:
            maker = self.makers.get(value)
            if maker is None or not maker.inputs:
                return False
            if maker.op != QUANTIZE and self._ops.quant(maker) is not Quant.PASS_THROUGH:
                return False
            value = maker.inputs[0]
        return True

    def _holds_floats(self, conversion: Node) -> bool:
        kind = self._types.get(conversion.inputs[0])
        return isinstance(kind, TensorType) and kind.dtype.is_float

    def near(self, node: Node) -> set[str]:
        """Return the names of a node and of those between it and the Q and DQ around it.

        Other contractions do not belong to it; what belongs to none has those beside it.
        """
        names = {node.name}
        alone = self.meant(node) is None
        for step in (self._before, self._behind):
            seen = [node]
            for one in seen:
                crossed = one is node or one.op != QUANTIZE
                for other in step(one) if crossed else ():
                    ends = self.meant(other) is not None
                    if other.name in names or (ends and not alone):
                        continue
                    names.add(other.name)
                    seen += [] if ends else [other]
        return names

    def _before(self, node: Node) -> list[Node]:
        return [self.makers[value] for value in node.reads if value in self.makers]

    def _behind(self, node: Node) -> list[Node]:
        return [reader for value in node.outputs for reader in self.readers.get(value, ())]


def traced(graph: Graph, layers: Sequence[Layer], kernels: Sequence[Kernel]) -> tuple[Layer, ...]:
    """Find the kernel of each layer: that of its name, of what it makes, or of what comes of that.

    Of several kernels of one name that with the smaller numbers counts: others only move data. A
    layer that none is named after was fused into the one whose name comes next behind it (openvino
    folds a BatchNormalization into a convolution, and keeps that name).
    """
    found: dict[str, Kernel] = {}
    for kernel in kernels:
        for name in (*kernel.names, *kernel.outputs):
            old = found.get(name)
            if old is None or _RANK[kernel.computes] > _RANK[old.computes]:
                found[name] = kernel
    readers: dict[str, list[Node]] = {}
    for node in graph.walk():
        for value in node.reads:
            readers.setdefault(value, []).append(node)
    own = {layer.node.name for layer in layers}
    return tuple(replace(one, kernel=_kernel(one.node, found, readers, own)) for one in layers)


def _kernel(
    layer: Node,
    found: Mapping[str, Kernel],
    readers: Mapping[str, Sequence[Node]],
    layers: Collection[str],
) -> Kernel | None:
    """Return the kernel of the nearest node that has one, from a layer to the next ones."""
    nodes, seen = [layer], {layer.name, *layers}
    for node in nodes if found else ():
        names = (name for name in (node.name, *node.outputs) if name in found)
        name = next(names, None)
        if name is not None:
            return found[name]
        behind = (reader for value in node.outputs for reader in readers.get(value, ()))
        for one in behind:
            if one.name not in seen:
                seen.add(one.name)
                nodes.append(one)
    return None
