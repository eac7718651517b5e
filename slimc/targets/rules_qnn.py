"""Rules for Qualcomm's HTP: what its graph builder refuses.

Evidence: see `targets.qnn`; graphs that the emulator in onnxruntime-qnn 2.7 builds or refuses.
"""

from __future__ import annotations

from slimc.passes.target import TargetRule
from slimc.targets.rules_qdq import PARAMETERS
from slimc.targets.rules_shapes import static_inputs
from slimc.targets.rules_widths import aligned_channels, folded_normalisation

HTP = (
    *PARAMETERS,
    TargetRule("L36", "static-shapes", "sizes of inputs are numbers", static_inputs("error")),
    TargetRule(
        "L31", "folded-normalisation", "no BatchNormalization is left", folded_normalisation
    ),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
)
