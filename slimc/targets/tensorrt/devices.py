"""TensorRT on Jetson boards and on servers.

Evidence: NVIDIA's guide, "Q/DQ placement recommendations"; NvInfer.h and the operator lists of
onnx-tensorrt for each release; engines built by TensorRT-RTX from files in this form. Releases of
JetPack: NVIDIA, Deep-Learning-Accelerator-SW, operators/README.md.
"""

from __future__ import annotations

from dataclasses import replace

from slimc.ir.types import DType
from slimc.targets.grids import E4M3, S8, W4, W8, rows, stored
from slimc.targets.speeds import A100, H100, L4, NANO, ORIN, TX2, XAVIER
from slimc.targets.target import Placement, Quantize, Target
from slimc.targets.tensorrt.rules import FLOAT_ONLY, INTEGERS
from slimc.targets.tensorrt.versions import V8_2, V8_5, V8_6, V10_3, V10_15, Release

# TensorRT fuses a contraction with the activation, or the Add, behind it: Q/DQ between them would
# break that, so they stand on operands only. It keeps float biases.
PLACEMENT = Placement(
    output=False, activation="after", bias="float", weights="integers", residual="skip"
)
# TensorRT 8.4 and older make the integers of weights themselves.
WEIGHTS_BEFORE_Q = replace(PLACEMENT, weights="fp32-qdq")

# Products of two activations stay in float: in integers attention loses its fused kernel.
# Contractions narrower than 16 channels are padded, and slower than in float.
# Source of the bounds: NVIDIA Model-Optimizer, modelopt/onnx/quantization/graph_utils.py.
_CONV = Quantize(S8, W8, needs_constant=True, min_channels=16)
QUANTIZE = {
    "Conv": _CONV,
    **rows("Gemm MatMul", replace(_CONV, min_each=16)),
    "Add": Quantize(S8),
}
# Larger windows run in float, though they build (TensorRT-RTX: 7x7).
_CONV_F8 = Quantize(E4M3, E4M3, needs_constant=True, min_channels=17, max_window=32)
QUANTIZE_F8 = {
    "Conv": _CONV_F8,
    **rows("Gemm MatMul", replace(_CONV_F8, min_channels=0, min_each=16)),
    "Add": Quantize(E4M3),
}
_MATRICES = "Gemm MatMul"
SPARSE = frozenset({"Conv", "Gemm", "MatMul"})  # by the tensor cores of Ampere and later


def _of_release(target: Target, release: Release) -> Target:
    """Return a target on another release of TensorRT."""
    return replace(
        target,
        version=release.version,
        opset=min(17, release.opset),
        opset_max=release.opset,
        forbids=release.forbids,
        decompose=release.decompose,
        plugins=release.besides,
        lacks=release.missing,
    )


