"""Products of rows as convolutions of maps, and what follows them."""

from __future__ import annotations

import numpy as np

from slimc.ir.graph import Attr
from slimc.ir.types import DType
from slimc.targets.dla.limits import KERNEL
from slimc.targets.dla.maps import Shape, make_map, map_of, reshape, set_shape, shape_of
from slimc.targets.express.old_node import OldNode


def product(old: OldNode) -> str:
    """Rows x W + b are a convolution: of the whole map where rows are flattened maps.

    x: f32[n,c*h*w] from [n,c,h,w], W: [c*h*w,o] -> kernel [o,c,h,w], result [n,o,1,1].
    """
    w, rows = old.array(1), shape_of(old, old.operand(0))
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
    made = (rows[0], w.shape[0])
    make_map(old, (*made, 1, 1), "Conv", *inputs, then=("Reshape", made), kernel_shape=shape[2:])
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
        shape = map_of(old, maker.inputs[0])
        if shape and shape[0] == rows[0] and max(shape[2:]) <= KERNEL:
            return maker.inputs[0], shape
    shape = (*rows, 1, 1)
    made = old.add("Reshape", value, old.constant(shape, DType.I64))
    set_shape(old, made, shape)
    return made, shape


def flattened(old: OldNode) -> str:
    """Flatten, Squeeze and Unsqueeze are a Reshape."""
    shape = shape_of(old, old.node.outputs[0])
    if not shape:
        return "its sizes are not known before it runs"
    reshape(old, old.operand(0), shape)
    return ""


def moved(old: OldNode) -> str:
    """Put before a Reshape of a map what works element by element behind it."""
    x, rows = before_reshape(old)
    if not rows:
        return ""
    attrs = dict(old.node.attrs)
    if old.node.op == "Softmax":
        if (*rows, 1, 1) != map_of(old, x) or old.whole("axis", -1) not in (1, -1):
            return ""
        attrs["axis"] = 1
    finish(old, rows, old.node.op, x, *old.node.inputs[1:], **attrs)
    return ""


def before_reshape(old: OldNode) -> tuple[str, Shape]:
    """Return the map whose Reshape the node alone reads, and the shape of that; else its data."""
    value = old.operand(0)
    maker = old.editor.producer(value)
    if maker is None or maker.op != "Reshape" or not map_of(old, maker.inputs[0]):
        return value, ()
    alone = old.editor.count_users(value) == 1 and not old.editor.is_output(value)
    return (maker.inputs[0], shape_of(old, value)) if alone else (value, ())


def finish(old: OldNode, rows: Shape, op: str, x: str, *inputs: str, **attrs: Attr) -> None:
    """Let the node be an operator on a map, with a Reshape behind it where one was before it."""
    shape = map_of(old, before_reshape(old)[0])
    make_map(old, shape, op, x, *inputs, then=("Reshape", rows) if rows else (), **attrs)
