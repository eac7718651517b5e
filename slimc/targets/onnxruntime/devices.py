"""ONNX Runtime on CPUs.

Evidence: onnxruntime's qdq_selectors.cc (which operators between DQ and Q become integer kernels),
its optimized graphs, and "Quantize ONNX models" in its documentation; of XNNPACK its conv_base.cc,
node_support_checker.cc and the page "XNNPACK Execution Provider".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from slimc.targets.grids import (
    S8_ASYMMETRIC,
    U8,
    W4,
    W4_ZERO,
    W8,
    W8_PAIRED,
    measured,
    rows,
    stored,
)
from slimc.targets.onnxruntime.rules import CPU
from slimc.targets.onnxruntime.xnnpack import XNNPACK_RULES
from slimc.targets.rules.common import COMMON
from slimc.targets.speeds import ARM64, AVX2, AVX512
from slimc.targets.target import Grid, Placement, Quantize, Target

# An integer kernel takes the place of an operator only where all its operands come from DQ and Q
# alone reads its result; a Relu in between is absorbed where the least integer means zero.
PLACEMENT = Placement(
    output=True,
    activation="absorb",
    bias="int32",
    weights="integers",
    residual="both",
    guard_floats=True,
    hold_behind=frozenset({"MaxPool"}),  # of u8 in NCHW: 35 times as long as of f32
)

_PLAIN_GEMM = {"transA": (None, 0), "alpha": (None, 1.0), "beta": (None, 1.0)}
# Measured on x86: convolutions of 3 x 3 over an image, and depthwise ones up to 5 x 5, take two to
# seven times as long in integers as in float: they pay only where Q and DQ would part integers.
# Longer sums, such as 7 x 7 over an image, are faster in integers.
_SHORT = (4, 32)
_NEAREST = {"mode": (None, "nearest")}


def _quantize(
    activations: Grid, weights: Grid, short: tuple[int, int] = (0, 0)
) -> Mapping[str, Quantize]:
    """Return what becomes an integer kernel with these grids."""
    # Products of two activations gain little: attention of 12 heads over 197 tokens is 1.14 times
    # as fast in integers, of 4 heads over 16 tokens 0.88 times.
    contraction = Quantize(activations, weights, needs_constant=True)
    alone = Quantize(activations, between=True, scales="own")
    moved = Quantize(activations, between=True)
    return {
        "Conv": replace(contraction, short=short),
        "MatMul": replace(contraction, free_result=True),
        "Gemm": replace(contraction, free_result=True, only=_PLAIN_GEMM),
        **rows("Add Mul AveragePool Concat GlobalAveragePool LeakyRelu Sigmoid", alone),
        **rows("DepthToSpace Expand Flatten MaxPool Reshape Slice Split Squeeze", moved),
        **rows("Tile Transpose Unsqueeze", moved),
        "Gather": replace(moved, weights=W8),
        "Resize": replace(moved, only=_NEAREST),
    }


# A DQ in front of a MatMul becomes MatMulNBits; elsewhere it runs each time: a smaller file only.
_WEIGHTED = "Conv ConvTranspose Gemm MatMul"
# Rows of 8 bits are looked up as they are, and scaled; of 4 bits the whole table were made real in
# every run, since no lookup takes them. Its dynamic convolution takes three to ten times as long as
# the one in floats (ConvInteger, measured with VNNI): it is none.
_TABLES = stored("Gather", W8)


def _schemes(
    activations: Grid, weights: Grid, short: tuple[int, int] = (0, 0)
) -> Mapping[str, Mapping[str, Quantize]]:
    return {
        "int8": _quantize(activations, weights, short),
        "int8-dynamic": {**measured("Gemm MatMul", weights), **_TABLES},
        "int8-weights": {**stored(_WEIGHTED, W8), **_TABLES},
        "int4-weights": {**stored(_WEIGHTED, W4), **_TABLES},
        "uint4-weights": {**stored(_WEIGHTED, W4_ZERO), **_TABLES},
    }


# Operators of its own that it keeps in the domain of ONNX.
_OWN = (
    "Affine Crop DynamicSlice GivenTensorFill ImageScaler ParametricSoftplus ScaledTanh "
    "SimplifiedLayerNormalization"
)

CPU_AVX2 = Target(
    name="cpu-avx2",
    runtime="onnxruntime",
    version="1.22",
    summary="x86 with AVX2: U8 activations, 7- to 8-bit weights (more saturate without VNNI)",
    opset=17,
    opset_max=22,
    oracle="onnxruntime",
    schemes=_schemes(U8, W8_PAIRED, _SHORT),
    placement=PLACEMENT,
    fuse_bias=True,
    domains=frozenset({"", "ai.onnx.ml", "com.microsoft"}),
    plugins=frozenset(_OWN.split()),
    align_integer=8,
    align_float=8,
    speed=AVX2,
    rules=(*COMMON, *CPU),
)

CPU_VNNI = replace(
    CPU_AVX2,
    name="cpu-vnni",
    summary="x86 with VNNI: U8 activations, 8-bit weights",
    schemes=_schemes(U8, W8, _SHORT),
    align_integer=16,
    align_float=16,
    speed=AVX512,
)

# Tiles take the same u8 and s8 as VNNI: the files do not differ.
CPU_AMX = replace(
    CPU_VNNI, name="cpu-amx", summary="x86 with AMX: as cpu-vnni, whose file runs in tiles here"
)

CPU_ARM64 = replace(
    CPU_AVX2,
    name="cpu-arm64",
    summary="64-bit ARM: S8 activations, 8-bit weights",
    schemes=_schemes(S8_ASYMMETRIC, W8),
    align_integer=4,
    align_float=4,
    speed=ARM64,
    notes=(
        "on the device S8 stays S8; a file that is optimized on x86 needs "
        "session.qdqisint8allowed=1 there",
    ),
)

# It takes Conv, AveragePool, MaxPool and others of the same integers; the CPU kernels take the
# rest, so wishes are those of the CPU. U8 data with S8 weights it has no kernel for.
XNNPACK = replace(
    CPU_ARM64,
    name="xnnpack",
    oracle="onnxruntime:XNNPACK",
    summary="phones, by ONNX Runtime's XNNPACK: S8 activations and weights, static images",
    rules=(*COMMON, *CPU, *XNNPACK_RULES),
    notes=(
        "run it with provider XnnpackExecutionProvider, option intra_op_num_threads=N; in the "
        "session 1 thread and session.intra_op.allow_spinning=0",
    ),
)
