"""Floats of 16 bits, computed as hardware does: each node in f32, its results rounded.

onnxruntime has no kernels for them on CPUs. In f16 it computes whole chains of nodes in f32 and
rounds nothing between them, so that nothing overflows and all looks exact; in bf16 it knows few
operators.
"""

from __future__ import annotations

from slimc.io.element_types import accepts_dtype
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType

NARROW = (DType.F16, DType.BF16)
_NAMED = ("to", "dtype", "output_dtype")  # attributes that name the type of results


def is_narrow(kind: ValueType | None) -> bool:
    """Tell whether a type is a tensor of 16-bit floats."""
    return isinstance(kind, TensorType) and kind.dtype in NARROW


def has_narrow(graph: Graph) -> bool:
    """Tell whether a graph, its bodies left aside, has values of 16-bit floats."""
    kinds = (*graph.types.values(), *(constant.type for constant in graph.constants.values()))
    return any(is_narrow(kind) for kind in kinds)


def with_roundings(graph: Graph) -> Graph:
    """Let every node of 16-bit floats compute in f32, and round what it makes.

    Left to onnxruntime: nodes that have bodies or stand in one, operators without a schema, and
    those that make floats of nothing.
    """
    if not has_narrow(graph):
        return graph
    editor = Editor(graph)
    wide: dict[str, str] = {}
    for node in graph.nodes:
        if _is_rounded(graph, node):
            _round(editor, node, wide)
    return editor.finish(keep_dead=True)


def _is_rounded(graph: Graph, node: Node) -> bool:
    narrow = [i for i, value in enumerate(node.inputs) if value and is_narrow(graph.type_of(value))]
    taken = accepts_dtype(node, DType.F32)
    if not narrow or taken is None or node.bodies or any(key in node.attrs for key in _NAMED):
        return False
    return all(taken[0][i] for i in narrow)


def _round(editor: Editor, node: Node, wide: dict[str, str]) -> None:
    """Put Casts to f32 before a node, each value once, and Casts back behind it."""
    for i, value in enumerate(node.inputs):
        kind = editor.tensor(value)
        if kind is None or not is_narrow(kind):
            continue
        if value not in wide:
            wide[value] = _cast(editor, value, DType.F32, editor.fresh_name(f"{value}.wide"), node)
            editor.set_type(wide[value], TensorType(DType.F32, kind.shape))
        editor.set_input(node.name, i, wide[value])
    for i, value in enumerate(node.outputs):
        kind = editor.tensor(value)
        if kind is None or not is_narrow(kind):
            continue
        made = editor.fresh_name(f"{value}.unrounded")
        outputs = editor.node(node.name).outputs
        editor.update(node.name, outputs=(*outputs[:i], made, *outputs[i + 1 :]))
        editor.set_type(made, TensorType(DType.F32, kind.shape))
        _cast(editor, made, kind.dtype, value, node)


def _cast(editor: Editor, value: str, to: DType, result: str, near: Node) -> str:
    return editor.add(
        "Cast", [value], outputs=[result], attrs={"to": to.code}, name=f"{value}.cast",
        near=near.name,
    )[0]  # fmt: skip
