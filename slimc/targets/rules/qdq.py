"""Rules on the parameters of integers: scales, zero points, axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.ops.axes import labels_of
from slimc.ops.qdq import DEQUANTIZE
from slimc.targets.contractions import Conversion, contractions, conversions, dequantized, weight_of
from slimc.targets.fixes.clamps import covered_clamps, delete_covered_clamps
from slimc.targets.fixes.scales import make_signed, revive_dead_scales, spread_zero_points
from slimc.targets.target import Finding, Subject, TargetRule

# Operators that are integer themselves: where their scales stand (ONNX and onnxruntime's schemas).
_SCALES = {
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "com.microsoft.QGemm": (1, 4, 7),
    "com.microsoft.QLinearAdd": (1, 4, 6),
    "com.microsoft.QLinearAveragePool": (1, 3),
    "com.microsoft.QLinearConv": (1, 4, 6),
    "com.microsoft.QLinearGlobalAveragePool": (1, 3),
    "com.microsoft.QLinearLeakyRelu": (1, 3),
    "com.microsoft.QLinearMul": (1, 4, 6),
    "com.microsoft.QLinearSigmoid": (1, 3),
    "com.microsoft.QLinearSoftmax": (1, 3),
}


def _positive_scales(subject: Subject) -> Iterator[Finding]:
    """Find scales that divide by zero, or are no numbers. What is computed is not known."""
    for one in conversions(subject.graph):
        if one.scale is not None and not _is_positive(one.scale):
            yield _not_positive(one.node, one.source, one.scale)
    for node in subject.graph.nodes:
        for i in _SCALES.get(node.kind, ()):
            value = node.inputs[i] if i < len(node.inputs) else ""
            scale = subject.graph.array(value)
            if scale is not None and not _is_positive(scale):
                yield _not_positive(node, value, scale)


def _is_positive(scale: np.ndarray) -> bool:
    real = scale.astype(np.float32)
    return bool((np.isfinite(real) & (real > 0)).all())


def _not_positive(node: Node, value: str, scale: np.ndarray) -> Finding:
    real = scale.astype(np.float32)
    wrong = real[~(np.isfinite(real) & (real > 0))]
    message = (
        f"{wrong.size} of {scale.size} scales of '{value}' are no positive numbers: {wrong[0]}"
    )
    return Finding("error", node.name, message, "channels that are all 0 need a scale too, say 1")


def _constant_scales(subject: Subject) -> Iterator[Finding]:
    """Find scales and zero points that are computed: for runtimes that fix them when they build."""
    for one in conversions(subject.graph):
        if one.scale is None or (one.has_zero and one.zero is None):
            what = "scale" if one.scale is None else "zero point"
            message = f"the {what} of '{one.source}' is computed at run time"
            help = "quantize with ranges that are fixed ahead (scheme int8), or leave it in float"
            yield Finding("error", one.node.name, message, help)


def _fitting_scales(subject: Subject) -> Iterator[Finding]:
    """One scale per index of the axis, and one zero point per scale, of the integers' type."""
    for one in conversions(subject.graph):
        message = _misfit(subject.graph, one)
        if message:
            help = "scales lie along `axis`, one per index of it, or one for all"
            yield Finding("error", one.node.name, message, help)


def _misfit(graph: Graph, one: Conversion) -> str:
    """Return why scales do not fit the data; empty if they do, or it is not known."""
    if one.scale is None:
        return ""
    if one.zero is not None and one.zero.size != one.scale.size:
        return f"{one.scale.size} scales but {one.zero.size} zero points"
    kind = graph.tensor(one.node.inputs[0])
    if kind is None:
        return ""
    if one.node.op == DEQUANTIZE and one.integers is not None and one.integers is not kind.dtype:
        return f"integers of {kind.dtype.text} but a zero point of {one.integers.text}"
    if kind.shape is None or one.scale.size == 1:
        return ""
    axis = one.axis
    if axis is None or not -len(kind.shape) <= _axis(one) < len(kind.shape):
        return f"{one.scale.size} scales along axis {_axis(one)} of data of rank {len(kind.shape)}"
    size = kind.shape[axis]
    if not isinstance(size, int):
        return ""
    if one.block:
        return _block_misfit(one, axis, size, len(kind.shape))
    if one.scale.ndim != 1:
        return f"scales of shape {list(one.scale.shape)}, where a list of {size} is due"
    if one.scale.size != size:
        return f"{one.scale.size} scales along axis {axis}, which has {size}"
    return ""


