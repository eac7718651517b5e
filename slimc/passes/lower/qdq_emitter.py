"""Write Q/DQ nodes for the records of a graph, each quantized value once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph, Node, Quantization
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable, Weighted
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.rewrite.summed import Bias, bias_behind
from slimc.targets.target import Placement

_ALMOST_HALF = 0.49  # of a step: rounds to the integer before
# Of a bias in steps of its scale: the 32-bit sum that it starts has half its range left.
MAX_BIAS_STEPS = float(np.iinfo(np.int32).max) / 2


@dataclass(frozen=True)
class _Dequantized:
    """What the DQ of a value gives. The record is held, so that its id stays its own."""

    record: Quantization
    real: str


class Emitter:
    """Collects Q/DQ nodes for a graph with records, in the style of a placement.

    A value is quantized once, whoever reads its integers.
    """

    def __init__(self, graph: Graph, ops: OpTable, placement: Placement, made_by: str) -> None:
        self.graph = graph
        self.ops = ops
        self.placement = placement
        self._editor = Editor(graph, made_by=made_by)
        self._dequantized: dict[tuple[str, int], _Dequantized] = {}
        self._constants: dict[tuple[int, DType], tuple[Quantization, str, str]] = {}

    def finish(self) -> Graph:
        """Make the graph; its records are used up."""
        return replace(self._editor.finish(), records={})

    def leave_float(self, node: Node) -> None:
        """Take back that a node is to run in integers."""
        self._editor.update(node.name, integer=False)

    def quantize_results(self, node: Node) -> None:
        """Let all that reads a result of `node` read its integers; graph outputs too."""
        for value in node.outputs:
            record = self.graph.records.get(value)
            if record is None:
                continue
            source = value
            if self._editor.is_output(value):
                source = self._rename_output(node.name, value)
            quantized = self._quantize(source, value, record, node.name)
            real = self._dequantize(quantized, value, record, node.name, value != source)
            if source == value:
                maker = self._editor.producer(quantized)
                self._editor.redirect(value, real, keep=[maker.name] if maker else [])
            self._dequantized[value, id(record)] = _Dequantized(record, real)

    def quantize_operand(self, node: Node, index: int) -> None:
        """Let an operand of `node`, constant or computed, read its integers."""
        value = node.inputs[index]
        self._read_integers(node, index, value, self.graph.records[value])

    def quantize_weight(self, node: Node, weighted: Weighted) -> None:
        """Let the weight of `node` read its integers, and where the target wants it the bias."""
        value = node.inputs[weighted.weight]
        record = self.graph.records[value]
        bias = self._bias(node, weighted)
        if bias is None:
            self._read_integers(node, weighted.weight, value, record)
            return
        data = self.graph.records[node.inputs[weighted.data]]
        record = fit_bias(record, bias.elements / data.scale)
        self._read_integers(node, weighted.weight, value, record)
        scale = (data.scale * record.scale).astype(np.float32)
        elements = np.broadcast_to(bias.elements, scale.shape or bias.elements.shape)
        zero = np.zeros(scale.shape, np.int32)
        axis = 0 if scale.ndim else None
        steps = Quantization(DType.I32, scale, zero, *DType.I32.span, axis=axis)
        real = self._store_constant(bias.reader.inputs[bias.index], elements, steps, node.name)
        self._editor.set_input(bias.reader.name, bias.index, real)

    def dequantize_captured(self) -> Iterator[tuple[Node, str]]:
        """Let bodies read what the integers of a weight stand for, or floats that others read.

        Else the weight would be stored twice. Yield the nodes whose bodies read integers, with the
        weights.
        """
        for node in self.graph.nodes:
            for value in dict.fromkeys(v for body in node.bodies for v in body.captured):
                record, array = self.graph.records.get(value), self.graph.array(value)
                if record is None or array is None:
                    continue
                if floats := self._floats_of(value):
                    self._editor.rename_captures(node.name, {value: floats})
                    continue
                dequantized = self._dequantized.get((value, id(record)))
                if dequantized is None:
                    real = self._store_constant(value, array, record, node.name)
                    dequantized = self._dequantized[value, id(record)] = _Dequantized(record, real)
                self._editor.rename_captures(node.name, {value: dequantized.real})
                yield node, value

    # --- inside ------------------------------------------------------------------------------

    def _bias(self, node: Node, weighted: Weighted) -> Bias | None:
        """Return the constant bias of a contraction that is to be stored in integers."""
        if self.placement.bias == "float":
            return None
        index = weighted.bias
        if index is not None and index < len(node.inputs) and node.inputs[index]:
            array = self.graph.array(node.inputs[index])
            if array is None or any(size != 1 for size in array.shape[:-1]):
                return None
            if not np.isfinite(array).all():
                return None  # -inf masks a channel, and is no integer
            bias = Bias(node, index, array.astype(np.float32).reshape(-1))
        else:
            added = bias_behind(self.graph, self.ops, node, weighted)
            if added is None or node.outputs[0] in self.graph.records:
                return None
            bias = added
        scale = self.graph.records[node.inputs[weighted.weight]].scale
        fits = not scale.ndim or bias.elements.size in (1, scale.size)
        return bias if fits else None

    def _floats_of(self, value: str) -> str:
        """Return the name under which a node outside of bodies reads the floats of a constant."""
        constant = self.graph.constants[value]
        names = (name for name, other in self.graph.constants.items() if other is constant)
        return next((name for name in names if self._is_read_outside(name)), "")

    def _is_read_outside(self, value: str) -> bool:
        users = self._editor.users(value)
        return self._editor.is_output(value) or any(value in user.inputs for user in users)

    def _rename_output(self, node: str, output: str) -> str:
        """Give the result of a node that is a graph output another name: the DQ gets this one."""
        name = self._editor.fresh_name(f"{output}.float")
        outputs = self._editor.node(node).outputs
        self._editor.update(node, outputs=tuple(name if o == output else o for o in outputs))
        self._editor.set_type(name, self.graph.type_of(output))
        return name

    def _read_integers(self, node: Node, index: int, value: str, record: Quantization) -> None:
        dequantized = self._dequantized.get((value, id(record)))
        if dequantized is None:
            array = self.graph.array(value)
            if array is None:
                source = self.graph.producers.get(value)
                near = source.name if source is not None else node.name
                quantized = self._quantize(value, value, record, near)
                real = self._dequantize(quantized, value, record, near)
            else:
                real = self._store_constant(value, array, record, node.name)
            dequantized = self._dequantized[value, id(record)] = _Dequantized(record, real)
        self._editor.set_input(node.name, index, dequantized.real)

    def _store_constant(
        self, value: str, array: np.ndarray, record: Quantization, near: str
    ) -> str:
        """Return the result of a DQ on a constant, stored as the target wants it."""
        if self.placement.weights == "rounded":
            return self._round_weight(value, array, record)
        if self.placement.weights == "fp32-qdq" and record.dtype is not DType.I32:
            integers = self._quantize(
                self._clip_to_integers(value, array, record), value, record, near
            )
        else:
            integers = self._editor.add_constant(record.quantize(array), f"{value}.q")
        return self._dequantize(integers, value, record, near)

    def _clip_to_integers(self, value: str, array: np.ndarray, record: Quantization) -> str:
        """Return a constant whose numbers Q maps to the integers in use; itself if it is one.

        A runtime's Q knows the ends of the type alone: it makes -128 of what is to be -127.
        """
        scale, zero = record.spread(array.shape)
        low = (record.low - _ALMOST_HALF - zero) * scale
        high = (record.high + _ALMOST_HALF - zero) * scale
        inside = np.clip(array, low, high).astype(array.dtype)
        if np.array_equal(inside, array):
            return value
        return self._editor.add_constant(inside, f"{value}.clipped")

    def _round_weight(self, value: str, array: np.ndarray, record: Quantization) -> str:
        """Return a constant of floats that are numbers of the grid; it keeps its name if it can."""
        numbers = record.nearest(array).astype(array.dtype)
        if self._editor.count_users(value) > 1 or self._editor.is_output(value):
            return self._editor.add_constant(numbers, f"{value}.rounded")
        self._editor.set_constant(value, numbers)
        return value

    def _quantize(self, source: str, hint: str, record: Quantization, near: str) -> str:
        """Add a Q on `source`, named after `hint`; return its result."""
        scale, zero = self._parameters(hint, record)
        return self._add(
            QUANTIZE, f"{hint}.quantize", (source, scale, zero), f"{hint}.q", record, near
        )

    def _dequantize(
        self, integers: str, hint: str, record: Quantization, near: str, as_hint: bool = False
    ) -> str:
        """Add a DQ on `integers`, named after `hint`; its result is called `hint` if asked."""
        scale, zero = self._parameters(hint, record)
        result = hint if as_hint else f"{hint}.dq"
        return self._add(
            DEQUANTIZE, f"{hint}.dequantize", (integers, scale, zero), result, record, near
        )

    def _add(
        self,
        op: str,
        name: str,
        inputs: tuple[str, str, str],
        result: str,
        record: Quantization,
        near: str,
    ) -> str:
        dtype = record.dtype if op == QUANTIZE else self._editor.dtype_of(inputs[1]) or DType.F32
        shape = self._editor.shape_of(inputs[0])
        if result not in self.graph.outputs:
            result = self._editor.fresh_name(result)
        (output,) = self._editor.add(
            op,
            inputs,
            outputs=[result],
            types=[TensorType(dtype, shape)],
            attrs=_qdq_attrs(record),
            name=name,
            near=near,
        )
        return output

    def _parameters(self, hint: str, record: Quantization) -> tuple[str, str]:
        """Return the constants of scale (of the float type of the value) and zero point."""
        dtype = self.graph.dtype_of(hint) or DType.F32
        cached, scale, zero = self._constants.get((id(record), dtype), (None, "", ""))
        if cached is None:
            scale = self._editor.add_constant(record.scale.astype(dtype.numpy), f"{hint}.scale")
            zero = self._editor.add_constant(record.zero_point, f"{hint}.zero")
            self._constants[id(record), dtype] = record, scale, zero
        return scale, zero


def _qdq_attrs(record: Quantization) -> dict[str, Attr]:
    """Return the attributes of a Q or DQ."""
    if record.axis is None:
        return {}
    return {"axis": record.axis, **({"block_size": record.block} if record.block else {})}


def fit_bias(record: Quantization, bias: np.ndarray) -> Quantization:
    """Raise the scales of a weight where the bias, over the data's scale, would not fit 32 bits.

    That is so where a channel of weights is all but zero: then its scale says little anyway.
    """
    least = np.abs(bias).astype(np.float64) / MAX_BIAS_STEPS
    least = np.broadcast_to(
        least if record.scale.ndim else least.max(initial=0), record.scale.shape
    )
    if (least <= record.scale).all():
        return record
    return replace(record, scale=np.maximum(record.scale, least).astype(np.float32))
