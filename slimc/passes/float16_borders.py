"""Change the element type of nodes from f32 to f16, with a Cast wherever the two meet."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from slimc.io.element_types import accepts
from slimc.ir.editor import Editor, substitute, with_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.ops.op import Call, Op, OpTable

FLOAT32, FLOAT16 = DType.F32, DType.F16
_SMALLEST = np.finfo(np.float16).smallest_subnormal


class Borders:
    """Lowers all nodes of a graph but those named in `stay`. Graph inputs and outputs stay f32.

    A value is cast once, whoever reads it. Types follow from the operators' rows.
    """

    def __init__(self, graph: Graph, ops: OpTable, stay: Container[str]) -> None:
        self.graph = graph
        self.ops = ops
        self.stay = stay
        self.count = 0  # of nodes lowered
        self._editor = Editor(graph, made_by="lower-float16")
        self._half: dict[str, str] = {}  # value -> its name as f16
        self._casts: dict[str, str] = {}  # f16 value -> its name as f32

    def lowered(self) -> Graph:
        """Make the graph."""
        for node in self.graph.nodes:
            row = self.ops.get(node.kind)
            if node.name in self.stay or row is None:
                self._read_single(node)
            else:
                self._lower(node, row)
        return self._editor.done() if self._editor.changed else self.graph

    def _read_single(self, node: Node) -> None:
        """Let a node, and what is in its bodies, read f32."""
        mapping = {v: self._single(v) for v in node.reads if v in self._casts}
        if mapping:
            attrs = with_bodies(node, lambda body: substitute(body, mapping))
            inputs = tuple(mapping.get(v, v) for v in node.inputs)
            self._editor.update(node.name, inputs=inputs, attrs=attrs)

    def _lower(self, node: Node, row: Op) -> None:
        taken = accepts(node, FLOAT16)
        made = any(self._is_single(v) for v in node.outputs)
        if taken is None or not (made or any(v in self._casts for v in node.inputs)):
            return
        attrs = dict(node.attrs)
        inputs = list(node.inputs)
        if isinstance(row.dtypes, str):  # an attribute names the type of the result
            attrs |= {row.dtypes: FLOAT16.code} if made else {}
            inputs = [self._at_hand(v) for v in inputs]
        else:
            for i, value in enumerate(inputs):
                if value and self._is_single(value):
                    inputs[i] = self._as_half(value, node) if taken[0][i] else self._single(value)
        self.count += 1
        self._editor.update(node.name, inputs=tuple(inputs), attrs=attrs)
        self._retype(self._editor.node(node.name), row)

    def _retype(self, node: Node, row: Op) -> None:
        """Note which results of a lowered node are f16 now."""
        types = tuple(self._editor.type_of(v) if v else None for v in node.inputs)
        values = tuple(self._editor.array(v) if v else None for v in node.inputs)
        call = Call(node.op, node.attrs, types, values, len(node.outputs))
        for value, dtype in zip(node.outputs, row.result_dtypes(call), strict=True):
            if value and dtype is FLOAT16 and self._is_single(value):
                self._make_half(node, value)

    def _make_half(self, node: Node, value: str) -> None:
        shape = _shape(self.graph.type_of(value))
        if value not in self.graph.outputs:
            self._editor.set_type(value, TensorType(FLOAT16, shape))
            self._half[value] = value
            self._casts[value] = ""
            return
        name = self._editor.fresh(f"{value}.f16")
        made = self._editor.node(node.name).outputs
        outputs = tuple(name if o == value else o for o in made)
        self._editor.update(node.name, outputs=outputs)
        self._editor.set_type(name, TensorType(FLOAT16, shape))
        self._half[value], self._casts[value] = name, value
        self._cast(name, FLOAT32, node.name, shape, value)

    def _at_hand(self, value: str) -> str:
        """Return a value in the type it was made in."""
        return self._half[value] if value in self._casts else value

    def _as_half(self, value: str, reader: Node) -> str:
        if value not in self._half:
            array = self.graph.array(value)
            if array is not None:
                self._half[value] = self._editor.add_constant(as_float16(array), f"{value}.f16")
            else:
                source = self.graph.producers.get(value, reader)
                shape = _shape(self.graph.type_of(value))
                self._half[value] = self._cast(value, FLOAT16, source.name, shape)
        return self._half[value]

    def _single(self, value: str) -> str:
        """Return a value as f32."""
        if value not in self._casts:
            return value
        if not self._casts[value]:
            source = self.graph.producers[value]
            shape = _shape(self.graph.type_of(value))
            self._casts[value] = self._cast(value, FLOAT32, source.name, shape)
        return self._casts[value]

    def _cast(
        self,
        value: str,
        to: DType,
        near: str,
        shape: tuple[int | str | None, ...] | None,
        result: str = "",
    ) -> str:
        return self._editor.add(
            "Cast",
            [value],
            outputs=[result or self._editor.fresh(f"{value}.{to.text}")],
            types=[TensorType(to, shape)],
            attrs={"to": to.code},
            name=f"{value}.to_{to.text}",
            near=near,
        )[0]

    def _is_single(self, value: str) -> bool:
        kind = self.graph.type_of(value) if value else None
        return isinstance(kind, TensorType) and kind.dtype is FLOAT32


def as_float16(array: np.ndarray) -> np.ndarray:
    """Round to f16; what is not zero stays so: an epsilon must keep a division from zero."""
    rounded = array.astype(np.float16)
    lost = (rounded == 0) & (array != 0)
    kept: np.ndarray = np.where(lost, np.copysign(_SMALLEST, array), rounded).astype(np.float16)
    return kept


def _shape(kind: ValueType | None) -> tuple[int | str | None, ...] | None:
    return kind.shape if isinstance(kind, TensorType) else None
