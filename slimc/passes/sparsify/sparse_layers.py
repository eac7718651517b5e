"""Selection of the layers that get 2:4 weights, and why others stay dense."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts, infer
from slimc.analysis.sparsity import input_axis, is_sparse, largest_two
from slimc.fit.linear import Linear, as_linear
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import Weighted
from slimc.passes.bodies_in_float import left_in_bodies
from slimc.passes.context import Context
from slimc.remarks import Remark, skipped


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A contraction that gets 2:4 weights."""

    linear: Linear
    """The node as a product of matrices."""
    axis: int
    """Axis of the weight that the groups of four run along."""

    @property
    def name(self) -> str:
        return self.linear.node.name

    @property
    def weight(self) -> str:
        return self.linear.weight

    def masked_weight(self, graph: Graph) -> np.ndarray:
        """Return the weight with only the two largest elements of each group."""
        array = graph.constants[self.weight].array
        return np.where(largest_two(array, self.axis), array, array.dtype.type(0))


@dataclass(frozen=True)
class SparsityBounds:
    """Size limits of the layers to sparsify."""

    channels: int
    """Least number of input and of output channels."""
    multiple: int
    """What the number of input channels must be a multiple of."""


def select_sparse_layers(
    graph: Graph, ctx: Context, keep: Collection[str], bounds: SparsityBounds
) -> tuple[list[SparseLayer], list[Remark]]:
    """Return the layers to sparsify, in order, and why others stay dense. keep: names of such.

    If the target has no sparse kernels at all, every contraction qualifies.
    """
    facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
    layers: list[SparseLayer] = []
    skips: list[Remark] = []
    for node in graph.nodes:
        weighted = ctx.ops.weighted(node)
        if weighted is None:
            continue
        layer = (
            f"{ctx.target.name} has no sparse kernels of {node.kind}"
            if ctx.target.sparsity and node.kind not in ctx.target.sparsity
            else "it is listed in keep"
            if node.name in keep
            else _sparse_layer(graph, ctx, facts, node, weighted, bounds)
        )
        if isinstance(layer, SparseLayer):
            layers.append(layer)
        else:
            skips.append(skipped(node.name, f"stays dense: {layer}"))
    return layers, [*skips, *left_in_bodies(graph, ctx.ops, "stays dense")]


def copy_zeros(graph: Graph, source: Graph, ctx: Context) -> Graph:
    """Return `graph` with the zeros of the 2:4 weights of the same nodes in another graph."""
    facts = infer(source, ctx.ops, ctx.sizes_of(source))
    editor = Editor(graph)
    for node in source.nodes:
        layer, other = as_linear(source, ctx.ops, facts, node), graph.by_name.get(node.name)
        if layer is None or other is None:
            continue
        name = other.inputs[node.inputs.index(layer.weight)]
        array, mask = editor.array(name), source.constants[layer.weight].array
        axis = input_axis(layer.weight_axes, layer.ins)
        if array is None or array.shape != mask.shape or axis is None or not is_sparse(mask, axis):
            continue
        editor.set_constant(name, np.where(mask != 0, array, array.dtype.type(0)))
    return editor.finish(form=graph.form)


def _sparse_layer(
    graph: Graph, ctx: Context, facts: Facts, node: Node, parts: Weighted, bounds: SparsityBounds
) -> SparseLayer | str:
    weight = node.inputs[parts.weight]
    if weight not in graph.constants:
        return "its weights are computed at run time"
    layer = as_linear(graph, ctx.ops, facts, node)
    if layer is not None and layer.group_count > 1:
        return f"grouped kernels are dense, and it has {layer.group_count} groups"
    axis = None if layer is None else input_axis(layer.weight_axes, layer.ins)
    if layer is None or axis is None or layer.weight != weight:
        return "its weights are not a plain matrix of input and output channels"
    if graph.users[weight] != (node,) or node.inputs.count(weight) > 1 or weight in graph.outputs:
        return "other nodes share its weights"
    array = graph.constants[weight].array
    ins, outs = array.shape[axis], layer.channel_count
    if ins % bounds.multiple:
        return f"its {ins} input channels are not a multiple of {bounds.multiple}"
    if min(ins, outs) < bounds.channels:
        return (
            f"{ins} input and {outs} output channels: sparse kernels are no faster below "
            f"{bounds.channels}"
        )
    if not np.isfinite(array).all():
        return f"its weight '{weight}' holds NaN or infinity"
    if is_sparse(array, axis):
        return "its weights are 2:4 already"
    return SparseLayer(layer, axis)
