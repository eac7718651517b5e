"""Rules for TensorRT: what its parser refuses, and what it silently runs in float.

Evidence: messages of onnx-tensorrt's importers, NVIDIA's placement recommendations, and engines
built by TensorRT-RTX.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.passes.emit_qdq import DEQUANTIZE
from slimc.passes.target import Finding, Subject, Target, TargetRule
from slimc.targets.contractions import (
    Conversion,
    contractions,
    conversions,
    dequantized,
    integer_contractions,
)
from slimc.targets.rules_qdq import PARAMETERS
from slimc.targets.rules_widths import aligned_channels, folded_normalisation

# Q/DQ in front of these is as good as behind them: TensorRT swaps them.
COMMUTES = frozenset(
    {"DepthToSpace", "Identity", "MaxPool", "Pad", "Reshape", "Slice", "Split", "Transpose"}
)


def _zero_points(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for one in conversions(graph):
        if one.integers is DType.I32:
            continue
        if not one.has_zero:
            message = "it has no zero point operand: TensorRT 8.5 and older need it"
        elif one.zero is None or one.zero.any():
            message = f"the zero point of '{one.source}' is not 0: quantization must be symmetric"
        else:
            continue
        yield Finding("error", one.node.name, message)


def _int8_only(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    refused = (DType.U8, DType.I16, DType.U16, DType.U4)
    for one in conversions(graph):
        if one.integers in refused:
            message = f"'{one.source}' is quantized to {one.integers.text}; TensorRT takes i8"
            yield Finding("error", one.node.name, message)


def _float_bias(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for one in conversions(graph):
        if one.node.op == DEQUANTIZE and one.integers is DType.I32:
            message = f"bias '{one.source}' is stored as i32; TensorRT takes float biases"
            yield Finding("error", one.node.name, message)


def _scalar_scales(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for one in conversions(graph):
        if not one.stored and one.scale is not None and one.scale.size == 1 and one.scale.ndim:
            message = f"the scale of activation '{one.source}' has shape [1]; it must be a scalar"
            yield Finding("silent", one.node.name, message)


def _both_operands(subject: Subject) -> Iterator[Finding]:
    """Both the data and the weight of an integer contraction come from a DQ."""
    graph, ops, target = subject.graph, subject.ops, subject.target
    for node, parts in contractions(graph, ops):
        data = _behind_commuting(graph, node.inputs[parts.data])
        weight = dequantized(graph, node.inputs[parts.weight])
        if (data is None) == (weight is None):
            continue
        if not node.integer and _stores_weights(target, node.kind) and data is None:
            continue  # floats with weights that are stored small
        value = node.inputs[parts.data]
        if data is None and (_broken_by(graph, value) or _unequal(graph, value)):
            continue  # a rule below says more
        part = "data" if data is None else "weight"
        message = f"its {part} is not quantized, so it runs in float"
        yield Finding("silent", node.name, message)


def _stores_weights(target: Target, kind: str) -> bool:
    """Tell whether a scheme of the target stores an operator's weights small, and nothing else."""
    wishes = [scheme[kind] for scheme in target.schemes.values() if kind in scheme]
    return any(wish.activations is None for wish in wishes)


def _behind_activation(subject: Subject) -> Iterator[Finding]:
    """Q/DQ stand behind activations, pools and resizes, directly before the contraction."""
    graph, ops = subject.graph, subject.ops
    for node, parts in contractions(graph, ops):
        value = node.inputs[parts.data]
        if dequantized(graph, node.inputs[parts.weight]) is None:
            continue
        if _behind_commuting(graph, value) is not None:
            continue
        between = _broken_by(graph, value)
        if between is not None:
            message = (
                f"'{between.name}' ({between.kind}) stands between it and the Q/DQ of its data"
            )
            help = "put Q/DQ directly before the contraction"
            yield Finding("silent", node.name, message, help)


def _behind_commuting(graph: Graph, value: str) -> Conversion | None:
    """Return the DQ of a value, seen through operators that swap with it."""
    found = dequantized(graph, value)
    maker = graph.producers.get(value)
    while found is None and maker is not None and maker.kind in COMMUTES | {"Concat"}:
        if maker.kind == "Concat" and not _same_scales(graph, maker):
            return None
        found = dequantized(graph, maker.inputs[0])
        maker = graph.producers.get(maker.inputs[0])
    return found


