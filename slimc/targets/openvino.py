"""OpenVINO on CPUs and NPUs.

Evidence: OpenVINO's low precision transformations; executed precisions of its runtime model for
files in this form, where Q and DQ stand as TensorRT wants them; for NPUs what NNCF makes (its
hardware setup npu.py: the operands of Add, Mul and Concat have one scale).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from slimc.ir.types import DType
from slimc.passes.target import Grid, Placement, Quantize, Target
from slimc.targets.grids import S8, U8, W4, W4_ZERO, W8, rows, stored
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.openvino import INTEGERS
from slimc.targets.speeds import AVX2

_WEIGHTED = "Conv ConvTranspose Gather Gemm MatMul"

# Operators of com.microsoft that it reads: those of 150 that read_model did not call unsupported.
_OF_ONNXRUNTIME = (
    "Attention BiasAdd BiasGelu BifurcationDetector DequantizeLinear DynamicQuantizeLSTM "
    "DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul "
    "GatherBlockQuantized GatherND Gelu GroupNorm GroupQueryAttention MatMulIntegerToFloat "
    "MatMulNBits MultiHeadAttention Pad QLinearAdd QLinearAveragePool QLinearConcat "
    "QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere "
    "QuantizeLinear QuickGelu Range RotaryEmbedding SkipLayerNormalization "
    "SkipSimplifiedLayerNormalization Trilu"
)


def _static(activations: Grid) -> Mapping[str, Quantize]:
    """Return what runs in integers. Zero points of products of two activations keep those float."""
    contraction = Quantize(activations, W8, needs_constant=True)
    return {**rows("Conv Gemm MatMul", contraction), "Add": Quantize(activations)}


# U8 with a zero point is as fast as S8 without, and nearer: 2 to 6 dB on five small networks.
OPENVINO = Target(
    name="openvino",
    runtime="openvino",
    version="2026.4",
    summary="OpenVINO on CPUs: U8 activations, S8 weights",
    opset=17,
    opset_max=28,
    ir_version_max=15,
    oracle="openvino",
    plugins=frozenset(_OF_ONNXRUNTIME.split()),
    schemes={
        "int8": _static(U8),
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

# NPUs want one scale for the operands of Add, Mul and Concat (nncf, hardware setup npu.py). A gate
# of 0..1 has few steps left at the scale of what it gates (MobileNetV3: 0 dB), so Mul stays float.
_UNIFIED = Quantize(S8, scales="operands")

OPENVINO_NPU = replace(
    OPENVINO,
    name="openvino-npu",
    oracle="openvino:NPU",
    summary="OpenVINO on NPUs: as openvino, static, one scale for operands of Add and Concat",
    shapes="static",
    floats=(DType.F32, DType.F16),
    schemes={
        **OPENVINO.schemes,
        "int8": {**_static(S8), **rows("Add Concat", _UNIFIED)},
    },
    placement=Placement(
        output=False, activation="after", bias="float", weights="integers", residual="both"
    ),
    align_integer=32,
    align_float=32,
    notes=('compile it for the device: core.compile_model(model, "NPU")',),
)
