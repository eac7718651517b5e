"""Rules for Qualcomm's HTP: what its graph builder does not take, so that the CPU runs it.

The session says nothing of it, unless session.disable_cpu_ep_fallback is set: then it fails.
Evidence: see `targets.qnn`; graphs that the emulator in onnxruntime-qnn 2.7 builds or refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.types import DType
from slimc.passes.target import Finding, Subject, TargetRule
from slimc.targets.contractions import contractions, conversions, dequantized, weight_of
from slimc.targets.node_units import covers, node_units
from slimc.targets.rules.qdq import SCALES
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.widths import FOLDED, aligned_channels


def _quantized_results(subject: Subject) -> Iterator[Finding]:
    """Find contractions of integers whose result one Q alone does not read."""
    for unit in node_units(subject):
        if unit.result.quantizer is None:
            message = (
                f"its result '{unit.node.outputs[0]}' is not read by one Q alone: QNN does not "
                "take it"
            )
            help = "put Q/DQ directly behind it, for all that read it; both branches of an Add too"
            yield Finding("error", unit.node.name, message, help)


def _covered_clamps(subject: Subject) -> Iterator[Finding]:
    """Find a Relu or Clip between a contraction and Q that Q does not do."""
    for unit in node_units(subject):
        one = unit.result.quantizer
        found = (c for c in unit.result.clamps if one is not None and not covers(subject, c, one))
        clamp = next(found, None)
        if clamp is not None:
            message = f"'{clamp.name}' ({clamp.kind}) stands between it and Q: QNN does not take it"
            help = "put Q/DQ between the two, or calibrate behind the clamp, with a zero point"
            yield Finding("error", unit.node.name, message, help)


def _one_type(subject: Subject) -> Iterator[Finding]:
    """Find contractions whose data and result are integers of different types."""
    for unit in node_units(subject):
        one = unit.result.quantizer
        data, made = unit.data.integers, one.integers if one is not None else None
        if data is not None and made is not None and data is not made:
            message = f"its data are {data.text}, its result {made.text}: QNN does not take it"
            yield Finding("error", unit.node.name, message, "quantize both to one type")


def _tensor_activations(subject: Subject) -> Iterator[Finding]:
    """Find activations with several scales: the session fails."""
    for one in conversions(subject.graph):
        if not one.stored and one.scale is not None and one.scale.size > 1:
            message = f"activation '{one.source}' has {one.scale.size} scales: QNN takes one"
            yield Finding("error", one.node.name, message, "quantize it per tensor")


def _channel_axis(subject: Subject) -> Iterator[Finding]:
    """Find weights with scales along another axis than that of the output channels."""
    bounds = subject.facts.bounds
    for node, parts in contractions(subject.graph, subject.ops):
        weight = weight_of(subject, node.inputs[parts.weight])
        axes = bounds[node.name].inputs[parts.weight] if node.name in bounds else None
        if weight is None or weight.axis is None or weight.conversion.block or axes is None:
            continue
        if parts.channel not in {label.name for term in axes[weight.axis] for label in term}:
            message = f"the scales of its weight lie along axis {weight.axis}: QNN does not take it"
            yield Finding("error", node.name, message, "let them lie along the output channels")


def _narrow_weights(subject: Subject) -> Iterator[Finding]:
    """Find convolutions with weights of 16 bits: old chips have no kernel for them."""
    for unit in node_units(subject):
        if unit.parts.bias is not None and unit.weight.integers in (DType.I16, DType.U16):
            message = "its weights have 16 bits: HTP v68 does not take them, v73 does"
            yield Finding("info", unit.node.name, message, "give weights 8 bits")


def _unsigned_normalisation(subject: Subject) -> Iterator[Finding]:
    """Find normalisations by constants of s8 data: the builder takes them of u8 alone."""
    for node in subject.graph.nodes:
        row = subject.ops.get(node.kind)
        data = dequantized(subject.graph, node.inputs[0]) if row and row.running else None
        if data is not None and data.integers is DType.I8:
            message = f"{node.kind} of i8 data: QNN does not take it"
            yield Finding("error", node.name, message, "fold it into the layer before it")


HTP = (
    open_sizes("L36"),
    *SCALES,
    TargetRule("L07", "tensor-activations", "activations have one scale", _tensor_activations),
    TargetRule(
        "L26", "quantized-results", "one Q reads a contraction's result", _quantized_results
    ),
    TargetRule("L27", "covered-clamps", "Q does the work of clamps before it", _covered_clamps),
    TargetRule("L30", "one-type", "data and result have one type", _one_type),
    FOLDED,
    TargetRule(
        "L31", "unsigned-normalisation", "BatchNormalization has u8 data", _unsigned_normalisation
    ),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
    TargetRule("L36", "taken-axis", "scales lie along the axis that QNN takes", _channel_axis),
    TargetRule("L36", "narrow-weights", "weights of convolutions have 8 bits", _narrow_weights),
)
