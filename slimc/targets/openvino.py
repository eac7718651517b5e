"""OpenVINO on CPUs.

Evidence: OpenVINO's low precision transformations; executed precisions of its runtime model for
files in this form, which is TensorRT's.
"""

from __future__ import annotations

from slimc.passes.context import Placement, Quantize, Target
from slimc.targets.grids import S8, W8, rows
from slimc.targets.rules_common import COMMON
from slimc.targets.rules_openvino import INTEGERS
from slimc.targets.speeds import AVX2

OPENVINO = Target(
    name="openvino",
    runtime="openvino",
    version="2026.4",
    summary="OpenVINO on CPUs: S8 activations and weights",
    opset=17,
    opset_max=28,
    quantize={
        **rows("Conv Gemm MatMul", Quantize(S8, W8, needs_constant=True)),
        "Add": Quantize(S8),
    },
    placement=Placement(
        output=False, activation="after", bias="float", weights="integers", residual="skip"
    ),
    align_integer=16,
    speed=AVX2,
    align_float=16,
    rules=(*COMMON, *INTEGERS),
)
