"""Refit the weights that read what was cut, from moments of what they read before."""

from __future__ import annotations

import numpy as np

from slimc.fit.input_moments import Read, Reads
from slimc.fit.linear import Linear
from slimc.fit.moments import least_squares, second_moment
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.passes.prune.brain_surgeon import RIDGE
from slimc.passes.prune.slice_axes import Sliced
from slimc.rewrite.kept import Kept, staying, take


def refit_readers(uncut: Graph, sliced: Sliced, reads: Reads) -> Graph:
    """Let what stays of each reader's input stand in for what is gone.

    W' = W_K + (W H_:K - W_K H_KK)(H_KK + lambda mean(diag H_KK) I)^-1,  b' = b + W mu - W' mu_K.
    One pass without running anything: right for one cut, since what stays is as it was before.
    After many cuts `repair` is nearer. Nodes whose moments are not of all columns are left alone.
    Source: He et al., ICCV 2017, section 3.1.2.
    """
    editor = Editor(sliced.graph)
    for node in sliced.graph.nodes:
        read = reads.get(node.name)
        if not isinstance(read, Read) or read.level != "columns":
            continue
        name = node.inputs[_weight_operand(uncut, read.linear)]
        kept = sliced.kept.get(name)
        if kept is not None and editor.count_users(name) == 1:
            _refit_weight(uncut, editor, node, read, name, kept)
    return editor.finish()


def _weight_operand(graph: Graph, linear: Linear) -> int:
    return graph.by_name[linear.node.name].inputs.index(linear.weight)


def _refit_weight(
    uncut: Graph, editor: Editor, node: Node, read: Read, name: str, kept: Kept
) -> None:
    linear = read.linear
    old = uncut.constants[linear.weight].array
    stays = staying(old.shape, kept)
    columns = np.flatnonzero(linear.matrix(stays).any(axis=(0, 1)))
    if len(columns) == linear.columns:
        return
    w = linear.matrix(old).astype(np.float64)
    has_free_bias = _can_shift_bias(editor, node, linear)
    h, mean = read.h.astype(np.float64), read.mean
    if not has_free_bias:
        h = second_moment(h, mean, mean)
    block = h[:, columns[:, None], columns[None, :]]
    cross = h[:, columns] @ w.transpose(0, 2, 1)
    refitted = w.copy()
    refitted[:, :, columns] = least_squares(w[:, :, columns], block, cross, RIDGE)
    editor.set_constant(name, take(linear.array(refitted).astype(old.dtype), kept))
    if has_free_bias:
        refitted[:, :, np.setdiff1d(np.arange(linear.columns), columns)] = 0
        shift = np.einsum("gop,gp->go", w - refitted, mean).reshape(-1)
        outs = linear.matrix(stays).any(axis=2).reshape(-1)
        _shift_bias(editor, node, linear, shift[outs], old.dtype)


def _can_shift_bias(editor: Editor, node: Node, linear: Linear) -> bool:
    """Tell whether a node has, or may have, a constant bias that is added as it is."""
    if (
        linear.bias is None
        or linear.bias_shape is None
        or linear.channel_axis is None
        or linear.is_scaled
    ):
        return False
    name = node.inputs[linear.bias] if linear.bias < len(node.inputs) else ""
    return not name or editor.array(name) is not None


def _shift_bias(editor: Editor, node: Node, linear: Linear, shift: Floats, dtype: np.dtype) -> None:
    """Add to the bias of a node, which may have none. dtype: of a new one."""
    assert linear.bias is not None
    assert linear.bias_shape is not None
    shape = tuple(
        len(shift) if size == linear.channel_count else size for size in linear.bias_shape
    )
    name = node.inputs[linear.bias] if linear.bias < len(node.inputs) else ""
    old = editor.array(name) if name else np.zeros(1, dtype)
    if old is None or old.size not in (1, len(shift)):
        return
    new = (old.reshape(-1) + shift).reshape(shape).astype(old.dtype)
    if name and editor.count_users(name) == 1 and new.shape == old.shape:
        editor.set_constant(name, new)
    else:
        editor.set_input(node.name, linear.bias, editor.add_constant(new, f"{node.name}.bias"))
