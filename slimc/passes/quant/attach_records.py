"""Write what was chosen on a graph: records on values, marks on nodes; and say so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from slimc.calib.table import ValueRange
from slimc.ir.editor import Editor
from slimc.ir.graph import Form, Graph
from slimc.ops.op import OpTable
from slimc.passes.context import Context
from slimc.passes.quant.integer_nodes import IntegerChoice
from slimc.passes.quant.scale_groups import ScaleGroup
from slimc.passes.quant.scales import activation_record, weight_record
from slimc.passes.quant.stored_weights import StoredWeight, StoredWeights
from slimc.remarks import Remark, applied, note
from slimc.targets.target import Grid

MADE_BY = "assign-scales"


def attach_quantization(
    graph: Graph,
    ops: OpTable,
    choice: IntegerChoice,
    weights: StoredWeights,
    ranges: Mapping[ScaleGroup, ValueRange],
    float_nodes: Collection[str] = (),
) -> Graph:
    """Mark the nodes, and attach a record to each of their values.

    kept: nodes, those of bodies included, that read weights in floats as they are.
    """
    editor = Editor(graph, made_by=MADE_BY)
    for group, range_ in ranges.items():
        record = activation_record(group.grid, range_)
        for value in group.values:
            editor.set_record(value, record)
    for name in choice.sites:
        editor.update(name, integer=True)
    activations = {value for group in ranges for value in group.values}
    layouts: dict[str, tuple[Grid, int | None, tuple[int, ...]]] = {}
    all_weights = [*_contraction_weights(choice), *weights.stored]
    for weight in all_weights:
        if weight.integer:
            editor.update(weight.node.name, integer=True)
        value, layout = weight.value, (weight.grid, weight.axis, weight.sums)
        if value in layouts and layouts[value] == layout:
            continue
        if value in activations or layouts.setdefault(value, layout) != layout:
            value = _copy_weight(editor, graph, weight.node.name, weight.operand)
        array = graph.constants[weight.value].array
        editor.set_record(value, weight_record(weight.grid, array, weight.axis, weight.sums))
    chosen = {*choice.sites, *(weight.node.name for weight in all_weights)}
    floats: dict[str, str] = {}
    _keep_floats(editor, graph, ops, {*activations, *layouts}, chosen, floats)
    _keep_captured(editor, graph, {*activations, *layouts}, float_nodes, floats)
    return editor.finish(form=Form.QUANTIZED)


def _contraction_weights(choice: IntegerChoice) -> Iterator[StoredWeight]:
    for site in choice.sites.values():
        if site.weight is not None and site.config.weights is not None:
            yield StoredWeight(
                site.node, site.takes[1], site.config.weights, site.channel_axis, site.sums
            )


def _keep_floats(
    editor: Editor,
    graph: Graph,
    ops: OpTable,
    recorded: set[str],
    chosen: set[str],
    floats: dict[str, str],
) -> None:
    """Give nodes that stay in float a weight without a record, where others have one on it.

    floats: the copy of a weight that all of them read; it is added to.
    """
    for node in graph.nodes:
        operand = ops.parameter(node)
        if operand is None or node.name in chosen:
            continue
        value = node.inputs[operand]
        if value not in graph.constants or value not in recorded:
            continue
        if value in floats:
            editor.set_input(node.name, operand, floats[value])
        else:
            floats[value] = _copy_weight(editor, graph, node.name, operand)


def _keep_captured(
    editor: Editor,
    graph: Graph,
    recorded: set[str],
    float_nodes: Collection[str],
    floats: dict[str, str],
) -> None:
    """Give bodies that are kept in float, or have such nodes, the copies in `floats`."""
    for node in graph.nodes:
        inner = (inner_node.name for body in node.bodies for inner_node in body.walk())
        if not node.bodies or not any(name in float_nodes for name in (node.name, *inner)):
            continue
        captured = {value for body in node.bodies for value in body.captured}
        shared = sorted(captured & recorded & set(graph.constants))
        for value in shared:
            if value not in floats:
                name = editor.add_constant(graph.constants[value], f"{node.name}.weight")
                floats[value] = name
        editor.rename_captures(node.name, {value: floats[value] for value in shared})


def _copy_weight(editor: Editor, graph: Graph, node: str, operand: int) -> str:
    constant = graph.constants[graph.by_name[node].inputs[operand]]
    value = editor.add_constant(constant, f"{node}.weight")
    editor.set_input(node, operand, value)
    return value


def quantization_remarks(
    ctx: Context, graph: Graph, choice: IntegerChoice, weights: StoredWeights
) -> Iterator[Remark]:
    """Say of each node what it takes in integers, and how they came about."""
    if ctx.data.synthetic and choice.sites:
        yield note(
            "ranges come from made-up samples: the integers may not fit real ones",
            help="give real samples with --calib",
        )
    for site in choice.sites.values():
        if site.adds_bias_of:
            yield applied(site.node.name, f"adds the bias of '{site.adds_bias_of}'")
            continue
        node = graph.by_name[site.node.name]
        operands = [node.inputs[i] for i in site.takes if node.inputs[i] in graph.records]
        yield applied(node.name, f"takes {', '.join(_describe_value(graph, v) for v in operands)}")
    for weight in weights.stored:
        value = graph.by_name[weight.node.name].inputs[weight.operand]
        verb = "stores"
        if weight.integer:
            parts = ctx.ops.weighted(weight.node)
            ranged = parts is not None and weight.node.inputs[parts.data] in graph.records
            verb = "takes integers of its data and" if ranged else "takes measured data and"
        yield applied(weight.node.name, f"{verb} {_describe_value(graph, value)}")


def _describe_value(graph: Graph, value: str) -> str:
    """Describe a value as integers: `'w' as i8 with 16 scales`."""
    record = graph.records[value]
    if record.axis is not None:
        blocks = f", one per {record.block} elements" if record.block else ""
        return f"'{value}' as {record.dtype.text} with {record.scale.size} scales{blocks}"
    zero, scale = float(record.zero_point), float(record.scale)
    low, high = (record.low - zero) * scale, (record.high - zero) * scale
    return f"'{value}' as {record.dtype.text} {low:.6g}..{high:.6g}"
