"""Rules for ONNX Runtime on CPUs: when its optimizer finds an integer kernel.

Evidence: onnxruntime's qdq_selectors.cc and its optimized graphs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.analysis.sum_order import sum_order
from slimc.ir.graph import Graph, Node
from slimc.ir.pairs import LARGEST_PAIR, pair_sums
from slimc.ir.types import DType
from slimc.ops.op import OpTable, Quant
from slimc.passes.emit_qdq import QUANTIZE
from slimc.passes.guarded_floats import quantized_by_runtime
from slimc.passes.target import Finding, Subject, TargetRule
from slimc.targets.contractions import dequantized, integer_contractions
from slimc.targets.rules_qdq import PARAMETERS
from slimc.targets.rules_shapes import static_inputs
from slimc.targets.rules_widths import aligned_channels, folded_normalisation, stored_float16


def _quantized_results(subject: Subject) -> Iterator[Finding]:
    """Find contractions of integers whose result one Q alone does not read."""
    graph, ops, target = subject.graph, subject.ops, subject.target
    for node, _ in integer_contractions(graph, ops):
        wish = target.quantize.get(node.kind)
        reader = _only_reader(graph, node)
        if reader is not None and reader.op == QUANTIZE:
            continue
        if wish is not None and wish.free_result:
            continue
        if reader is not None and _clamps(ops, reader):
            continue  # the next rule says more
        message = f"its result '{node.outputs[0]}' is not read by one Q alone: it runs in float"
        yield Finding("silent", node.name, message)


def _covered_clamps(subject: Subject) -> Iterator[Finding]:
    """Find a Relu or Clip between a contraction and Q: it keeps both in float."""
    graph, ops = subject.graph, subject.ops
    for node, _ in integer_contractions(graph, ops):
        reader = _only_reader(graph, node)
        if reader is not None and _clamps(ops, reader):
            message = f"'{reader.name}' ({reader.kind}) stands between it and Q: both run in float"
            help = "a zero point equal to the least integer makes it superfluous"
            yield Finding("silent", node.name, message, help)


def _only_reader(graph: Graph, node: Node) -> Node | None:
    value = node.outputs[0]
    readers = graph.users.get(value, ())
    return readers[0] if len(readers) == 1 and value not in graph.outputs else None


def _clamps(ops: OpTable, node: Node) -> bool:
    row = ops.get(node.kind)
    return row is not None and row.clamp is not None


def _whole_operands(subject: Subject) -> Iterator[Finding]:
    """Find operators before a Q whose operands are not all integers of one type."""
    graph, ops, target = subject.graph, subject.ops, subject.target
    for node in graph.nodes:
        row = ops.get(node.kind)
        reader = _only_reader(graph, node) if node.outputs else None
        if row is None or row.quant is not Quant.POINTWISE or node.kind not in target.quantize:
            continue
        if reader is None or reader.op != QUANTIZE:
            continue
        found = [dequantized(graph, value) for value in node.inputs if value]
        kinds = {one.integers for one in found if one is not None}
        if kinds == {DType.I32}:
            continue  # a bias: it belongs to the contraction before it
        if None in found and kinds:
            message = "one operand comes from integers and another does not: it runs in float"
            yield Finding("silent", node.name, message)
        elif len(kinds) > 1:
            message = "its operands have different integer types: it runs in float"
            yield Finding("silent", node.name, message)


def _unsaturated_weights(subject: Subject) -> Iterator[Finding]:
    """Without VNNI, u8 times s8 is summed in pairs of 16 bits, which saturate (`ir.pairs`)."""
    graph, ops = subject.graph, subject.ops
    wishes = subject.target.quantize.values()
    if not any(wish.weights is not None and wish.weights.paired for wish in wishes):
        return
    bounds = subject.facts.bounds
    for node, parts in integer_contractions(graph, ops):
        data = dequantized(graph, node.inputs[parts.data])
        weight = dequantized(graph, node.inputs[parts.weight])
        if data is None or weight is None or data.integers is not DType.U8:
            continue
        stored, bound = graph.array(weight.node.inputs[0]), bounds.get(node.name)
        if stored is None or stored.dtype != np.int8 or bound is None:
            continue
        sums = pair_sums(stored.astype(np.int32), sum_order(bound, parts))
        beyond = int((sums > LARGEST_PAIR).sum())
        if beyond:
            message = (
                f"{beyond} of {sums.size} pairs of weights sum up to {sums.max()}: with u8 data "
                f"sums saturate beyond {LARGEST_PAIR}, and results are wrong"
            )
            yield Finding("silent", node.name, message)


def _guarded_floats(subject: Subject) -> Iterator[Finding]:
    """Find float contractions between DQ and Q: onnxruntime quantizes their weights itself."""
    graph, ops = subject.graph, subject.ops
    for border in quantized_by_runtime(graph, ops):
        message = (
            "it stands between DQ and Q: onnxruntime runs it in integers, with one weight scale"
        )
        help = "let the DQ of its data have one scale per channel"
        yield Finding("silent", border.node.name, message, help)


CPU = (
    *PARAMETERS,
    TargetRule(
        "L26", "quantized-results", "one Q reads a contraction's result", _quantized_results
    ),
    TargetRule(
        "L27", "covered-clamps", "no Relu stands between contraction and Q", _covered_clamps
    ),
    TargetRule("L29", "unsaturated-weights", "pairs of weights fit 16 bits", _unsaturated_weights),
    TargetRule("L42", "guarded-floats", "what is kept in float stays there", _guarded_floats),
    TargetRule(
        "L30", "whole-operands", "all operands of an operator are quantized", _whole_operands
    ),
    TargetRule(
        "L31", "folded-normalisation", "no BatchNormalization is left", folded_normalisation
    ),
    TargetRule("L33", "stored-float16", "nothing is f16", stored_float16),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
)
XNNPACK_RULES = (
    TargetRule("L35", "static-shapes", "sizes of inputs are numbers", static_inputs("silent")),
)
