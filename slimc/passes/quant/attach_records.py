"""Write what was chosen on a graph: records on values, marks on nodes; and say so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from slimc.calib.table import Range
from slimc.ir.editor import Editor
from slimc.ir.graph import Form, Graph
from slimc.ops.op import OpTable
from slimc.passes.context import Context
from slimc.passes.quant.integer_nodes import Choice
from slimc.passes.quant.scale_groups import ScaleGroup
from slimc.passes.quant.scales import activation_record, weight_record
from slimc.passes.quant.stored_weights import StoredWeight, StoredWeights
from slimc.remarks import Remark, applied, note
from slimc.targets.target import Grid

MADE_BY = "assign-scales"


def attach(
    graph: Graph,
    ops: OpTable,
    choice: Choice,
    weights: StoredWeights,
    ranges: Mapping[ScaleGroup, Range],
    kept: Collection[str] = (),
) -> Graph:
    """Mark the nodes, and attach a record to each of their values.

    kept: nodes, those of bodies included, that read weights in floats as they are.
    """
    editor = Editor(graph, made_by=MADE_BY)
    for group, of in ranges.items():
        record = activation_record(group.grid, of)
        for value in group.values:
            editor.set_record(value, record)
    for name in choice.sites:
        editor.update(name, integer=True)
    taken = {value for group in ranges for value in group.values}
    laid: dict[str, tuple[Grid, int | None, tuple[int, ...]]] = {}
    every = [*_site_weights(choice), *weights.found]
    for one in every:
        if one.integer:
            editor.update(one.node.name, integer=True)
        value, how = one.value, (one.grid, one.axis, one.sums)
        if value in laid and laid[value] == how:
            continue
        if value in taken or laid.setdefault(value, how) != how:
            value = _own_copy(editor, graph, one.node.name, one.operand)
        array = graph.constants[one.value].array
        editor.set_record(value, weight_record(one.grid, array, one.axis, one.sums))
    chosen = {*choice.sites, *(one.node.name for one in every)}
    floats: dict[str, str] = {}
    _keep_floats(editor, graph, ops, {*taken, *laid}, chosen, floats)
    _keep_captured(editor, graph, {*taken, *laid}, kept, floats)
    return editor.done(form=Form.QUANTIZED)


def _site_weights(choice: Choice) -> Iterator[StoredWeight]:
    for site in choice.sites.values():
        if site.weight is not None and site.wants.weights is not None:
            yield StoredWeight(
                site.node, site.takes[1], site.wants.weights, site.channel_axis, site.sums
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
            floats[value] = _own_copy(editor, graph, node.name, operand)


def _keep_captured(
    editor: Editor,
    graph: Graph,
    recorded: set[str],
    kept: Collection[str],
    floats: dict[str, str],
) -> None:
    """Give bodies that are kept in float, or have such nodes, the copies in `floats`."""
    for node in graph.nodes:
        inner = (one.name for body in node.bodies for one in body.walk())
        if not node.bodies or not any(name in kept for name in (node.name, *inner)):
            continue
        captured = {value for body in node.bodies for value in body.captured}
        held = sorted(captured & recorded & set(graph.constants))
        for value in held:
            if value not in floats:
                name = editor.add_constant(graph.constants[value], f"{node.name}.weight")
                floats[value] = name
        editor.reread_inside(node.name, {value: floats[value] for value in held})


def _own_copy(editor: Editor, graph: Graph, node: str, operand: int) -> str:
    constant = graph.constants[graph.by_name[node].inputs[operand]]
    value = editor.add_constant(constant, f"{node}.weight")
    editor.set_input(node, operand, value)
    return value


def said(ctx: Context, graph: Graph, choice: Choice, weights: StoredWeights) -> Iterator[Remark]:
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
        yield applied(node.name, f"takes {', '.join(_seen(graph, v) for v in operands)}")
    for one in weights.found:
        value = graph.by_name[one.node.name].inputs[one.operand]
        verb = "stores"
        if one.integer:
            parts = ctx.ops.weighted(one.node)
            ranged = parts is not None and one.node.inputs[parts.data] in graph.records
            verb = "takes integers of its data and" if ranged else "takes measured data and"
        yield applied(one.node.name, f"{verb} {_seen(graph, value)}")


def _seen(graph: Graph, value: str) -> str:
    """Describe a value as integers: `'w' as i8 with 16 scales`."""
    record = graph.records[value]
    if record.axis is not None:
        blocks = f", one per {record.block} elements" if record.block else ""
        return f"'{value}' as {record.dtype.text} with {record.scale.size} scales{blocks}"
    zero, scale = float(record.zero_point), float(record.scale)
    low, high = (record.low - zero) * scale, (record.high - zero) * scale
    return f"'{value}' as {record.dtype.text} {low:.6g}..{high:.6g}"
