"""TensorRT on Jetson boards.

Evidence: NVIDIA's guide, "Q/DQ placement recommendations"; NvInfer.h and the operator lists of
onnx-tensorrt for each release; engines built by TensorRT-RTX from files in this form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from slimc.ir.types import DType
from slimc.passes.target import Placement, Quantize, Target
from slimc.targets.grids import S8, W4, W8, rows, stored
from slimc.targets.rules_common import COMMON
from slimc.targets.rules_sparsity import SPARSE_KERNELS
from slimc.targets.rules_tensorrt import FLOAT_ONLY, INT8
from slimc.targets.speeds import NANO, ORIN

# TensorRT fuses a contraction with the activation, or the Add, behind it: Q/DQ between them would
# break that, so they stand on operands only. It keeps float biases.
PLACEMENT = Placement(
    output=False, activation="after", bias="float", weights="integers", residual="skip"
)

# Products of two activations stay in float: in integers attention loses its fused kernel.
# Contractions narrower than 16 channels are padded, and slower than in float.
# Source of the bounds: NVIDIA Model-Optimizer, modelopt/onnx/quantization/graph_utils.py.
QUANTIZE = {
    **rows("Conv Gemm MatMul", Quantize(S8, W8, needs_constant=True, min_channels=16)),
    "Add": Quantize(S8),
}

_NEVER = (
    "BitShift Compress ConcatFromSequence ConvInteger Det DynamicQuantizeLinear MatMulInteger "
    "MaxRoiPool MaxUnpool Multinomial NegativeLogLikelihoodLoss QLinearConv QLinearMatMul "
    "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer TfIdfVectorizer Unique"
)
_NOT_IN_8_2 = (
    "Hardmax IsInf MeanVarianceNormalization NonZero OneHot RandomNormal RandomNormalLike RoiAlign "
    "Shrink"
)
_NOT_IN_10_3 = (
    "AffineGrid Bernoulli BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow CenterCropPad "
    "Col2Im DFT HammingWindow HannWindow ImageDecoder MelWeightMatrix Optional OptionalGetElement "
    "OptionalHasElement RegexFullMatch STFT SequenceMap StringConcat StringSplit"
)


def _lacking(version: str, *lists: str) -> Mapping[str, str]:
    kinds: Iterable[str] = sorted(kind for names in lists for kind in names.split())
    return dict.fromkeys(kinds, f"TensorRT {version} has no such operator")


JETSON_ORIN = Target(
    name="jetson-orin",
    runtime="tensorrt",
    version="10.3",
    summary="Jetson Orin, JetPack 6.1 and 6.2: INT8 where it pays, for trtexec --int8 --fp16",
    opset=17,
    opset_max=20,
    floats=(DType.F32, DType.F16, DType.BF16),
    schemes={
        "int8": QUANTIZE,
        "int8-weights": stored("Gemm MatMul", W8),
        "int4-weights": stored("Gemm MatMul", W4),  # its importer knows the DQ of opset 21
    },
    placement=PLACEMENT,
    forbids=_lacking("10.3", _NEVER, _NOT_IN_10_3),
    align_integer=32,
    align_float=8,
    sparsity=frozenset({"Conv", "Gemm", "MatMul"}),  # Ampere
    speed=ORIN,
    rules=(*COMMON, *INT8, SPARSE_KERNELS),
    notes=("build the engine with trtexec --int8 --fp16: --int8 alone leaves the rest in f32",),
)

JETSON_NANO = Target(
    name="jetson-nano",
    runtime="tensorrt",
    version="8.2.1",
    summary="Jetson Nano and TX2, JetPack 4.6: no INT8 in this GPU, so a pruned FP16 file",
    opset=13,
    opset_max=13,
    floats=(DType.F32, DType.F16),
    prefer=DType.F16,
    forbids=_lacking("8.2", _NEVER, _NOT_IN_8_2, _NOT_IN_10_3),
    decompose=frozenset({"Mod", "Reciprocal", "Xor"}),
    align_integer=8,
    align_float=8,
    speed=NANO,
    rules=(*COMMON, *FLOAT_ONLY),
    notes=(
        "the GPU of a Jetson Nano has no INT8 arithmetic: the file is FP16, quantization would not "
        "run; pruning is what makes it faster",
        "build the engine with trtexec --fp16",
    ),
)

JETSON = replace(
    JETSON_ORIN,
    chosen="jetson stands for jetson-orin (JetPack 6.1 and 6.2, TensorRT 10.3); an older Jetson "
    "Nano is jetson-nano",
)
