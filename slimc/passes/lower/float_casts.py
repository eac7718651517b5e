"""Change the float type of nodes, with a Cast wherever two types meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from slimc.io.element_types import accepts_dtype
from slimc.ir.editor import Editor, map_bodies, substitute
from slimc.ir.graph import Graph, Node, Quantization, is_f32
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Call, Op, OpTable

FLOAT32 = DType.F32


class Borders:
    """Lets nodes of an f32 graph compute in other float types.

    kinds: node -> its float type; nodes that are not named stay in f32. ends: the type of graph
    inputs and outputs. A value is cast once to a type, whoever reads it; records of a value go
    along with it, their scales as numbers of its type. Types follow from the operators' rows.
    """

    def __init__(
        self, graph: Graph, ops: OpTable, kinds: Mapping[str, DType], ends: DType = FLOAT32
    ) -> None:
        self.graph = graph
        self.ops = ops
        self.kinds = kinds
        self.ends = ends
        self.native: dict[str, str] = {}  # value of `graph` -> its name in the type it is made in
        self._editor = Editor(graph, made_by="lower-float16")
        self._dtypes: dict[
            str, DType
        ] = {}  # value -> the type it is made in, where that is not f32
        self._names: dict[tuple[str, DType], str] = {}
        self._records: dict[tuple[int, DType], Quantization] = {}

    def lower(self) -> Graph:
        """Make the graph."""
        for value in self.graph.inputs if self.ends is not FLOAT32 else ():
            if is_f32(self.graph, value) and value not in self.graph.outputs:
                self._set_made(value, self.ends)
        for node in self.graph.nodes:
            row = self.ops.get(node.kind)
            if node.name in self.kinds and row is not None:
                self._lower(node, row, self.kinds[node.name])
            else:
                self._read_single(node)
        return self._editor.finish() if self._editor.changed else self.graph

    def _read_single(self, node: Node) -> None:
        """Let a node, and what is in its bodies, read and make f32."""
        mapping = {v: self._in_type(v, FLOAT32, node) for v in node.reads if v in self._dtypes}
        if mapping:
            attrs = map_bodies(node, lambda body: substitute(body, mapping))
            inputs = tuple(mapping.get(v, v) for v in node.inputs)
            self._editor.update(node.name, inputs=inputs, attrs=attrs)
        for value in node.outputs:
            if is_f32(self.graph, value):
                self._match_io_type(node, value, FLOAT32)

    def _lower(self, node: Node, row: Op, dtype: DType) -> None:
        accepted = accepts_dtype(node, dtype)
        makes_single = any(is_f32(self.graph, v) for v in node.outputs)
        if accepted is None:
            return
        attrs = dict(node.attrs)
        inputs = list(node.inputs)
        if isinstance(row.dtypes, str):  # an attribute names the type of the result
            attrs |= {row.dtypes: dtype.code} if makes_single else {}
            inputs = [self._native_name(v) for v in inputs]
        else:
            for i, value in enumerate(inputs):
                if is_f32(self.graph, value):
                    inputs[i] = self._in_type(value, dtype if accepted[0][i] else FLOAT32, node)
        self._editor.update(node.name, inputs=tuple(inputs), attrs=attrs)
        self._retype(self._editor.node(node.name), row)

    def _retype(self, node: Node, row: Op) -> None:
        """Note of what type the results of a lowered node are now."""
        types = tuple(self._editor.type_of(v) if v else None for v in node.inputs)
        values = tuple(self._editor.array(v) if v else None for v in node.inputs)
        call = Call(node.op, node.attrs, types, values, len(node.outputs))
        for value, dtype in zip(node.outputs, row.result_dtypes(call), strict=True):
            if value and dtype is not None and dtype.is_float and is_f32(self.graph, value):
                self._set_made(value, dtype)
                self._match_io_type(node, value, dtype)

    def _set_made(self, value: str, dtype: DType) -> None:
        if dtype is FLOAT32:
            return
        self._dtypes[value] = dtype
        self._editor.set_type(value, TensorType(dtype, self.graph.shape_of(value)))
        self._carry_record(value, value, dtype)
        self.native[value] = value

    def _match_io_type(self, node: Node, value: str, dtype: DType) -> None:
        """Let a graph output have the type of the ends."""
        if value not in self.graph.outputs or dtype is self.ends:
            return
        name = self._editor.fresh_name(f"{value}.{dtype.text}")
        outputs = self._editor.node(node.name).outputs
        self._editor.update(node.name, outputs=tuple(name if o == value else o for o in outputs))
        self._editor.set_type(name, TensorType(dtype, self.graph.shape_of(value)))
        self._carry_record(value, name, dtype)
        self._dtypes[value] = dtype
        self._names[value, dtype] = self.native[value] = name
        self._names[value, self.ends] = self._cast(name, value, self.ends, node.name, value)

    def _native_name(self, value: str) -> str:
        """Return a value in the type it was made in."""
        return self.native.get(value, value)

    def _in_type(self, value: str, dtype: DType, reader: Node) -> str:
        """Return a value as a type: as it is made, or by a Cast, or as another constant."""
        if dtype is self._dtypes.get(value, FLOAT32):
            return self._native_name(value)
        name = self._names.get((value, dtype))
        if name is None:
            array = self.graph.array(value)
            if array is not None:
                name = self._constant(value, array, dtype)
            else:
                near = self.graph.producers.get(value, reader).name
                name = self._cast(self._native_name(value), value, dtype, near)
            self._names[value, dtype] = name
        return name

    def _constant(self, value: str, array: np.ndarray, dtype: DType) -> str:
        """Add a constant in another type; the integers that it stands for stay the same."""
        record = self.graph.records.get(value)
        if record is not None:
            integers = record.quantize(array)
            array = self._recorded(record, dtype).dequantize(integers)
        name = self._editor.add_constant(round_to_float(array, dtype), f"{value}.{dtype.text}")
        self._carry_record(value, name, dtype)
        return name

    def _cast(self, name: str, value: str, to: DType, near: str, result: str = "") -> str:
        """Add a Cast of `value`, which is called `name` where it is made."""
        (output,) = self._editor.add(
            "Cast",
            [name],
            outputs=[result or self._editor.fresh_name(f"{name}.{to.text}")],
            types=[TensorType(to, self.graph.shape_of(value))],
            attrs={"to": to.code},
            name=f"{name}.to_{to.text}",
            near=near,
        )
        self._carry_record(value, output, to)
        return output

    def _carry_record(self, value: str, name: str, dtype: DType) -> None:
        record = self.graph.records.get(value)
        if record is not None:
            self._editor.set_record(name, self._recorded(record, dtype))

    def _recorded(self, record: Quantization, dtype: DType) -> Quantization:
        """Return a record with scales that are numbers of a float type: one for all its values."""
        key = id(record), dtype
        if dtype is not FLOAT32 and key not in self._records:
            scale = round_to_float(record.scale, dtype).astype(np.float32)
            self._records[key] = replace(record, scale=scale)
        return self._records.get(key, record)


def round_to_float(array: np.ndarray, dtype: DType) -> np.ndarray:
    """Round to a float type; what is not zero stays so: an epsilon must keep a division from zero.

    The least f16 is 6e-8. bf16 reaches as far down as f32.
    """
    near: np.ndarray = array.astype(dtype.numpy)
    lost = (near == 0) & (array != 0)
    if dtype is not DType.F16 or not lost.any():
        return near
    least = np.copysign(np.finfo(np.float16).smallest_subnormal, array)
    return np.where(lost, least, near).astype(np.float16)
