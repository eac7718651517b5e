"""Give integer kernels of onnxruntime weights with which no sum saturates, on any x86."""

from __future__ import annotations

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.integer_products import INTEGER_PRODUCTS, IntegerProduct

DEQUANTIZE = "DequantizeLinear"
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
    editor = Editor(graph)
    shifted: dict[str, str] = {}
    for node in graph.nodes:
        product = INTEGER_PRODUCTS.get(node.kind)
        if node.op == DEQUANTIZE and _is_stored_signed(graph, node):
            _shift(editor, node, 0, 2, shifted)
        elif product is not None and _may_saturate(graph, node, product):
            _shift(editor, node, product.weight, product.zero_point, shifted)
    return editor.done(keep_dead=True)


def _is_stored_signed(graph: Graph, node: Node) -> bool:
    """Return whether a DQ reads s8 constants with one scale in all, or one per channel."""
    stored = all(value in graph.constants for value in node.inputs if value)
    return (
        stored
        and not node.attrs.get("block_size")
        and graph.constants[node.inputs[0]].dtype is DType.I8
    )


def _may_saturate(graph: Graph, node: Node, product: IntegerProduct) -> bool:
    """Return whether the first factor of the kernel is u8, and the second s8."""
    data, weight = (_dtype(graph, node.inputs[i]) for i in (product.data, product.weight))
    if data is None or data.is_float:
        data = DType.U8  # it is measured in each run
    first, second = (weight, data) if product.first else (data, weight)
    return first is DType.U8 and second is DType.I8


def _dtype(graph: Graph, value: str) -> DType | None:
    kind = graph.type_of(value)
    return kind.dtype if isinstance(kind, TensorType) else None


def _shift(editor: Editor, node: Node, weight: int, zero: int, shifted: dict[str, str]) -> None:
    """Let a node read its weight and zero point in the other type of 8 bits."""
    kind = editor.type_of(node.inputs[weight])
    if not isinstance(kind, TensorType):
        return
    other = _OTHER[kind.dtype]
    inputs = [*node.inputs, *[""] * (zero + 1 - len(node.inputs))]
    inputs[weight] = _in_other(editor, inputs[weight], other, node, shifted)
    if inputs[zero]:
        inputs[zero] = _in_other(editor, inputs[zero], other, node, shifted)
    else:
        inputs[zero] = _absent(editor, node, other)
    editor.update(node.name, inputs=tuple(inputs))


def _absent(editor: Editor, node: Node, other: DType) -> str:
    """Add the zero point that stands for none: of a DQ in the shape of its scale."""
    shape: tuple[int, ...] = ()
    if node.op == DEQUANTIZE and (scale := editor.constant(node.inputs[1])) is not None:
        shape = scale.shape
    number = _HALF if other is DType.U8 else -_HALF
    return editor.add_constant(np.full(shape, number, other.numpy), f"{node.name}.zero_point")


def _in_other(editor: Editor, value: str, other: DType, node: Node, shifted: dict[str, str]) -> str:
    """Return the value that holds the elements of another, 128 up or down, in the other type."""
    if value in shifted:
        return shifted[value]
    constant, hint = editor.constant(value), f"{value}.{other.text}"
    if constant is not None:
        array = constant.array.view(np.uint8) ^ np.uint8(_HALF)
        shifted[value] = editor.add_constant(Constant(array.view(other.numpy)), hint)
        return shifted[value]
    kind = editor.type_of(value)
    shape = kind.shape if isinstance(kind, TensorType) else None
    half = editor.add_constant(np.array(_HALF if other is DType.U8 else -_HALF, np.int32), "half")
    for op, inputs, attrs, dtype in (
        ("Cast", [value], {"to": DType.I32.code}, DType.I32),
        ("Add", ["", half], {}, DType.I32),
        ("Cast", [""], {"to": other.code}, other),
    ):
        operands = [operand or value for operand in inputs]
        (value,) = editor.add(op, operands, types=[TensorType(dtype, shape)], attrs=attrs,
                              name=hint, near=node.name)  # fmt: skip
    return value
