"""Rules for ONNX Runtime on CPUs: when its optimizer finds an integer kernel.

Evidence: onnxruntime's qdq_selectors.cc, weight_bias_quantization.cc and its optimized graphs.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.types import DType, TensorType
from slimc.ops.qdq import QUANTIZE
from slimc.targets.contractions import (
    Conversion,
    contractions,
    dequantized,
    weight_of,
)
from slimc.targets.fixes.file import write_older_forms
from slimc.targets.node_units import (
    NodeUnit,
    covers,
    data_of,
    folds,
    hidden_data,
    keeps_signed,
    node_units,
    seen_type,
)
from slimc.targets.onnxruntime.guarded_floats import quantized_by_runtime
from slimc.targets.rules.qdq import PARAMETERS
from slimc.targets.rules.saturation import UNSATURATED_WEIGHTS
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.widths import FOLDED, aligned_channels, stored_float16
from slimc.targets.target import Finding, Subject, TargetRule

_QUANTIZES_BIASES = (1, 19)  # from this release on (WeightBiasQuantization)
_WIDE = (DType.I16, DType.U16)


def _quantized_results(subject: Subject) -> Iterator[Finding]:
    """Find contractions of integers whose result one Q alone does not read."""
    for unit in node_units(subject):
        wish = subject.target.quantize.get(unit.node.kind)
        if wish is None or wish.weights is None:
            message = f"there is no kernel of integers for {unit.node.kind}: it runs in float"
            yield Finding("silent", unit.node.name, message)
            continue
        found = unit.result
        if found.quantizer is not None or (wish.free_result and not found.quantizers):
            continue
        message = (
            f"its result '{unit.node.outputs[0]}' is not read by one Q alone: it runs in float"
        )
        help = "put Q/DQ directly behind it, for all that read it"
        yield Finding("silent", unit.node.name, message, help)


def _quantized_data(subject: Subject) -> Iterator[Finding]:
    """Find stored weights whose data come from a DQ, but not from it directly."""
    graph = subject.graph
    for node, parts in contractions(graph, subject.ops):
        if data_of(graph, node.inputs[parts.data]) is not None:
            continue
        weight = weight_of(subject, node.inputs[parts.weight])
        if weight is None or not weight.conversion.stored:
            continue
        hidden = hidden_data(subject, node, parts)
        if hidden is not None:
            message = (
                f"'{hidden.name}' ({hidden.kind}) stands between it and the DQ of its data: it "
                "runs in float"
            )
            yield Finding("silent", node.name, message, "put Q/DQ behind that one too")


def _covered_clamps(subject: Subject) -> Iterator[Finding]:
    """Find a Relu or Clip between a contraction and Q that Q does not do: both stay in float."""
    for unit in node_units(subject):
        one = unit.result.quantizer
        if one is None:
            continue
        for clamp in unit.result.clamps:
            if not covers(subject, clamp, one):
                message = (
                    f"'{clamp.name}' ({clamp.kind}) stands between it and Q, whose integers reach "
                    "beyond its bounds: both run in float"
                )
                help = "calibrate behind the clamp, with a zero point: then Q does its work"
                yield Finding("silent", unit.node.name, message, help)
                break


def _integer_bias(subject: Subject) -> Iterator[Finding]:
    """Find biases in floats that the runtime does not make integers of."""
    for unit in node_units(subject):
        if not unit.bias or _is_i32(unit) or not _has_kernel(unit):
            continue
        found = dequantized(unit.graph, unit.bias)
        if found is not None:
            what = f"is stored as {found.integers.text if found.integers else 'other integers'}"
        elif subject.target.release < _QUANTIZES_BIASES:
            what = f"is float, and onnxruntime {subject.target.version} makes no integers of it"
        elif not _makes_integers_of_bias(unit):
            what = "is float, and onnxruntime makes no integers of it here"
        else:
            continue
        message = f"its bias '{unit.bias}' {what}: it runs in float"
        help = "store it as i32 with DQ, its scale that of the data times that of the weight"
        yield Finding("silent", unit.node.name, message, help)


def _has_kernel(unit: NodeUnit) -> bool:
    """Tell whether nothing but its bias can keep a unit in float."""
    wish = unit.subject.target.quantize.get(unit.node.kind)
    if wish is None or unit.result.quantizer is not None:
        return wish is not None
    return wish.free_result and not unit.result.quantizers


def _is_i32(unit: NodeUnit) -> bool:
    found = dequantized(unit.graph, unit.bias)
    return found is not None and found.integers is DType.I32


def _makes_integers_of_bias(unit: NodeUnit) -> bool:
    """Tell whether the runtime quantizes a float bias itself (weight_bias_quantization.cc).

    The data has one scale, Q follows, clamps in between at most, and the weight has one scale, or
    one per number of the bias.
    """
    scale, weights, kind = unit.data.scale, unit.weight.scale, unit.graph.type_of(unit.bias)
    if scale is None or scale.size != 1 or weights is None or not folds(unit.graph, unit.bias):
        return False
    if not isinstance(kind, TensorType) or kind.shape is None or len(kind.shape) != 1:
        return False
    quantized = unit.result.quantizer is not None and unit.result.direct
    return quantized and weights.size in (1, kind.shape[0])


def _one_type(subject: Subject) -> Iterator[Finding]:
    """Find contractions whose data and result, or whose weights, have types without a kernel."""
    for unit in node_units(subject):
        data, made = unit.data_type, unit.result_type
        if data is None or not _has_kernel(unit) or _is_signed_on_x86(unit):
            continue
        if data in _WIDE or unit.weight.integers in _WIDE:
            message = "it takes integers of 16 bits: there is no kernel, it runs in float"
        elif made is not None and made is not data:
            message = f"its data are {data.text}, its result {made.text}: it runs in float"
        elif data is DType.I8 and unit.weight.integers is not DType.I8:
            message = "its data are i8 and its weights are not: it runs in float"
        else:
            continue
        yield Finding("silent", unit.node.name, message, "quantize both to one type of 8 bits")


def _is_signed_on_x86(unit: NodeUnit) -> bool:
    return unit.data_type is DType.I8 and not keeps_signed(unit.subject)


def _unsigned_data(subject: Subject) -> Iterator[Finding]:
    """Find s8 data on x86: only what one DQ with one reader takes becomes u8."""
    for unit in node_units(subject):
        if not _is_signed_on_x86(unit) or not _has_kernel(unit):
            continue
        message = (
            f"its data '{unit.data.source}' are i8 and stay so, since more than one node reads "
            "them: x86 has kernels for u8 alone, it runs in float"
        )
        yield Finding("silent", unit.node.name, message, "quantize activations to u8")


def _whole_operands(subject: Subject) -> Iterator[Finding]:
    """Find operators between DQ and Q whose operands and result are not integers of one type."""
    graph, ops, target = subject.graph, subject.ops, subject.target
    for node in graph.nodes:
        row, wish = ops.get(node.kind), target.quantize.get(node.kind)
        if row is None or wish is None or wish.scales != "own" or len(node.outputs) != 1:
            continue
        readers = graph.users.get(node.outputs[0], ())
        if len(readers) != 1 or readers[0].op != QUANTIZE or node.outputs[0] in graph.outputs:
            continue
        found = [(dequantized(graph, value), value) for value in node.inputs if value]
        kinds = {seen_type(subject, one, v) for one, v in found if one is not None}
        if not kinds or kinds == {DType.I32}:
            continue  # floats, or a bias: it belongs to the contraction before it
        made = seen_type(subject, Conversion(graph, readers[0]), readers[0].outputs[0])
        if any(one is None for one, _ in found):
            message = "one operand comes from integers and another does not: it runs in float"
            yield Finding("silent", node.name, message, "put Q/DQ on both operands")
        elif len({*kinds, made}) > 1:
            message = "operands and result have different integer types: it runs in float"
            yield Finding("silent", node.name, message, "quantize all to one type")


def _guarded_floats(subject: Subject) -> Iterator[Finding]:
    """Find weights in floats between DQ and Q: onnxruntime quantizes them itself."""
    graph, ops = subject.graph, subject.ops
    for border in quantized_by_runtime(graph, ops):
        if dequantized(graph, border.node.inputs[border.parts.weight]) is not None:
            continue
        message = (
            "it stands between DQ and Q: onnxruntime runs it in integers, with one weight scale"
        )
        help = "let the DQ of its data have one scale per channel"
        yield Finding("silent", border.node.name, message, help)


def _readable_opset(subject: Subject) -> Iterator[Finding]:
    """Find files of an opset that came after the release (model_load_utils.h)."""
    header, target = subject.header, subject.target
    if header.opset > target.opset_max:
        message = (
            f"the file is of opset {header.opset}; onnxruntime {target.version} loads "
            f"{target.opset_max} and older"
        )
        yield Finding("error", "", message, "export it in an older opset, or slimc lint --fix")


CPU = (
    TargetRule(
        "L18",
        "readable-opset",
        "the runtime loads files of this opset",
        _readable_opset,
        write_older_forms,
    ),
    open_sizes("L25"),
    *PARAMETERS,
    TargetRule(
        "L26", "quantized-results", "one Q reads a contraction's result", _quantized_results
    ),
    TargetRule("L26", "quantized-data", "data come from a DQ directly", _quantized_data),
    TargetRule("L27", "covered-clamps", "Q does the work of clamps before it", _covered_clamps),
    TargetRule("L28", "integer-bias", "biases are i32, or become it", _integer_bias),
    UNSATURATED_WEIGHTS,
    TargetRule("L30", "one-type", "data and result have one type of 8 bits", _one_type),
    TargetRule(
        "L30", "whole-operands", "all operands of an operator are quantized", _whole_operands
    ),
    TargetRule("L32", "unsigned-data", "data are u8 on x86", _unsigned_data),
    TargetRule("L42", "guarded-floats", "what is kept in float stays there", _guarded_floats),
    FOLDED,
    TargetRule("L33", "stored-float16", "nothing is f16", stored_float16),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
)
