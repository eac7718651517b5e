"""Rules on the parameters of Q/DQ nodes: scales, zero points, axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.ir.types import DType, TensorType
from slimc.passes.target import Finding, Subject, TargetRule
from slimc.targets.contractions import contractions, conversions, dequantized


def _positive_scales(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    for one in conversions(graph):
        scale = one.scale
        if scale is None:
            message = f"the scale of '{one.source}' is computed at run time"
            yield Finding("error", one.node.name, message)
        elif not (np.isfinite(scale.astype(np.float32)) & (scale > 0)).all():
            message = f"a scale of '{one.source}' is not a positive number"
            help = "dead channels need a scale too"
            yield Finding("error", one.node.name, message, help)


def _fitting_scales(subject: Subject) -> Iterator[Finding]:
    """One scale per index of the axis, and one zero point per scale."""
    graph = subject.graph
    for one in conversions(graph):
        if one.scale is None:
            continue
        if one.zero is not None and one.zero.size != one.scale.size:
            message = f"{one.scale.size} scales but {one.zero.size} zero points"
            yield Finding("error", one.node.name, message)
        kind = graph.type_of(one.node.inputs[0])
        axis = one.axis
        if axis is None or not isinstance(kind, TensorType) or kind.shape is None:
            continue
        size = kind.shape[axis]
        if not isinstance(size, int):
            continue
        scales = one.scale.shape[axis] if one.block else one.scale.size
        if scales != -(-size // max(one.block, 1)):
            blocks = f" in blocks of {one.block}" if one.block else ""
            message = f"{scales} scales along axis {axis}, which has {size}{blocks}"
            yield Finding("error", one.node.name, message)


def _tensor_activations(subject: Subject) -> Iterator[Finding]:
    """Find activations with several scales; equal ones may keep in float what is meant to be."""
    graph, target = subject.graph, subject.target
    guarded = target.placement is not None and target.placement.guard_floats
    for one in conversions(graph):
        if one.stored or one.scale is None or (guarded and np.ptp(one.scale) == 0):
            continue
        if one.scale.size > 1:
            message = f"activation '{one.source}' has {one.scale.size} scales: it runs in float"
            yield Finding("silent", one.node.name, message)


def _channel_axis(subject: Subject) -> Iterator[Finding]:
    """Scales of a weight lie along the output channels of its reader."""
    graph, ops = subject.graph, subject.ops
    found = [
        (n, parts, dequantized(graph, n.inputs[parts.weight]))
        for n, parts in contractions(graph, ops)
    ]
    bounds = subject.facts.bounds if any(one is not None for _, _, one in found) else {}
    for node, parts, one in found:
        axes = bounds[node.name].inputs[parts.weight] if node.name in bounds else None
        if one is None or one.axis is None or one.block or axes is None:
            continue
        if parts.channel not in {label.name for term in axes[one.axis] for label in term}:
            message = f"the scales of its weight lie along axis {one.axis}, not the output channels"
            yield Finding("silent", node.name, message)


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


PARAMETERS = (
    TargetRule("L04", "positive-scales", "every scale is a positive constant", _positive_scales),
    TargetRule("L05", "fitting-scales", "as many scales as the axis has indices", _fitting_scales),
    TargetRule("L07", "tensor-activations", "activations have one scale", _tensor_activations),
    TargetRule("L08", "channel-axis", "scales of weights lie along output channels", _channel_axis),
)
SYMMETRIC_WEIGHTS = TargetRule(
    "L37", "symmetric-weights", "weights are S8 with zero point 0", _symmetric_weights
)