def _same_scales(graph: Graph, node: Node) -> bool:
    """Tell whether all operands come from a DQ, of one scale."""
    first, *rest = (dequantized(graph, value) for value in node.inputs)
    return first is not None and all(d is not None and d.same_scale(first) for d in rest)


def _unequal(graph: Graph, value: str) -> Node | None:
    """Return the Concat that makes `value` of quantized operands whose scales differ."""
    maker = graph.producers.get(value)
    if maker is None or maker.kind != "Concat" or dequantized(graph, maker.inputs[0]) is None:
        return None
    return None if _same_scales(graph, maker) else maker


def _broken_by(graph: Graph, value: str) -> Node | None:
    """Return the operator of one computed operand that hides a DQ from what reads `value`."""
    first = None
    maker = graph.producers.get(value)
    while maker is not None and maker.op != DEQUANTIZE:
        computed = [v for v in maker.inputs if v and v not in graph.constants]
        if len(computed) != 1:
            return None
        if maker.kind not in COMMUTES and first is None:
            first = maker
        maker = graph.producers.get(computed[0])
    return first if maker is not None else None


def _concat_scales(subject: Subject) -> Iterator[Finding]:
    graph, ops = subject.graph, subject.ops
    for node, parts in contractions(graph, ops):
        maker = _unequal(graph, node.inputs[parts.data])
        if maker is not None:
            message = f"it reads '{maker.name}', whose operands have different scales"
            yield Finding("silent", node.name, message)


def _one_branch(subject: Subject) -> Iterator[Finding]:
    """Find Q/DQ between an Add and the contraction that feeds it: the two would fuse."""
    graph, ops = subject.graph, subject.ops
    makers = {node.outputs[0] for node, _ in contractions(graph, ops)}
    for node in graph.nodes:
        if node.kind != "Add":
            continue
        found = [dequantized(graph, value) for value in node.inputs]
        if all(one is not None for one in found) and any(
            one is not None and one.source in makers and len(graph.users[one.source]) == 1
            for one in found
        ):
            message = "both operands are quantized: the Add is a kernel of its own"
            yield Finding("perf", node.name, message)


def _no_integers(subject: Subject) -> Iterator[Finding]:
    graph, target = subject.graph, subject.target
    for one in conversions(graph):
        message = f"{target.name} has no integer arithmetic: a file with Q/DQ does not build"
        yield Finding("error", one.node.name, message, "leave out quant")


def _four_channels(subject: Subject) -> Iterator[Finding]:
    """Integer kernels work on four channels at a time; others are padded, with a copy."""
    graph, ops = subject.graph, subject.ops
    found = list(integer_contractions(graph, ops))
    bounds = subject.facts.bounds if found else {}
    for node, parts in found:
        sizes = bounds[node.name].sizes if node.name in bounds else {}
        group, channels = sizes.get("g", 1), sizes.get(parts.channel)
        if group == 1 and isinstance(channels, int) and channels % 4:
            message = f"{channels} output channels are no multiple of 4: they are padded and copied"
            yield Finding("perf", node.name, message)


FOLDED = TargetRule(
    "L14", "folded-normalisation", "no BatchNormalization is left", folded_normalisation
)
ALIGNED = TargetRule(
    "L24", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
)

INT8 = (
    *PARAMETERS,
    TargetRule("L01", "zero-points", "every Q and DQ has zero point 0", _zero_points),
    TargetRule("L02", "int8-only", "integers are i8", _int8_only),
    TargetRule("L03", "float-bias", "biases are float", _float_bias),
    TargetRule("L06", "scalar-scales", "scales of activations are scalars", _scalar_scales),
    TargetRule("L09", "both-operands", "data and weight are quantized, or neither", _both_operands),
    TargetRule(
        "L11", "behind-activation", "Q/DQ stand directly before contractions", _behind_activation
    ),
    TargetRule("L12", "concat-scales", "a quantized Concat has one scale", _concat_scales),
    TargetRule("L13", "one-branch", "an Add has Q/DQ on the skip branch only", _one_branch),
    TargetRule("L24", "four-channels", "integer contractions make multiples of 4", _four_channels),
    FOLDED,
    ALIGNED,
)
FLOAT_ONLY = (
    TargetRule("L20", "no-integers", "there is no Q or DQ", _no_integers),
    FOLDED,
    ALIGNED,
)
