"""Express operators that a runtime lacks by older ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import retype
from slimc.io.schemas import schema_of
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable
from slimc.passes.base import PassResult
from slimc.passes.target import Target
from slimc.remarks import applied

MADE_BY = "legalize"


@dataclass(frozen=True)
class _Site:
    """A node in whose place others come: the last of them takes its name and results."""

    editor: Editor
    node: Node

    @property
    def dtype(self) -> DType:
        kind = self.editor.type_of(self.node.inputs[0])
        return kind.dtype if isinstance(kind, TensorType) else DType.F32

    def attr(self, name: str, default: int | float) -> float:
        value = self.node.attrs.get(name, default)
        return float(value) if isinstance(value, (int, float)) else float(default)

    def operand(self, i: int) -> str:
        return self.node.inputs[i] if i < len(self.node.inputs) else ""

    def constant(self, value: object, dtype: DType | None = None) -> str:
        array = np.asarray(value, (dtype or self.dtype).numpy)
        return self.editor.add_constant(array, f"{self.node.name}.c")

    def add(self, op: str, *inputs: str, **attrs: Attr) -> str:
        """Add a node before this one and return its result."""
        name = f"{self.node.name}.{op}"
        return self.editor.add(op, inputs, attrs=attrs, name=name, near=self.node.name)[0]

    def become(self, op: str, *inputs: str, **attrs: Attr) -> None:
        """Let the node be another operator."""
        results = self.node.outputs[:1]
        self.editor.update(self.node.name, op=op, inputs=inputs, outputs=results, attrs=attrs)


def _hard_swish(site: _Site) -> None:
    """HardSwish is x * HardSigmoid(x), with slope 1/6 and offset 1/2."""
    x = site.operand(0)
    site.become("Mul", x, site.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _gelu(site: _Site) -> None:
    """Gelu is x / 2 * (1 + erf(x / sqrt(2))), or its approximation by tanh."""
    x = site.operand(0)
    if site.node.attrs.get("approximate") == b"tanh":
        square = site.add("Mul", x, x)
        factor = site.add("Add", site.add("Mul", square, site.constant(0.044715)), site.constant(1))
        inner = site.add("Mul", site.add("Mul", x, site.constant(math.sqrt(2 / math.pi))), factor)
        curve = site.add("Tanh", inner)
    else:
        curve = site.add("Erf", site.add("Mul", x, site.constant(math.sqrt(0.5))))
    half = site.add("Mul", x, site.constant(0.5))
    site.become("Mul", half, site.add("Add", curve, site.constant(1)))


def _layer_norm(site: _Site) -> None:
    """LayerNormalization: d = x - mean(x), y = d / sqrt(mean(d * d) + eps) * scale + bias.

    The squares of f16 numbers overflow, so they are taken in f32.
    """
    x, half = site.operand(0), site.dtype is DType.F16
    kind = site.editor.type_of(x)
    axis = int(site.attr("axis", -1))
    if axis >= 0:
        rank = len(kind.shape) if isinstance(kind, TensorType) and kind.shape is not None else axis
        axis -= rank
    axes = site.constant(range(axis, 0), DType.I64)
    single = site.add("Cast", x, to=DType.F32.code) if half else x
    apart = site.add("Sub", single, site.add("ReduceMean", single, axes))
    variance = site.add("ReduceMean", site.add("Mul", apart, apart), axes)
    dtype = DType.F32 if half else site.dtype
    epsilon = site.constant(site.attr("epsilon", 1e-5), dtype)
    y = site.add("Div", apart, site.add("Sqrt", site.add("Add", variance, epsilon)))
    if half:
        y = site.add("Cast", y, to=DType.F16.code)
    if site.operand(2):
        site.become("Add", site.add("Mul", y, site.operand(1)), site.operand(2))
    else:
        site.become("Mul", y, site.operand(1))


def _reciprocal(site: _Site) -> None:
    """Reciprocal is 1 / x."""
    site.become("Div", site.constant(1), site.operand(0))


def _xor(site: _Site) -> None:
    """Xor is Not(Equal)."""
    site.become("Not", site.add("Equal", site.operand(0), site.operand(1)))


WAYS: Mapping[str, Callable[[_Site], None]] = {
    "Gelu": _gelu,
    "HardSwish": _hard_swish,
    "LayerNormalization": _layer_norm,
    "Reciprocal": _reciprocal,
    "Xor": _xor,
}


def decompose(graph: Graph, target: Target, ops: OpTable) -> PassResult:
    """Express what the target lacks, and we know how to, by operators it has.

    It lacks what `target.decompose` names, and what is newer than its last opset.
    """
    editor = Editor(graph, made_by=MADE_BY)
    remarks = []
    for node in graph.nodes:
        way = WAYS.get(node.kind)
        lacking = node.kind in target.decompose or schema_of(node, target.opset_max) is None
        if way is None or not lacking or any(node.outputs[1:]):
            continue
        way(_Site(editor, node))
        remarks.append(applied(node.name, f"{node.op} expressed by older operators"))
    if not editor.changed:
        return PassResult(graph)
    return PassResult(retype(editor.done(), ops), tuple(remarks))
