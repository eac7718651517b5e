"""Rules for OpenVINO: what its low precision transformations leave in float."""

from __future__ import annotations

from slimc.passes.target import TargetRule
from slimc.targets.rules_qdq import PARAMETERS, SYMMETRIC_WEIGHTS
from slimc.targets.rules_shapes import static_inputs
from slimc.targets.rules_widths import aligned_channels, folded_normalisation

INTEGERS = (
    *PARAMETERS,
    SYMMETRIC_WEIGHTS,
    TargetRule(
        "L31", "folded-normalisation", "no BatchNormalization is left", folded_normalisation
    ),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
)
NPU = (TargetRule("L37", "static-shapes", "sizes of inputs are numbers", static_inputs("error")),)
