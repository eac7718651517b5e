"""What the ONNX parsers of TensorRT's releases know.

Sources: onnx-tensorrt, docs/operators.md and docs/Changelog.md of the branches 8.2 to 10.1;
onnxOpCheckers.cpp of 10.x; `OnnxParser.supports_operator` of TensorRT-RTX 1.7 for 10.15 and later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slimc.targets.express.decompose import WAYS
from slimc.targets.tensorrt.plugins import missing_attributes, plugins_of

_NEVER = (
    "AffineGrid Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor "
    "CenterCropPad Col2Im Compress ConcatFromSequence ConvInteger CumProd DFT Det "
    "DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix "
    "Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement "
    "QLinearConv QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty "
    "SequenceErase SequenceInsert SequenceLength SequenceMap SoftmaxCrossEntropyLoss "
    "SplitToSequence StringConcat StringNormalizer StringSplit TfIdfVectorizer Unique"
)
# Release -> the operators that its parser was the first to know.
_ADDED = {
    (8, 4): "Shrink Xor",
    (8, 5): (
        "GridSample HardSwish MeanVarianceNormalization Mod NonZero OneHot RandomNormal "
        "RandomNormalLike Reciprocal RoiAlign Trilu"
    ),
    (8, 6): "IsInf LayerNormalization",
    (10, 0): "DeformConv Hardmax",
    (10, 15): "BlackmanWindow HammingWindow HannWindow STFT",
}
# What onnxruntime's optimizer makes, and its quantizer for integer operators. Source:
# TensorRT-RTX 1.7 finds no plug-in for them.
_FUSED = (
    "BiasGelu DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm "
    "FusedMatMul MatMulNBits NhwcConv QAttention QGemm QLinearAdd QLinearAveragePool "
    "QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul "
    "QLinearSigmoid QLinearSoftmax QuickGelu SkipLayerNormalization"
)
FUSED = frozenset(f"com.microsoft.{op}" for op in _FUSED.split())
# Operators of onnxruntime that the parser imports from 10.15 on (TensorRT-RTX 1.7 does).
_IMPORTED = (
    "Attention DequantizeLinear Gelu GroupQueryAttention MultiHeadAttention QuantizeLinear "
    "RotaryEmbedding SimplifiedLayerNormalization"
)


@dataclass(frozen=True)
class Release:
    """A release of TensorRT: its version and the last opset whose operators its parser knows.

    It never refuses a file for its opset alone.
    """

    version: str
    opset: int

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split("."))

    @property
    def lacks(self) -> frozenset[str]:
        """Operators of ONNX that its parser does not know."""
        later = (kinds for release, kinds in _ADDED.items() if release > self.number)
        return frozenset(kind for kinds in (_NEVER, *later) for kind in kinds.split())

    @property
    def forbids(self) -> Mapping[str, str]:
        """Operators that it does not have, and why."""
        why = f"TensorRT {self.version} has no such operator"
        return dict.fromkeys(sorted(self.lacks), why)

    @property
    def besides(self) -> frozenset[str]:
        """Operators that it has besides those of ONNX, of any domain."""
        imported = _IMPORTED.split() if self.number >= (10, 15) else ()
        return plugins_of(self.number) | frozenset(imported)

    @property
    def missing(self) -> Mapping[str, str]:
        """Attributes that its operators do not know, and why."""
        return missing_attributes(self.version, self.number)

    @property
    def decompose(self) -> frozenset[str]:
        """Operators that we express by those it knows.

        GroupNormalization before opset 21 has a scale for each group, and ours for each channel.
        """
        return frozenset(WAYS) & (
            self.lacks | ({"GroupNormalization"} if self.opset < 21 else set())
        )


V8_2 = Release("8.2.1", 13)
V8_5 = Release("8.5.2", 17)
V8_6 = Release("8.6.2", 17)
V10_3 = Release("10.3", 20)
V10_15 = Release("10.15", 24)
