"""Insert QuantizeLinear and DequantizeLinear where the target's runtime looks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from slimc.analysis.shapes import clamp_bounds, infer
from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node, Quantization, same_record
from slimc.ops.op import OpTable, Weighted
from slimc.ops.qdq import DEQUANTIZE
from slimc.passes.base import Pass, PassResult, Promise
from slimc.passes.context import Context
from slimc.passes.lower.emit_dynamic import emit_dynamic
from slimc.passes.lower.emit_lookups import emit_lookups
from slimc.passes.lower.qdq_emitter import Emitter
from slimc.passes.lower.ranges_in_file import keep_ranges
from slimc.remarks import Remark, applied, skipped
from slimc.targets.onnxruntime.guarded_floats import guard_floats, hold_behind
from slimc.targets.target import Placement, Target


@dataclass(frozen=True)
class InsertQdq(Pass):
    """Turn quantization records into Q/DQ nodes around the nodes that are to run in integers.

    Where they stand, and how weights and biases are stored, is the target's `placement`:
    real = (q - zero) * scale, q = clip(round(real / scale) + zero). Records are used up; where
    ranges go into a file beside the model they stay, and the graph in floats.
    Source: Jacob et al., CVPR 2018, section 2; ONNX operators QuantizeLinear, DequantizeLinear.
    """

    name: ClassVar[str] = "insert-qdq"
    promise: ClassVar[Promise] = "integers"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        if not graph.records and all(
            _reads_dequantized(graph, n) for n in graph.nodes if n.integer
        ):
            return PassResult(graph)
        placement = ctx.target.placement
        if placement is None:
            raise SlimcError(
                "target-without-integers",
                f"target '{ctx.target.name}' runs nothing in integers, but scales are chosen",
                where=f"pass {self.name}",
                help="leave out quant for this target",
            )
        if placement.beside:
            return keep_ranges(graph, ctx.ops, ctx.target)
        return insert_qdq(graph, ctx.ops, placement)


def as_computed(graph: Graph, ops: OpTable, target: Target) -> Graph:
    """Return a lowered graph as the target computes it: with Q/DQ for ranges beside the file."""
    if target.placement is None or not graph.records:
        return graph
    return insert_qdq(graph, ops, target.placement).graph


def insert_qdq(graph: Graph, ops: OpTable, placement: Placement) -> PassResult:
    """Insert Q/DQ in the style of a placement. Raises SlimcError "record-missing"."""
    graph, remarks = emit_dynamic(graph, ops, InsertQdq.name)
    graph, looked_up = emit_lookups(graph, ops, InsertQdq.name)
    remarks += looked_up
    floats = tuple(node.name for node in graph.nodes if not node.integer)
    if placement.activation == "absorb":
        graph, absorbed = absorb_clamps(graph, ops)
        remarks += absorbed
    lowered, inserted = _insert(graph, ops, placement, floats)
    if placement.guard_floats:
        lowered, guarded = guard_floats(lowered, ops, InsertQdq.name)
        inserted = [*inserted, *guarded]
    if placement.hold_behind:
        lowered, held = hold_behind(lowered, placement.hold_behind, InsertQdq.name)
        inserted = [*inserted, *held]
    return PassResult(lowered, (*remarks, *inserted))


def _reads_dequantized(graph: Graph, node: Node) -> bool:
    """Tell whether a node reads from a DQ: then Q/DQ are already there."""
    makers = (graph.producers.get(value) for value in node.inputs)
    return any(maker is not None and maker.op == DEQUANTIZE for maker in makers)


def absorb_clamps(graph: Graph, ops: OpTable) -> tuple[Graph, list[Remark]]:
    """Delete every clamp (Relu, Clip) of an integer node's result that Q does anyway.

    That is so where the least and the largest integer stand for numbers within its bounds.
    """
    editor = Editor(graph, made_by=InsertQdq.name)
    facts = infer(graph, ops)
    remarks = []
    for node in graph.nodes:
        bounds = clamp_bounds(graph, ops, facts, node)
        source = editor.producer(node.inputs[0]) if bounds and node.inputs else None
        if bounds is None or source is None or not source.integer:
            continue
        value, result = node.inputs[0], node.outputs[0]
        record = graph.records.get(result)
        if record is None or not _has_one_reader(editor, value):
            continue
        if not same_record(graph.records.get(value, record), record):
            continue
        if not _covers(record, bounds):
            why = f"the integers of '{result}' reach beyond its bounds {bounds[0]:g}..{bounds[1]:g}"
            remarks.append(skipped(node.name, f"stays in float: {why}"))
            continue
        editor.remove(node.name)
        outputs = tuple(result if o == value else o for o in source.outputs)
        editor.update(source.name, outputs=outputs)
        editor.set_record(value, None)
        remarks.append(
            applied(node.name, f"deleted: the integers of '{result}' stay in its bounds")
        )
    return editor.finish(), remarks


def _has_one_reader(editor: Editor, value: str) -> bool:
    return len(editor.users(value)) == 1 and not editor.is_output(value)


def _covers(record: Quantization, bounds: tuple[float, float]) -> bool:
    """Tell whether what the integers stand for lies within the bounds, up to half a step."""
    zero, scale = float(record.zero_point), float(record.scale)
    low, high = (record.low - zero) * scale, (record.high - zero) * scale
    return low >= bounds[0] - scale / 2 and high <= bounds[1] + scale / 2


def _insert(
    graph: Graph, ops: OpTable, placement: Placement, floats: Sequence[str]
) -> tuple[Graph, list[Remark]]:
    emitter = Emitter(graph, ops, placement, InsertQdq.name)
    remarks: list[Remark] = []
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    if placement.output:
        for node in graph.nodes:
            if node.integer:
                emitter.quantize_results(node)
    for name in floats:
        remarks += _dequantize_weight(emitter, graph, ops, name)
    for node in graph.nodes:
        if not node.integer:
            continue
        weighted = ops.weighted(node)
        if weighted is None:
            remarks.append(_quantize_operands(emitter, graph, ops, node, order))
        else:
            remarks.append(_quantize_contraction(emitter, graph, node, weighted))
    for node, value in emitter.dequantize_captured():
        kind = graph.records[value].dtype.text
        remarks.append(applied(node.name, f"its bodies read '{value}' rounded to {kind}"))
    return emitter.finish(), remarks


def _dequantize_weight(emitter: Emitter, graph: Graph, ops: OpTable, name: str) -> Iterator[Remark]:
    """Put a DQ between a node that computes in floats and its weight, where that has a record."""
    node = graph.by_name.get(name)
    operand = ops.parameter(node) if node is not None else None
    if node is None or operand is None:
        return
    record = graph.records.get(node.inputs[operand])
    if record is not None and node.inputs[operand] in graph.constants:
        emitter.quantize_operand(node, operand)
        yield applied(node.name, f"computes in floats with {record.dtype.text} weights")


def _quantize_contraction(emitter: Emitter, graph: Graph, node: Node, weighted: Weighted) -> Remark:
    for i in (weighted.data, weighted.weight):
        if node.inputs[i] not in graph.records:
            raise SlimcError(
                "record-missing",
                f"'{node.name}' is to run in integers, but its operand '{node.inputs[i]}' has no "
                "scale",
                where=f"pass {InsertQdq.name}",
                help="attach a record to every operand of a node with integer=True",
            )
    emitter.quantize_weight(node, weighted)
    emitter.quantize_operand(node, weighted.data)
    kinds = [graph.records[node.inputs[i]].dtype.text for i in (weighted.data, weighted.weight)]
    return applied(node.name, f"runs in integers: {kinds[0]} data, {kinds[1]} weights")


def _quantize_operands(
    emitter: Emitter, graph: Graph, ops: OpTable, node: Node, order: dict[str, int]
) -> Remark:
    operands = [i for i, value in enumerate(node.inputs) if value in graph.records]
    if not operands:
        return applied(node.name, "adds a bias to the integers of the contraction before it")
    if emitter.placement.residual == "skip" and len(operands) > 1:
        fused = _fused_operand(graph, ops, node, order)
        if fused is None:
            emitter.leave_float(node)
            return skipped(node.name, "stays in float: no contraction feeds it alone")
        operands.remove(fused)
    for i in operands:
        emitter.quantize_operand(node, i)
    names = ", ".join(f"'{node.inputs[i]}'" for i in operands)
    return applied(node.name, f"takes integers: {names}")


def _fused_operand(graph: Graph, ops: OpTable, node: Node, order: dict[str, int]) -> int | None:
    """Return the operand that the last contraction before a node makes for it alone."""
    sources = dict(_contraction_operands(graph, ops, node))
    return max(sources, key=lambda i: order[sources[i].name], default=None)


def _contraction_operands(graph: Graph, ops: OpTable, node: Node) -> Iterator[tuple[int, Node]]:
    for i, value in enumerate(node.inputs):
        source = graph.producers.get(value)
        if source is None or not source.integer or value in graph.outputs:
            continue
        if not ops.weighted(source):
            continue
        if len(graph.users[value]) == 1:
            yield i, source