def _axis(one: Conversion) -> int:
    axis = one.node.attrs.get("axis", 1)
    return axis if isinstance(axis, int) else 1


def _block_misfit(one: Conversion, axis: int, size: int, rank: int) -> str:
    if one.scale is None or one.scale.ndim != rank:
        return f"scales of blocks need as many axes as the data, {rank}"
    blocks = one.scale.shape[axis]
    if blocks != -(-size // one.block):
        return f"{blocks} scales along axis {axis}, which has {size} in blocks of {one.block}"
    return ""


def _tensor_activations(subject: Subject) -> Iterator[Finding]:
    """Find activations with several scales; equal ones may keep in float what is meant to be."""
    graph, target = subject.graph, subject.target
    guarded = target.placement is not None and target.placement.guard_floats
    for one in conversions(graph):
        if one.stored or one.scale is None or (guarded and _is_one_number(one.scale)):
            continue
        if one.scale.size > 1:
            message = f"activation '{one.source}' has {one.scale.size} scales: it runs in float"
            help = "calibrate one scale for all its channels"
            yield Finding("silent", one.node.name, message, help)


def _is_one_number(scale: np.ndarray) -> bool:
    return bool((scale == scale.reshape(-1)[:1]).all())


def _channel_axis(subject: Subject) -> Iterator[Finding]:
    """Scales of a weight lie along the output channels of its reader."""
    for node, parts in contractions(subject.graph, subject.ops):
        found = weight_of(subject, node.inputs[parts.weight])
        if found is None or found.axis is None or found.conversion.block:
            continue
        bound = subject.facts.bounds.get(node.name)
        axes = bound.inputs[parts.weight] if bound is not None else None
        if axes is None or found.axis >= len(axes):
            continue
        if parts.channel not in labels_of((axes[found.axis],)):
            message = (
                f"the scales of its weight lie along axis {found.axis}, not the output channels"
            )
            help = "quantize the weight with one scale per output channel, or with one for all"
            yield Finding("silent", node.name, message, help)


def _symmetric_weights(subject: Subject) -> Iterator[Finding]:
    graph, ops = subject.graph, subject.ops
    for node, parts in contractions(graph, ops):
        one = dequantized(graph, node.inputs[parts.weight])
        if one is None or not one.stored:
            continue
        if one.integers in (DType.I4, DType.U4):
            continue  # weights alone: floats are what is wanted
        if one.integers is not DType.I8 or (one.zero is not None and one.zero.any()):
            message = f"its weight '{one.source}' is not symmetric i8: it runs in float"
            yield Finding("silent", node.name, message)


def _superfluous_clamps(subject: Subject) -> Iterator[Finding]:
    """Find clamps before a Q that clamps as much, for runtimes that do not see that themselves."""
    for clamp in covered_clamps(subject):
        message = f"{clamp.kind}: the Q behind it clamps as much"
        yield Finding("perf", clamp.name, message, "delete it: no value changes")


SCALES = (
    TargetRule(
        "L04",
        "positive-scales",
        "every scale is a positive number",
        _positive_scales,
        revive_dead_scales,
    ),
    TargetRule(
        "L05",
        "fitting-scales",
        "as many scales as the axis has indices, and as many zero points",
        _fitting_scales,
        spread_zero_points,
    ),
    TargetRule("L08", "channel-axis", "scales of weights lie along output channels", _channel_axis),
)
TENSOR_ACTIVATIONS = TargetRule(
    "L07", "tensor-activations", "activations have one scale", _tensor_activations
)
CONSTANT_SCALES = TargetRule(
    "L04", "constant-scales", "scales and zero points are constants", _constant_scales
)
SUPERFLUOUS_CLAMPS = TargetRule(
    "L27",
    "superfluous-clamps",
    "no clamp stands where Q clamps as much",
    _superfluous_clamps,
    delete_covered_clamps,
)
PARAMETERS = (*SCALES, TENSOR_ACTIVATIONS)
SYMMETRIC_WEIGHTS = TargetRule(
    "L37", "symmetric-weights", "weights are S8 with zero point 0", _symmetric_weights, make_signed
)
