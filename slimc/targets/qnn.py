"""Qualcomm's Hexagon Tensor Processor (HTP), by the QNN execution provider of ONNX Runtime.

It computes in integers only, or in f16 where the chip can: so every operator has Q/DQ around it,
its weighted ones and all others.

Evidence: the provider's op_builder_factory.cc (operators), conv_op_builder.cc (axes of scales),
qnn_model.cc (static shapes); onnxruntime/quantization/execution_providers/qnn/quant_config.py
(least range, ranges of Sigmoid and Tanh, per-tensor MatMul); graphs built by the emulator in
onnxruntime-qnn 2.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from slimc.ir.types import DType
from slimc.passes.target import Grid, Placement, Quantize, Target
from slimc.targets.grids import U8, U16, W8, W8_TENSOR, rows
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.qnn import HTP

LEAST_RANGE = 1e-4  # of real numbers: quant_config.py, MinimumRealRange

_OWN = (
    "Abs Add AveragePool Concat Div Elu Exp Gelu GlobalAveragePool HardSigmoid HardSwish "
    "LayerNormalization LeakyRelu LogSoftmax Max Min Mul Neg PRelu Pow ReduceL2 ReduceMax "
    "ReduceMean ReduceMin ReduceSum Sigmoid Softmax Sqrt Sub Sum Tanh Clip Relu"
)
_MOVED = (
    "DepthToSpace Expand Flatten Gather GatherElements GlobalMaxPool MaxPool Pad Reshape Slice "
    "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where"
)


def _quantize(
    activations: Grid, results: Mapping[str, tuple[float, float]]
) -> Mapping[str, Quantize]:
    """Return what runs in integers; results: ranges that kernels take for granted."""
    own = Quantize(activations, anywhere=True, scales="own")
    contraction = Quantize(activations, W8)
    return {
        **rows("Conv ConvTranspose", contraction),
        **rows("Gemm MatMul", replace(contraction, weights=W8_TENSOR)),
        **rows(_OWN, own),
        **{kind: replace(own, result=known) for kind, known in results.items()},
        **rows(_MOVED, Quantize(activations, anywhere=True)),
        "Resize": Quantize(activations, anywhere=True, only={"mode": (None, "nearest", "linear")}),
    }


# In 16 bits: scale 1 / 65536 from 0 on; scale 1 / 32768 around the middle.
_WIDE_RESULTS = {"Sigmoid": (0.0, 65535 / 65536), "Tanh": (-1.0, 32767 / 32768)}

SNAPDRAGON_HTP = Target(
    name="snapdragon-htp",
    runtime="qnn",
    version="2.7",
    summary="Snapdragon's HTP by ONNX Runtime's QNN: U8 (or U16) activations, Q/DQ around all",
    opset=17,
    opset_max=21,
    shapes="static",
    oracle="qnn:73",
    floats=(DType.F32, DType.F16),
    schemes={
        "int8": _quantize(replace(U8, least=LEAST_RANGE), {}),
        "int16-act": _quantize(replace(U16, least=LEAST_RANGE), _WIDE_RESULTS),
    },
    placement=Placement(
        output=True, activation="absorb", bias="int32", weights="integers", residual="both"
    ),
    fuse_bias=True,
    domains=frozenset({"", "ai.onnx.ml", "com.microsoft"}),  # Q and DQ of 16 bits before opset 21
    forbids={
        "Erf": "QNN has no such operator; Gelu it has",
        "If": "QNN runs no bodies",
        "Loop": "QNN runs no bodies",
        "Scan": "QNN runs no bodies",
    },
    align_integer=32,
    align_float=32,
    rules=(*COMMON, *HTP),
    notes=(
        "run it with provider QNNExecutionProvider, backend_path libQnnHtp.so (QnnHtp.dll); "
        "session.disable_cpu_ep_fallback=1 shows whether all of it runs there",
    ),
)
