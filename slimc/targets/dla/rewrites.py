"""Express operators that DLA lacks by its layers, on maps of fixed sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimc.analysis.shapes import retype
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.op import OpTable
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.result import PassResult
from slimc.targets.dla.maps import Way
from slimc.targets.dla.products import before_reshape, finish, flattened, moved, product
from slimc.targets.dla.windows import cropped, global_pool, reduce_mean, wide_max
from slimc.targets.express.decompose import decompose
from slimc.targets.express.old_node import OldNode
from slimc.targets.target import Target

MADE_BY = "suit-target"
SIX = 6.0  # DLA clips from 0 to a number from 1 on


def suit_dla(graph: Graph, target: Target, ops: OpTable) -> PassResult:
    """Put layers of DLA in the place of what it lacks: the same values up to rounding.

    Means over a map become pools, or a convolution of each channel where that is too large for a
    window; products with constant matrices become convolutions, and what follows them element by
    element stays on maps; Flatten, Squeeze and Unsqueeze become Reshape. It comes before scales are
    chosen, since each value needs a range.
    Source: NVIDIA Deep-Learning-Accelerator-SW, operators/README.md.
    """
    if graph.records:
        said = note("scales are chosen already: operators stay as they are")
        return PassResult(graph, (said,))
    older = decompose(graph, target, ops)
    editor = Editor(older.graph, made_by=MADE_BY)
    remarks: list[Remark] = []
    for node in older.graph.nodes:
        way = WAYS.get(node.kind)
        old = OldNode(editor, editor.node(node.name), {}, [])
        if way is None or old.dtype not in (DType.F32, DType.F16):
            continue
        if why := way(old):
            remarks.append(skipped(node.name, f"{node.op} stays: {why}"))
        elif editor.node(node.name) is not old.node:
            remarks.append(applied(node.name, _told(old)))
    made = retype(editor.finish(), ops) if editor.changed else older.graph
    return PassResult(made, (*older.remarks, *remarks))


def _told(old: OldNode) -> str:
    own = old.editor.node(old.node.name)
    added = [old.editor.node(name) for name in old.added]
    before = [node.op for node in added if own.outputs[0] not in node.inputs]
    kinds = [*before, own.op, *(node.op for node in added if own.outputs[0] in node.inputs)]
    if kinds == [old.node.op, "Reshape"]:
        return f"{own.op} comes before the Reshape of its data"
    return f"{old.node.op} expressed by {', '.join(kinds)}"


def _hard_swish(old: OldNode) -> str:
    """HardSwish is x * clip(x + 3, 0, 6) / 6."""
    x, rows = before_reshape(old)
    gate = _clipped(old, old.add("Add", x, old.constant(SIX / 2)))
    finish(old, rows, "Mul", old.add("Mul", x, gate), old.constant(1 / SIX))
    return ""


def _hard_sigmoid(old: OldNode) -> str:
    """HardSigmoid is clip(6 alpha x + 6 beta, 0, 6) / 6."""
    (x, rows), slope = before_reshape(old), old.number("alpha", 0.2)
    if abs(SIX * slope - 1) > 1e-6:  # 1/6 is written with that many digits
        x = old.add("Mul", x, old.constant(SIX * slope))
    gate = _clipped(old, old.add("Add", x, old.constant(SIX * old.number("beta", 0.5))))
    finish(old, rows, "Mul", gate, old.constant(1 / SIX))
    return ""


def _clipped(old: OldNode, value: str) -> str:
    return old.add("Clip", value, old.constant(0), old.constant(SIX))


def _swish(old: OldNode) -> str:
    """Swish is x * sigmoid(alpha x)."""
    (x, rows), alpha = before_reshape(old), old.number("alpha", 1)
    inner = x if alpha == 1 else old.add("Mul", x, old.constant(alpha))
    finish(old, rows, "Mul", x, old.add("Sigmoid", inner))
    return ""


def _divided(old: OldNode) -> str:
    """Multiply by 1 / c."""
    divisor = old.array(1)
    if divisor is None or not divisor.all() or not np.isfinite(divisor).all():
        return "its divisor is no constant other than 0"
    old.become("Mul", old.operand(0), old.constant(1 / divisor))
    return ""


def _negated(old: OldNode) -> str:
    """Multiply by -1."""
    old.become("Mul", old.operand(0), old.constant(-1))
    return ""


WAYS: Mapping[str, Way] = {
    "GlobalAveragePool": global_pool("AveragePool"),
    "GlobalMaxPool": global_pool("MaxPool"),
    "ReduceMean": reduce_mean,
    "MaxPool": wide_max,
    "ConvTranspose": cropped,
    "Gemm": product,
    "MatMul": product,
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), flattened),
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Softmax"), moved),
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "Swish": _swish,
    "Div": _divided,
    "Neg": _negated,
}
