"""Weights that alone become integers: of operators that compute in floats or measure their data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from slimc.analysis.contraction_axes import axis_with, sum_order
from slimc.analysis.shapes import Facts
from slimc.ir.graph import Graph, Node, is_f32, is_finite
from slimc.ops.axes import Axis, BoundSignature, labels_of
from slimc.ops.op import Op
from slimc.passes.context import Context
from slimc.passes.schemes import FLOAT, Schemes
from slimc.targets.target import Grid, Quantize

LEAST_BLOCK = 16  # shorter blocks take as much for scales as they save; runtimes want 16 or more


@dataclass(frozen=True)
class StoredWeight:
    """A constant operand and how its numbers become integers.

    axis: that of the scales, or, where the grid has blocks, the one that blocks divide. sums: the
    axes that are summed, in the order of the kernel (`sum_order`). integer: the node takes integers
    of its data too, measured in each run.
    """

    node: Node
    operand: int
    grid: Grid
    axis: int | None
    sums: tuple[int, ...] = ()
    integer: bool = False

    @property
    def value(self) -> str:
        return self.node.inputs[self.operand]


@dataclass(frozen=True)
class StoredWeights:
    """The weights, in graph order, and why those of other nodes stay floats."""

    stored: tuple[StoredWeight, ...]
    reasons: Mapping[str, str]


def choose_weights(
    graph: Graph, ctx: Context, facts: Facts, schemes: Schemes, min_elements: int
) -> StoredWeights:
    """Choose among the nodes whose scheme fixes no ranges ahead, and tables in any scheme."""
    stored: list[StoredWeight] = []
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        row = ctx.ops.get(node.kind)
        if row is None or not _has_weight(graph, row, node) or schemes.of_node(node) == FLOAT:
            continue  # of those that are kept, `choose` says so
        wish = schemes.wish(node)
        if schemes.is_static(node) and (wish is None or wish.weights is None or row.weighted):
            continue  # `choose` looks at it; a table is a weight in any scheme
        weight = (
            schemes.refusal(node)
            if wish is None or wish.weights is None
            else _make_stored_weight(graph, facts, row, node, wish, wish.weights, min_elements)
        )
        if isinstance(weight, StoredWeight):
            stored.append(weight)
        else:
            reasons[node.name] = weight
    return StoredWeights(tuple(stored), reasons)


def match_integer_grids(
    weights: StoredWeights, quantized: Collection[str], ctx: Context
) -> StoredWeights:
    """Let weights whose data have records take the grid of integer kernels, where that is paired.

    Such a node computes in floats, but a runtime may make integers of a product of two DQs by
    itself: then its sums must not saturate either. quantized: the values with records.
    """
    return replace(
        weights,
        stored=tuple(_match_paired_grid(weight, quantized, ctx) for weight in weights.stored),
    )


def _match_paired_grid(
    weight: StoredWeight, quantized: Collection[str], ctx: Context
) -> StoredWeight:
    wish, parts = ctx.target.quantize.get(weight.node.kind), ctx.ops.weighted(weight.node)
    grid = wish.weights if wish is not None else None
    if grid is None or not grid.paired or parts is None or grid.dtype is not weight.grid.dtype:
        return weight
    return replace(weight, grid=grid) if weight.node.inputs[parts.data] in quantized else weight


def _has_weight(graph: Graph, row: Op, node: Node) -> bool:
    operand = row.parameter
    if operand is None or operand >= len(node.inputs):
        return False
    return row.weighted is not None or is_f32(graph, node.inputs[operand])


def _make_stored_weight(
    graph: Graph,
    facts: Facts,
    row: Op,
    node: Node,
    wish: Quantize,
    grid: Grid,
    min_elements: int,
) -> StoredWeight | str:
    """Return how a weight is stored, or why it stays float."""
    operand = row.parameter or 0
    value = node.inputs[operand]
    others = [v for i, v in enumerate(node.inputs) if v and i != operand]
    if value not in graph.constants:
        return "its weight is computed at run time"
    if all(v in graph.constants for v in others):
        return "it computes nothing at run time"
    if not is_f32(graph, value):
        return f"'{value}' is {graph.type_of(value)}, and integers replace f32"
    if not is_finite(graph, value):
        return f"its weight '{value}' holds NaN or infinity"
    shape = graph.constants[value].shape
    if wish.row_multiple and (len(shape) != 2 or shape[1] % wish.row_multiple):
        least = f"matrices with rows of a multiple of {wish.row_multiple}"
        return f"'{value}' has shape {list(shape)}, and the runtime takes {least}"
    size = graph.constants[value].array.size
    if size < min_elements and not wish.dynamic:
        return f"its weight '{value}' has {size} elements: less than {min_elements} save nothing"
    bound = facts.bounds.get(node.name)
    if bound is None:
        return f"its axes are not known: {facts.opaque.get(node.name, 'it has no signature')}"
    grid, axis = _layout(row, bound, operand, grid, shape)
    sums = sum_order(bound, row.weighted) if row.weighted is not None else ()
    return StoredWeight(node, operand, grid, axis, sums, wish.dynamic)


def _layout(
    row: Op, bound: BoundSignature, operand: int, grid: Grid, shape: tuple[int, ...]
) -> tuple[Grid, int | None]:
    """Return the grid and the axis of its scales.

    Of a contraction: blocks along the channels that are summed where a power of two divides them,
    else a scale per output channel. Of a table: blocks along what is looked up, or one per row.
    """
    weight = bound.inputs[operand] or ()
    if row.weighted is not None:
        channel = axis_with(weight, {row.weighted.channel})
        along = _summed_channels(weight, bound, row.weighted.data)
    else:
        produced = labels_of(bound.outputs[0])
        channel = next(
            (i for i, axis in enumerate(weight) if not labels_of((axis,)) & produced), None
        )
        along = len(weight) - 1 if channel != len(weight) - 1 else None
    block = _block_size(shape[along], grid.block) if along is not None else 0
    if block:
        return replace(grid, block=block), along
    return replace(grid, block=0), channel


def _summed_channels(weight: tuple[Axis, ...], bound: BoundSignature, data: int) -> int | None:
    """Return the axis of a weight that is summed with one of the data that is no window."""
    produced, read = labels_of(bound.outputs[0]), labels_of(bound.inputs[data])
    return axis_with(weight, read - produced)


def _block_size(size: int, largest: int) -> int:
    """Return the largest block up to the wanted one, halved until it divides; 0: none does."""
    while largest >= LEAST_BLOCK and size % largest:
        largest //= 2
    return largest if largest >= LEAST_BLOCK and size >= largest else 0
