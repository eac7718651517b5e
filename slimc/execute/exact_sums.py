"""Give integer kernels of onnxruntime weights with which no sum saturates, on any x86."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor, collect_names, map_bodies
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.ops.integer_products import IntegerProduct, products_of
from slimc.ops.qdq import DEQUANTIZE

_HALF = 128  # between s8 and u8: q + 128 with zero point z + 128 is the same number
_OTHER = {DType.I8: DType.U8, DType.U8: DType.I8}


def with_exact_sums(graph: Graph) -> Graph:
    """Let no kernel multiply u8 by s8; exact.

    Without VNNI, onnxruntime adds pairs of such products in 16 bits, which saturate (VPMADDUBSW);
    u8 times u8 and s8 times s8 are summed in 32 bits on every processor. A weight q with zero point
    z is stored as q + 128 with z + 128: stored weights of 8 bits behind DQ, which may become the
    weights of a kernel, and weights of operators that take integers. onnxruntime has an option for
    it (session.x64quantprecision); it leaves kernels alone where nothing is optimized, makes
    operators of s8 data without kernels, and fails on a weight that it meets twice.
    """
    return _Shifts(graph, collect_names(graph), {}, {}).exact()


class _Shifts:
    """A graph, or a body that reads the constants and types of the graphs around it."""

    def __init__(
        self,
        graph: Graph,
        names: set[str],
        constants: Mapping[str, Constant],
        types: Mapping[str, ValueType | None],
    ) -> None:
        self._editor = Editor(graph, names)
        self._names = names
        self._constants = {**constants, **graph.constants}
        self._types = {**types, **graph.types, **{v: c.type for v, c in graph.constants.items()}}
        self._shifted: dict[str, str] = {}

    def exact(self) -> Graph:
        editor = self._editor
        for node in editor.graph.nodes:
            if node.op == DEQUANTIZE and self._is_stored_signed(node):
                self._shift(node.name, 0, 2)
            for product in products_of(node.kind):
                if self._may_saturate(node, product):
                    self._shift(node.name, product.weight, product.zero_point)
            attrs = map_bodies(node, self._inside)
            if any(attrs[key] is not node.attrs[key] for key in attrs):
                editor.update(node.name, attrs=attrs)
        return editor.finish(keep_dead=True)

    def _inside(self, body: Graph) -> Graph:
        return _Shifts(body, self._names, self._constants, self._types).exact()

    def _is_stored_signed(self, node: Node) -> bool:
        """Return whether a DQ reads s8 constants with one scale in all, or one per channel."""
        stored = all(value in self._constants for value in node.inputs if value)
        blocked = node.attrs.get("block_size")
        return stored and not blocked and self._dtype(node.inputs[0]) is DType.I8

    def _may_saturate(self, node: Node, product: IntegerProduct) -> bool:
        """Return whether the first factor of the kernel is u8, and the second s8."""
        data, weight = (self._dtype(node.inputs[i]) for i in (product.data, product.weight))
        if data is None or data.is_float:
            data = DType.U8  # it is measured in each run
        first, second = (weight, data) if product.first else (data, weight)
        return first is DType.U8 and second is DType.I8

    def _dtype(self, value: str) -> DType | None:
        kind = self._types.get(value)
        return kind.dtype if isinstance(kind, TensorType) else None

    def _shift(self, name: str, weight: int, zero: int) -> None:
        """Let a node read its weight and zero point in the other type of 8 bits."""
        node = self._editor.node(name)
        dtype = self._dtype(node.inputs[weight])
        if dtype is None:
            return
        other = _OTHER[dtype]
        inputs = [*node.inputs, *[""] * (zero + 1 - len(node.inputs))]
        inputs[weight] = self._in_other(inputs[weight], other, node)
        if inputs[zero]:
            inputs[zero] = self._in_other(inputs[zero], other, node)
        else:
            inputs[zero] = self._absent(node, other)
        self._editor.update(node.name, inputs=tuple(inputs))

    def _absent(self, node: Node, other: DType) -> str:
        """Add the zero point that stands for none: of a DQ in the shape of its scale."""
        scale = self._constants.get(node.inputs[1]) if node.op == DEQUANTIZE else None
        number = _HALF if other is DType.U8 else -_HALF
        array = np.full(() if scale is None else scale.shape, number, other.numpy)
        return self._editor.add_constant(array, f"{node.name}.zero_point")

    def _in_other(self, value: str, other: DType, node: Node) -> str:
        """Return the value that holds the elements of another, 128 up or down, in the other type.

        A body gets a constant of its own.
        """
        if value in self._shifted:
            return self._shifted[value]
        constant, hint = self._constants.get(value), f"{value}.{other.text}"
        if constant is None:
            return self._computed(value, other, hint, node)
        array = constant.array.view(np.uint8) ^ np.uint8(_HALF)
        self._shifted[value] = self._editor.add_constant(Constant(array.view(other.numpy)), hint)
        return self._shifted[value]

    def _computed(self, value: str, other: DType, hint: str, node: Node) -> str:
        kind = self._types.get(value)
        shape = kind.shape if isinstance(kind, TensorType) else None
        number = np.array(_HALF if other is DType.U8 else -_HALF, np.int32)
        half = self._editor.add_constant(number, "half")
        for op, inputs, attrs, dtype in (
            ("Cast", [value], {"to": DType.I32.code}, DType.I32),
            ("Add", ["", half], {}, DType.I32),
            ("Cast", [""], {"to": other.code}, other),
        ):
            (value,) = self._editor.add(
                op,
                [operand or value for operand in inputs],
                types=[TensorType(dtype, shape)],
                attrs=attrs,
                name=hint,
                near=node.name,
            )
        return value
