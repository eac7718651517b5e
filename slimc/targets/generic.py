"""Any runtime that reads plain ONNX: the form that most of them understand."""

from __future__ import annotations

from slimc.ir.types import DType
from slimc.targets.grids import E4M3, S8, U16, W4, W4_ZERO, W8, measured, rows, stored
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.qdq import PARAMETERS, SUPERFLUOUS_CLAMPS
from slimc.targets.rules.saturation import UNSATURATED_WEIGHTS
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.target import Grid, Placement, Quantize, Target

_WEIGHTED = "Conv ConvTranspose Gemm MatMul"
_TABLES = stored("Gather", W8)  # rows of 8 bits are looked up as they are; none takes 4 bits


def _static(activations: Grid, weights: Grid) -> dict[str, Quantize]:
    return {
        **rows("Conv Gemm MatMul", Quantize(activations, weights, needs_constant=True)),
        "Add": Quantize(activations, between=True),
        **_TABLES,
    }


GENERIC_ONNX = Target(
    name="generic-onnx",
    runtime="any",
    summary="plain ONNX, opset 17: S8 symmetric, Q/DQ on operands and results, f32 biases",
    opset=17,
    opset_max=17,
    floats=(DType.F32, DType.F16, DType.BF16),
    schemes={
        "int8": _static(S8, W8),
        "int8-dynamic": {**measured("Gemm MatMul", W8), **_TABLES},
        "int8-weights": {**stored(_WEIGHTED, W8), **_TABLES},
        "int4-weights": {**stored(_WEIGHTED, W4), **_TABLES},
        "uint4-weights": {**stored(_WEIGHTED, W4_ZERO), **_TABLES},
        "int16-act": _static(U16, W8),
        "fp8": _static(E4M3, E4M3),
    },
    placement=Placement(
        output=True, activation="after", bias="float", weights="integers", residual="both"
    ),
    align_integer=8,
    align_float=8,
    rules=(*COMMON, *PARAMETERS, SUPERFLUOUS_CLAMPS, UNSATURATED_WEIGHTS, open_sizes("L25")),
)
