"""Express operators that DLA lacks by its layers, on maps of fixed sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from slimc.analysis.shapes import retype
from slimc.errors import SlimcError
from slimc.io.read import FileHeader
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph
from slimc.ir.types import DType, TensorType, static_shape
from slimc.ops.op import OpTable
from slimc.passes.target import Subject, Target
from slimc.remarks import Remark, applied, note, skipped
from slimc.rewrite.result import PassResult
from slimc.targets.decompose import decompose
from slimc.targets.dla_limits import KERNEL, MAPS, WINDOW
from slimc.targets.old_node import OldNode
from slimc.targets.rules_shapes import static_inputs

MADE_BY = "suit-target"
SIX = 6.0  # DLA clips from 0 to a number from 1 on

Shape = tuple[int, ...]
Way = Callable[[OldNode], str]  # puts others in the place of a node, or says why not


def suit_dla(graph: Graph, target: Target, ops: OpTable) -> PassResult:
    """Put layers of DLA in the place of what it lacks: the same values up to rounding.

    Means over a map become pools, or a convolution of each channel where that is too large for a
    window; products with constant matrices become convolutions, and what follows them element by
    element stays on maps; Flatten, Squeeze and Unsqueeze become Reshape. It comes before scales are
    chosen, since each value needs a range.
    Raises SlimcError "target-refuses" where a size of an input is not a number: what follows would
    be in vain. Source: NVIDIA Deep-Learning-Accelerator-SW, operators/README.md.
    """
    subject = Subject(graph, ops, target, FileHeader(target.opset, target.ir_version))
    for open_ in static_inputs("error")(subject):
        where = f"rule static-inputs of target {target.name}"
        raise SlimcError("target-refuses", open_.message, where, open_.help)
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
    made = retype(editor.done(), ops) if editor.changed else older.graph
    return PassResult(made, (*older.remarks, *remarks))


def _told(old: OldNode) -> str:
    kinds = [old.editor.node(name).op for name in (*old.added, old.node.name)]
    if kinds[0] == old.node.op:
        return f"{kinds[0]} comes before the Reshape of its data"
    return f"{old.node.op} expressed by {', '.join(kinds)}"


# --- pools ----------------------------------------------------------------------------------------


def _global_pool(kind: str) -> Way:
    """Give the way of a pool over whole maps."""

    def way(old: OldNode) -> str:
        shape = _map_of(old, old.operand(0))
        return _pooled(old, kind, shape, shape[2:], shape) if shape else _no_map(old)

    return way


def _reduce_mean(old: OldNode) -> str:
    """Take a mean over height, width or both by a pool."""
    shape = _map_of(old, old.operand(0))
    axes = old.array(1)
    if not shape or axes is None:
        return _no_map(old) if not shape else "its axes are computed"
    gone = {int(axis) % len(shape) for axis in axes.reshape(-1)}
    if not gone or not gone <= {2, 3}:
        return "it reduces other axes than height and width"
    window = tuple(size if axis in gone else 1 for axis, size in enumerate(shape))[2:]
    kept = [size for axis, size in enumerate(shape) if axis not in gone]
    result = tuple(1 if axis in gone else size for axis, size in enumerate(shape))
    return _pooled(old, "AveragePool", shape, window, result if old.whole("keepdims", 1) else kept)


def _pooled(
    old: OldNode, kind: str, shape: Shape, window: Sequence[int], result: Sequence[int]
) -> str:
    """Put pools over `window` in the place of a node: one, or one after another.

    A mean of more than one window is a convolution of each channel with weights 1 / (h w) instead,
    whose result is rounded once, and has a scale of its own.
    """
    steps = _steps(window)
    x, reshapes = old.operand(0), len(result) != len(shape)
    if kind == "AveragePool" and len(steps) != 1 and max(window) <= KERNEL and shape[1] <= MAPS:
        weight = np.full((shape[1], 1, *window), 1 / np.prod(window))
        op, inputs = "Conv", [x, old.constant(weight)]
        attrs: dict[str, Attr] = {"group": shape[1], "kernel_shape": tuple(window)}
    elif not steps:
        sizes = " x ".join(map(str, window))
        return f"no windows of {WINDOW} at most make up {sizes}"
    else:
        for step in steps[:-1]:
            x = old.add(kind, x, kernel_shape=step, strides=step)
        op, inputs = kind, [x]
        attrs = {"kernel_shape": steps[-1], "strides": steps[-1]}
    if reshapes:
        made = old.add(op, *inputs, **attrs)
        _set_shape(
            old, made, (*shape[:2], *(s // w for s, w in zip(shape[2:], window, strict=True)))
        )
        _reshape(old, made, result)
    else:
        old.become(op, *inputs, **attrs)
    return ""


def _steps(window: Sequence[int]) -> list[tuple[int, ...]]:
    """Return windows that make up one, at most 8 wide each; none where a prime of it is wider."""
    if max(window) <= WINDOW:
        return [tuple(window)]
    sides = [_factors(size) for size in window]
    return [*zip_longest(*sides, fillvalue=1)] if all(sides) else []


def _factors(size: int) -> list[int]:
    found: list[int] = []
    while size > 1:
        side = next((one for one in range(WINDOW, 1, -1) if size % one == 0), None)
        if side is None:
            return []
        found.append(side)
        size //= side
    return found or [1]


# --- products -------------------------------------------------------------------------------------


def _product(old: OldNode) -> str:
    """Rows x W + b are a convolution: of the whole map where rows are flattened maps.

    x: f32[n,c*h*w] from [n,c,h,w], W: [c*h*w,o] -> kernel [o,c,h,w], result [n,o,1,1].
    """
    w, rows = old.array(1), _shape_of(old, old.operand(0))
    if w is None or w.ndim != 2 or len(rows) != 2:
        return "only products of rows [N,K] with a constant matrix are convolutions"
    if old.whole("transA", 0):
        return "its rows are transposed"
    w = w if old.whole("transB", 0) else w.T
    bias = _bias(old, w.shape[0])
    if isinstance(bias, str):
        return bias
    x, shape = _as_map(old, old.operand(0), rows)
    kernel = np.ascontiguousarray(w * w.dtype.type(old.number("alpha", 1)))
    inputs = [x, old.constant(kernel.reshape(-1, *shape[1:]))]
    if bias is not None:
        inputs.append(old.constant(bias))
    made = old.add("Conv", *inputs, kernel_shape=shape[2:])
    _set_shape(old, made, (rows[0], w.shape[0], 1, 1))
    _reshape(old, made, (rows[0], w.shape[0]))
    return ""


def _bias(old: OldNode, channels: int) -> np.ndarray | str | None:
    if not old.operand(2):
        return None
    bias = old.array(2)
    if bias is None or bias.size not in (1, channels):
        return "its bias is no constant of one number per column"
    if bias.ndim and bias.shape[-1] != bias.size:
        return "its bias differs from row to row"
    scaled = bias.reshape(-1) * bias.dtype.type(old.number("beta", 1))
    return np.broadcast_to(scaled, (channels,)).copy()


def _as_map(old: OldNode, value: str, rows: Shape) -> tuple[str, Shape]:
    """Return the map that rows are a flattening of, or one of height and width 1."""
    maker = old.editor.producer(value)
    if maker is not None and maker.op == "Reshape":
        shape = _map_of(old, maker.inputs[0])
        if shape and shape[0] == rows[0] and max(shape[2:]) <= KERNEL:
            return maker.inputs[0], shape
    shape = (*rows, 1, 1)
    made = old.add("Reshape", value, old.constant(shape, DType.I64))
    _set_shape(old, made, shape)
    return made, shape


# --- layouts --------------------------------------------------------------------------------------


def _flattened(old: OldNode) -> str:
    """Flatten, Squeeze and Unsqueeze are a Reshape."""
    shape = _shape_of(old, old.node.outputs[0])
    if not shape:
        return "its sizes are not known before it runs"
    _reshape(old, old.operand(0), shape)
    return ""


def _moved(old: OldNode) -> str:
    """Put before a Reshape of a map what works element by element behind it."""
    x, rows = _before_reshape(old)
    if not rows:
        return ""
    attrs = dict(old.node.attrs)
    if old.node.op == "Softmax":
        if (*rows, 1, 1) != _map_of(old, x) or old.whole("axis", -1) not in (1, -1):
            return ""
        attrs["axis"] = 1
    _finish(old, rows, old.node.op, x, *old.node.inputs[1:], **attrs)
    return ""


def _before_reshape(old: OldNode) -> tuple[str, Shape]:
    """Return the map whose Reshape the node alone reads, and the shape of that; else its data."""
    value = old.operand(0)
    maker = old.editor.producer(value)
    if maker is None or maker.op != "Reshape" or not _map_of(old, maker.inputs[0]):
        return value, ()
    alone = old.editor.count_users(value) == 1 and not old.editor.is_output(value)
    return (maker.inputs[0], _shape_of(old, value)) if alone else (value, ())


def _finish(old: OldNode, rows: Shape, op: str, x: str, *inputs: str, **attrs: Attr) -> None:
    """Let the node be an operator on a map, and a Reshape to rows where it stood behind one."""
    if not rows:
        old.become(op, x, *inputs, **attrs)
        return
    made = old.add(op, x, *inputs, **attrs)
    _set_shape(old, made, _map_of(old, _before_reshape(old)[0]))
    _reshape(old, made, rows)


# --- pointwise ------------------------------------------------------------------------------------


def _hard_swish(old: OldNode) -> str:
    """HardSwish is x * clip(x + 3, 0, 6) / 6."""
    x, rows = _before_reshape(old)
    gate = _clipped(old, old.add("Add", x, old.constant(SIX / 2)))
    _finish(old, rows, "Mul", old.add("Mul", x, gate), old.constant(1 / SIX))
    return ""


def _hard_sigmoid(old: OldNode) -> str:
    """HardSigmoid is clip(6 alpha x + 6 beta, 0, 6) / 6."""
    (x, rows), slope = _before_reshape(old), old.number("alpha", 0.2)
    if abs(SIX * slope - 1) > 1e-6:  # 1/6 is written with that many digits
        x = old.add("Mul", x, old.constant(SIX * slope))
    gate = _clipped(old, old.add("Add", x, old.constant(SIX * old.number("beta", 0.5))))
    _finish(old, rows, "Mul", gate, old.constant(1 / SIX))
    return ""


def _clipped(old: OldNode, value: str) -> str:
    return old.add("Clip", value, old.constant(0), old.constant(SIX))


def _swish(old: OldNode) -> str:
    """Swish is x * sigmoid(alpha x)."""
    (x, rows), alpha = _before_reshape(old), old.number("alpha", 1)
    inner = x if alpha == 1 else old.add("Mul", x, old.constant(alpha))
    _finish(old, rows, "Mul", x, old.add("Sigmoid", inner))
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
    "GlobalAveragePool": _global_pool("AveragePool"),
    "GlobalMaxPool": _global_pool("MaxPool"),
    "ReduceMean": _reduce_mean,
    "Gemm": _product,
    "MatMul": _product,
    **dict.fromkeys(("Flatten", "Squeeze", "Unsqueeze"), _flattened),
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Softmax"), _moved),
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "Swish": _swish,
    "Div": _divided,
    "Neg": _negated,
}


# --- shapes ---------------------------------------------------------------------------------------


def _shape_of(old: OldNode, value: str) -> Shape:
    """Return the shape of a value, nothing where a size is not a number."""
    return static_shape(old.type_of(value)) or ()


def _map_of(old: OldNode, value: str) -> Shape:
    shape = _shape_of(old, value)
    return shape if len(shape) == 4 else ()


def _set_shape(old: OldNode, value: str, shape: Shape) -> None:
    old.editor.set_type(value, TensorType(old.dtype, shape))


def _no_map(old: OldNode) -> str:
    return f"'{old.operand(0)}' is no map [N,C,H,W] of fixed sizes"


def _reshape(old: OldNode, value: str, shape: Sequence[int]) -> None:
    """Let the node be a Reshape, which keeps its result."""
    old.become("Reshape", value, old.constant(shape, DType.I64))
