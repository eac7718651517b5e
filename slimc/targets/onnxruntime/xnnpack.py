"""Rules for XNNPACK: what its provider leaves to the CPU kernels.

Evidence: onnxruntime's conv_base.cc (GetConvCompType: "u8s8 is not support"; axes C, H and W
must be known, weights constant, images of two axes).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.ir.types import DType
from slimc.targets.node_units import node_units
from slimc.targets.qoperators import qoperators
from slimc.targets.target import Finding, Subject, TargetRule

_IMAGE = 4  # axes of what it convolves


def _one_signedness(subject: Subject) -> Iterator[Finding]:
    """Find convolutions of u8 data with s8 weights, or of u8 with a scale per channel."""
    for unit in node_units(subject):
        weight = unit.weight
        if subject.graph.rank_of(unit.node.inputs[unit.parts.weight]) != _IMAGE:
            continue
        if unit.data.integers is not DType.U8:
            continue
        if weight.integers is DType.I8:
            message = "its data are u8 and its weights i8: XNNPACK has no such kernel"
        elif weight.scale is not None and weight.scale.size > 1:
            message = "its weights are u8 with a scale per channel: XNNPACK takes one for all"
        else:
            continue
        yield Finding("silent", unit.node.name, message, "quantize both to i8")
    for one in qoperators(subject.graph):
        if one.slides and one.data is DType.U8 and one.weight.dtype == np.int8:
            message = "its data are u8 and its weights i8: XNNPACK has no such kernel"
            yield Finding("silent", one.node.name, message, "quantize both to i8")


def _known_image(subject: Subject) -> Iterator[Finding]:
    """Find convolutions of images whose channels, height or width are not known."""
    for unit in node_units(subject):
        kind = unit.graph.tensor(unit.node.inputs[unit.parts.data])
        if kind is None or kind.shape is None or len(kind.shape) != _IMAGE:
            continue
        if subject.graph.rank_of(unit.node.inputs[unit.parts.weight]) != _IMAGE:
            continue
        if not all(isinstance(size, int) for size in kind.shape[1:]):
            message = f"its data are {kind}: XNNPACK must know channels, height and width"
            yield Finding("silent", unit.node.name, message, "fix sizes of inputs: --shape")


XNNPACK_RULES = (
    TargetRule("L35", "one-signedness", "data and weights are both s8, or u8", _one_signedness),
    TargetRule("L35", "known-image", "channels, height and width are known", _known_image),
)
