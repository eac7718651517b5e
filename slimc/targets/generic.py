"""Any runtime that reads plain ONNX: the form that most of them understand."""

from __future__ import annotations

from slimc.passes.context import Placement, Quantize, Target
from slimc.targets.grids import S8, W8, rows
from slimc.targets.rules_common import COMMON
from slimc.targets.rules_qdq import PARAMETERS

GENERIC_ONNX = Target(
    name="generic-onnx",
    runtime="any",
    summary="plain ONNX, opset 17: S8 symmetric, Q/DQ on operands and results, f32 biases",
    opset=17,
    opset_max=17,
    quantize={
        **rows("Conv Gemm MatMul", Quantize(S8, W8, needs_constant=True)),
        "Add": Quantize(S8, between=True),
    },
    placement=Placement(
        output=True, activation="after", bias="float", weights="integers", residual="both"
    ),
    align_integer=8,
    align_float=8,
    rules=(*COMMON, *PARAMETERS),
)
