"""OpenVINO on CPUs.

Evidence: OpenVINO's low precision transformations; executed precisions of its runtime model for
files in this form, which is TensorRT's.
"""

from __future__ import annotations

from slimc.passes.target import Placement, Quantize, Target
from slimc.targets.grids import S8, W4, W4_ZERO, W8, rows, stored
from slimc.targets.rules_common import COMMON
from slimc.targets.rules_openvino import INTEGERS
from slimc.targets.speeds import AVX2

_WEIGHTED = "Conv ConvTranspose Gather Gemm MatMul"

OPENVINO = Target(
    name="openvino",
    runtime="openvino",
    version="2026.4",
    summary="OpenVINO on CPUs: S8 activations and weights",
    opset=17,
    opset_max=28,
    schemes={
        "int8": {
            **rows("Conv Gemm MatMul", Quantize(S8, W8, needs_constant=True)),
            "Add": Quantize(S8),
        },
        "int8-weights": stored(_WEIGHTED, W8),
        "int4-weights": stored(_WEIGHTED, W4),
        "uint4-weights": stored(_WEIGHTED, W4_ZERO),
    },
    placement=Placement(
        output=False, activation="after", bias="float", weights="integers", residual="skip"
    ),
    align_integer=16,
    speed=AVX2,
    align_float=16,
    rules=(*COMMON, *INTEGERS),
)
