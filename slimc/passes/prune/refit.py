"""Refit the weights that read what was cut, from moments of what they read before."""

from __future__ import annotations

import numpy as np

from slimc.fit.input_moments import Read, Reads
from slimc.fit.linear import Linear
from slimc.fit.moments import about_zero, least_squares
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
        name = node.inputs[_operand(uncut, read.linear)]
        kept = sliced.kept.get(name)
        if kept is not None and editor.count_users(name) == 1:
            _refit(uncut, editor, node, read, name, kept)
    return editor.done()


def _operand(graph: Graph, one: Linear) -> int:
    return graph.by_name[one.node.name].inputs.index(one.weight)


def _refit(uncut: Graph, editor: Editor, node: Node, read: Read, name: str, kept: Kept) -> None:
    one = read.linear
    old = uncut.constants[one.weight].array
    stays = staying(old.shape, kept)
    columns = np.flatnonzero(one.matrix(stays).any(axis=(0, 1)))
    if len(columns) == one.columns:
        return
    w = one.matrix(old).astype(np.float64)
    free = _takes_bias(editor, node, one)
    h, mean = read.h.astype(np.float64), read.mean
    if not free:
        h = about_zero(h, mean, mean)
    block = h[:, columns[:, None], columns[None, :]]
    wanted = h[:, columns] @ w.transpose(0, 2, 1)
    made = w.copy()
    made[:, :, columns] = least_squares(w[:, :, columns], block, wanted, RIDGE)
    editor.set_constant(name, take(one.array(made).astype(old.dtype), kept))
    if free:
        made[:, :, np.setdiff1d(np.arange(one.columns), columns)] = 0
        shift = np.einsum("gop,gp->go", w - made, mean).reshape(-1)
        outs = one.matrix(stays).any(axis=2).reshape(-1)
        _shift_bias(editor, node, one, shift[outs], old.dtype)


def _takes_bias(editor: Editor, node: Node, one: Linear) -> bool:
    """Tell whether a node has, or may have, a constant bias that is added as it is."""
    if one.bias is None or one.bias_shape is None or one.channel_axis is None or one.is_scaled:
        return False
    name = node.inputs[one.bias] if one.bias < len(node.inputs) else ""
    return not name or editor.array(name) is not None


def _shift_bias(editor: Editor, node: Node, one: Linear, shift: Floats, dtype: np.dtype) -> None:
    """Add to the bias of a node, which may have none. dtype: of a new one."""
    assert one.bias is not None
    assert one.bias_shape is not None
    shape = tuple(len(shift) if size == one.channel_count else size for size in one.bias_shape)
    name = node.inputs[one.bias] if one.bias < len(node.inputs) else ""
    old = editor.array(name) if name else np.zeros(1, dtype)
    if old is None or old.size not in (1, len(shift)):
        return
    new = (old.reshape(-1) + shift).reshape(shape).astype(old.dtype)
    if name and editor.count_users(name) == 1 and new.shape == old.shape:
        editor.set_constant(name, new)
    else:
        editor.set_input(node.name, one.bias, editor.add_constant(new, f"{node.name}.bias"))
