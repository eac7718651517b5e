"""Products whose data are quantized at run time, by the range that they have in each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from slimc.analysis.shapes import infer
from slimc.fit.linear import Linear, as_linear
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import DType, Shape, TensorType
from slimc.ops.op import OpTable
from slimc.ops.qdq import DYNAMIC_QUANTIZE, MATMUL_INTEGER
from slimc.remarks import Remark, applied, skipped

_SCALAR = TensorType(DType.F32, ())


def is_dynamic(graph: Graph, ops: OpTable, node: Node) -> bool:
    """Tell whether a product takes integers of a record of its weight, and none of its data."""
    parts = ops.weighted(node)
    if parts is None or not node.integer:
        return False
    data, weight = node.inputs[parts.data], node.inputs[parts.weight]
    return weight in graph.constants and weight in graph.records and data not in graph.records


def emit_dynamic(graph: Graph, ops: OpTable, made_by: str) -> tuple[Graph, list[Remark]]:
    """Let products of measured data and stored weights sum integers.

    x: f32[..,K]; w: f32[K,N] with scales u: f32[N] or f32[];
    q, s, z = integers (u8), scale and zero point of x in this run;
    y = (sum_k (q - z) w.q) * (s * u) + b.
    A value is quantized once for all its readers. onnxruntime makes one kernel of this form, where
    the scale of the data stands first in s * u: DynamicQuantizeMatMul for one reader, else
    MatMulIntegerToFloat. Approximate: x is rounded to 1/255 of its range.
    Source: onnxruntime, dynamic_quantize_matmul_fusion.cc, matmul_integer_to_float.cc.
    """
    nodes = [node for node in graph.nodes if is_dynamic(graph, ops, node)]
    if not nodes:
        return graph, []
    facts = infer(graph, ops)
    emitter = _Emitter(graph, made_by)
    remarks = [emitter.emit(node, as_linear(graph, ops, facts, node)) for node in nodes]
    return emitter.editor.finish(), remarks


class _DynamicInput(NamedTuple):
    """What the node that quantizes a value makes: integers, scale f32[], zero point u8[]."""

    integers: str
    scale: str
    zero: str


class _IntegerWeight(NamedTuple):
    """Constants of a weight: integers [K,N], scale f32[N] or f32[], zero point ("": it is 0)."""

    integers: str
    scale: str
    zero: str


class _Emitter:
    """Rewrites products of a graph, one after the other."""

    def __init__(self, graph: Graph, made_by: str) -> None:
        self.graph = graph
        self.editor = Editor(graph, made_by=made_by)
        self._measured: dict[str, _DynamicInput] = {}

    def emit(self, node: Node, product: Linear | None) -> Remark:
        """Rewrite a product, or leave it in float and say why."""
        reason = "it is no product of two matrices" if product is None else self._reason(product)
        if product is None or reason:
            self.editor.update(node.name, integer=False)
            return skipped(node.name, f"stays in float: {reason}")
        data, weight = self._measure(product), self._store(product)
        ends = (weight.zero,) if weight.zero else ()
        bias = (*node.inputs, "")[product.bias] if product.bias is not None else ""
        result, shape = node.outputs[0], self.graph.shape_of(node.outputs[0])
        sums = self.editor.fresh_name(f"{result}.sums")
        operands = (data.integers, weight.integers, data.zero, *ends)
        self.editor.update(
            node.name, op=MATMUL_INTEGER, inputs=operands, outputs=(sums,), attrs={}, integer=False
        )
        self.editor.set_type(sums, TensorType(DType.I32, shape))
        real = self._add(node, "Cast", (sums,), shape, attrs={"to": DType.F32.code})
        scales = self.graph.records[product.weight].scale.shape
        scale = self._add(node, "Mul", (data.scale, weight.scale), scales)
        scaled = self._add(node, "Mul", (real, scale), shape, "" if bias else result)
        if bias:
            self._add(node, "Add", (scaled, bias), shape, result)
        kind = self.graph.records[product.weight].dtype.text
        return applied(
            node.name, f"runs in integers: u8 data, measured in each run, {kind} weights"
        )

    def _reason(self, product: Linear) -> str:
        """Tell why a product cannot be rewritten; nothing if it can."""
        record = self.graph.records[product.weight]
        if product.groups or product.kernel or product.channel_axis != len(product.result_axes) - 1:
            return "it is no product of two matrices"
        if [label.name for term in product.data_axes[-1] for label in term] != list(product.ins):
            return "its data are transposed"
        if product.is_scaled:
            return "its attributes scale the product or the bias"
        if record.axis is not None and record.scale.size != product.channel_count:
            return "the scales of its weight do not lie along its output channels"
        return ""

    def _measure(self, product: Linear) -> _DynamicInput:
        """Quantize a value by its range in the run, once for all that read it."""
        value = product.data
        if value not in self._measured:
            names = [self.editor.fresh_name(f"{value}.{part}") for part in _DynamicInput._fields]
            types = (
                TensorType(DType.U8, self.graph.shape_of(value)),
                _SCALAR,
                TensorType(DType.U8, ()),
            )
            self.editor.add(
                DYNAMIC_QUANTIZE,
                (value,),
                outputs=names,
                types=types,
                name=f"{value}.quantize",
                near=product.node.name,
            )
            self._measured[value] = _DynamicInput(*names)
        return self._measured[value]

    def _store(self, product: Linear) -> _IntegerWeight:
        """Store the integers of a weight as [K,N]: of each product its own.

        onnxruntime makes u8 of s8 weights by itself, and fails at the second product that reads
        them ("Attempt to replace the existing tensor").
        """
        record, array = (
            self.graph.records[product.weight],
            self.graph.constants[product.weight].array,
        )
        integers, zero = product.matrix(record.quantize(array))[0].T, record.zero_point
        return _IntegerWeight(
            self.editor.add_constant(np.ascontiguousarray(integers), f"{product.weight}.q"),
            self.editor.add_constant(record.scale, f"{product.weight}.scale"),
            self.editor.add_constant(zero, f"{product.weight}.zero") if zero.any() else "",
        )

    def _add(
        self,
        node: Node,
        op: str,
        inputs: Sequence[str],
        shape: Shape | None,
        result: str = "",
        attrs: Mapping[str, Attr] | None = None,
    ) -> str:
        """Add a node that makes f32 beside a product; return its result."""
        name = f"{node.name}.{op.lower()}"
        output = result or self.editor.fresh_name(f"{name}.out")
        self.editor.add(
            op,
            inputs,
            outputs=[output],
            types=[TensorType(DType.F32, shape)],
            attrs=attrs,
            name=name,
            near=node.name,
        )
        return output
