"""Which contractions get weights of which two in four are zero, and why others stay dense."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts, infer
from slimc.analysis.sparsity import input_axis, is_sparse, largest_two
from slimc.fit.linear import Linear, linear
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import Weighted
from slimc.passes.bodies_in_float import left_in_bodies
from slimc.passes.context import Context
from slimc.remarks import Remark, skipped


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A contraction, and the axis of its weight along which groups of four stand."""

    one: Linear
    axis: int

    @property
    def name(self) -> str:
        return self.one.node.name

    @property
    def weight(self) -> str:
        return self.one.weight

    def masked(self, graph: Graph) -> np.ndarray:
        """Return the weight with the two largest numbers of each group."""
        array = graph.constants[self.weight].array
        return np.where(largest_two(array, self.axis), array, array.dtype.type(0))


@dataclass(frozen=True)
class Bounds:
    """What a layer must have: channels on both sides, and input channels in multiples."""

    channels: int
    multiple: int


def sparse_layers(
    graph: Graph, ctx: Context, keep: Collection[str], bounds: Bounds
) -> tuple[list[SparseLayer], list[Remark]]:
    """Return the layers to make sparse, in order, and why others stay dense. keep: their names.

    Of a target without sparse kernels any contraction may be one.
    """
    facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
    found: list[SparseLayer] = []
    left: list[Remark] = []
    for node in graph.nodes:
        weighted = ctx.ops.weighted(node)
        if weighted is None:
            continue
        one = (
            f"{ctx.target.name} has no sparse kernels of {node.kind}"
            if ctx.target.sparsity and node.kind not in ctx.target.sparsity
            else "it is kept"
            if node.name in keep
            else _layer(graph, ctx, facts, node, weighted, bounds)
        )
        if isinstance(one, SparseLayer):
            found.append(one)
        else:
            left.append(skipped(node.name, f"stays dense: {one}"))
    return found, [*left, *left_in_bodies(graph, ctx.ops, "stays dense")]


def with_zeros(graph: Graph, of: Graph, ctx: Context) -> Graph:
    """Return a graph whose weights are zero where 2:4 weights of the same nodes are zero."""
    facts = infer(of, ctx.ops, ctx.sizes_of(of))
    editor = Editor(graph)
    for node in of.nodes:
        one, other = linear(of, ctx.ops, facts, node), graph.by_name.get(node.name)
        if one is None or other is None:
            continue
        name = other.inputs[node.inputs.index(one.weight)]
        array, mask = editor.array(name), of.constants[one.weight].array
        axis = input_axis(one.weight_axes, one.ins)
        if array is None or array.shape != mask.shape or axis is None or not is_sparse(mask, axis):
            continue
        editor.set_constant(name, np.where(mask != 0, array, array.dtype.type(0)))
    return editor.done(form=graph.form)


def _layer(
    graph: Graph, ctx: Context, facts: Facts, node: Node, parts: Weighted, bounds: Bounds
) -> SparseLayer | str:
    weight = node.inputs[parts.weight]
    if weight not in graph.constants:
        return "its weights are computed at run time"
    one = linear(graph, ctx.ops, facts, node)
    if one is not None and one.group_count > 1:
        return f"its {one.group_count} groups have kernels of their own, which are dense"
    axis = None if one is None else input_axis(one.weight_axes, one.ins)
    if one is None or axis is None or one.weight != weight:
        return "its weights are no plain matrix of input and output channels"
    if graph.users[weight] != (node,) or node.inputs.count(weight) > 1 or weight in graph.outputs:
        return "others read its weights too"
    array = graph.constants[weight].array
    ins, outs = array.shape[axis], one.channel_count
    if ins % bounds.multiple:
        return f"its {ins} input channels are no multiple of {bounds.multiple}"
    if min(ins, outs) < bounds.channels:
        return (
            f"{ins} input and {outs} output channels: sparse kernels are no faster below "
            f"{bounds.channels}"
        )
    if not np.isfinite(array).all():
        return f"its weight '{weight}' holds NaN or infinity"
    if is_sparse(array, axis):
        return "its weights are 2:4 already"
    return SparseLayer(one, axis)