JETSON_ORIN = _of_release(
    Target(
        name="jetson-orin",
        runtime="tensorrt",
        summary="Jetson Orin, JetPack 6.1 and 6.2: INT8 where it pays, other layers in FP16",
        shapes="profile",
        ir_version_max=15,
        capability=87,
        floats=(DType.F32, DType.F16, DType.BF16),
        schemes={
            "int8": QUANTIZE,
            "int8-weights": stored(_MATRICES, W8),
            # Its importer knows the DQ of opset 21 (onnxOpImporters.cpp of 10.1, line 1588).
            "int4-weights": rows(_MATRICES, Quantize(None, W4, row_multiple=2)),
        },
        placement=PLACEMENT,
        domains=frozenset({""}),
        align_integer=32,
        align_float=8,
        sparsity=SPARSE,
        speed=ORIN,
        oracle="tensorrt-rtx:SM86",
        rules=INTEGERS,
    ),
    V10_3,
)
JETSON_ORIN_JP60 = _of_release(
    replace(
        JETSON_ORIN,
        name="jetson-orin-jp60",
        summary="Jetson Orin, JetPack 6.0: INT8 where it pays, other layers in FP16",
        floats=(DType.F32, DType.F16),
        schemes={"int8": QUANTIZE},
    ),
    V8_6,
)
JETSON_ORIN_JP51 = _of_release(
    replace(
        JETSON_ORIN_JP60,
        name="jetson-orin-jp51",
        summary="Jetson Orin, JetPack 5.1: INT8 where it pays, other layers in FP16",
    ),
    V8_5,
)
JETSON_XAVIER = replace(
    JETSON_ORIN_JP51,
    name="jetson-xavier",
    summary="Jetson Xavier, JetPack 5.1: INT8 where it pays, other layers in FP16",
    capability=72,
    sparsity=frozenset(),
    speed=XAVIER,
)
JETSON_XAVIER_JP46 = _of_release(
    replace(
        JETSON_XAVIER,
        name="jetson-xavier-jp46",
        summary="Jetson Xavier, JetPack 4.6: INT8 where it pays, f32 weights with Q and DQ",
        placement=WEIGHTS_BEFORE_Q,
    ),
    V8_2,
)
JETSON_NANO = replace(
    JETSON_XAVIER_JP46,
    name="jetson-nano",
    summary="Jetson Nano, JetPack 4.6: no INT8 in this GPU, so a pruned FP16 file",
    capability=53,
    schemes={},
    placement=None,
    prefer=DType.F16,
    align_integer=8,
    speed=NANO,
    rules=FLOAT_ONLY,
    notes=(
        "the GPU of a Jetson Nano has no INT8 arithmetic: the file is FP16, quantization would not "
        "run; pruning is what makes it faster",
    ),
)
JETSON_TX2 = replace(
    JETSON_NANO,
    name="jetson-tx2",
    summary="Jetson TX2, JetPack 4.6: no INT8 in this GPU, so a pruned FP16 file",
    capability=62,
    speed=TX2,
    notes=tuple(note.replace("Nano", "TX2") for note in JETSON_NANO.notes),
)

# From TensorRT 11 on the types in the file are final: what is not in integers is in f16, scales
# too. The release before builds the same file when it is told so.
TRT_A100 = _of_release(
    replace(
        JETSON_ORIN,
        name="trt-a100",
        summary="A100 (SM 8.0), TensorRT 10.15 and 11: INT8 and FP16, as the file says",
        capability=80,
        typed=True,
        prefer=DType.F16,
        schemes={**JETSON_ORIN.schemes, "int4-weights": stored(_MATRICES, W4)},
        speed=A100,
    ),
    V10_15,
)
TRT_ADA = replace(
    TRT_A100,
    name="trt-ada",
    summary="L4 and RTX 40 (SM 8.9), TensorRT 10.15 and 11: INT8, FP8 and FP16, as the file says",
    capability=89,
    schemes={**TRT_A100.schemes, "fp8": QUANTIZE_F8},
    speed=L4,
    oracle="tensorrt-rtx:SM89",
)
TRT_H100 = replace(
    TRT_ADA,
    name="trt-h100",
    summary="H100 (SM 9.0), TensorRT 10.15 and 11: INT8, FP8 and FP16, as the file says",
    capability=90,
    speed=H100,
)

JETSON = replace(
    JETSON_ORIN,
    chosen="jetson stands for jetson-orin (JetPack 6.1 and 6.2, TensorRT 10.3); older releases are "
    "jetson-orin-jp60 and -jp51, older boards jetson-xavier, jetson-tx2 and jetson-nano",
)
TENSORRT = {
    target.name: target
    for target in (
        JETSON_ORIN,
        JETSON_ORIN_JP60,
        JETSON_ORIN_JP51,
        JETSON_XAVIER,
        JETSON_XAVIER_JP46,
        JETSON_NANO,
        JETSON_TX2,
        TRT_A100,
        TRT_ADA,
        TRT_H100,
    )
}
