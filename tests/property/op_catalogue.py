"""The example calls: at least one for every row of the operator table, family by family."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from op_examples import Example, Operand, b, c, f, i, x

from slimc.ir.constant import Constant
from slimc.ir.types import DType

F32 = np.float32
U8, I8, I32 = DType.U8, DType.I8, DType.I32


def each(kinds: str, *operands: Operand | None, **attrs: object) -> list[Example]:
    return [x(kind, *operands, **attrs) for kind in kinds.split()]


ELEMENTWISE = [
    *each("Relu LeakyRelu Elu Celu Selu ThresholdedRelu Shrink Softplus Softsign", f(2, 3)),
    *each("HardSigmoid HardSwish Sigmoid Tanh Gelu Mish Swish", f(2, 3)),
    *each("com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.QuickGelu", f(2, 3)),
    *each("Acos Asin Atan Cos Sin Tan Cosh Sinh Asinh Atanh", f(2, 3, low=-0.9, high=0.9)),
    *each("Acosh Sqrt Log Reciprocal", f(2, 3, low=1.1, high=2)),
    *each("Abs Neg Sign Floor Ceil Round Erf Exp Identity IsNaN IsInf", f(2, 3, low=-3, high=3)),
    x("Not", b(2, 3)),
    x("BitwiseNot", i(2, 3, high=9)),
    x("Cast", f(2, 3), to=7),
    x("CastLike", f(2, 3), i(high=2)),
    x("CastLike", i(2, 3, high=9), f(4, 5)),
    x("BitCast", f(2, 3), to=6),
    x("Clip", f(2, 3), c(-0.5, F32), c(0.5, F32)),
    x("Clip", f(2, 3), None, c(0.5, F32)),
    x("Dropout", f(2, 3)),
    x("Dropout", f(2, 3), results=2),
    *each("Add Sub Mul Max Min Sum Mean", f(2, 3, 4), f(3, 1)),
    x("Add", f(3, 4), f()),
    x("Add", i(4, high=9), c([1, 2, 3, 4])),
    x("Sum", f(2, 1), f(1, 3), f(2, 3)),
    x("Max", f(2, 3)),
    x("Div", f(2, 3), f(3, low=1, high=2)),
    x("Div", i(2, 3, low=-9, high=9), i(3, low=1, high=4)),
    x("Mod", i(2, 3, low=-9, high=9), i(3, low=1, high=4)),
    x("Mod", f(2, 3), f(3, low=1, high=2), fmod=1),
    x("Pow", f(2, 3, low=1, high=2), f(3)),
    x("PRelu", f(2, 3, 4), f(3, 1)),
    x("SwiGLU", f(2, 3), f(2, 3)),
    *each("Equal Less LessOrEqual Greater GreaterOrEqual", i(2, 3, high=3), i(3, high=3)),
    *each("And Or Xor", b(2, 3), b(2, 1)),
    *each("BitwiseAnd BitwiseOr BitwiseXor", i(2, 3, high=9), i(3, high=9)),
    x(
        "BitShift",
        i(2, 3, high=9, dtype=DType.U64),
        i(3, high=3, dtype=DType.U64),
        direction=b"LEFT",
    ),
    x("Where", b(2, 1, 3), f(4, 1), f(4, 3)),
    x("StringConcat", c([["a"], ["b"]], object), c(["c", "d"], object)),
    x("RegexFullMatch", c([["a"], ["b"]], object), pattern=b"a.*"),
]

REDUCE = [
    *each("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
          "ReduceLogSumExp", f(2, 3, 4), c([1, -1])),
    x("ReduceLogSum", f(2, 3, 4, low=1, high=2), c([1])),
    x("ReduceSum", f(2, 3, 4), keepdims=0),
    x("ReduceMax", f(2, 3, 4), c([0]), keepdims=0),
    x("ReduceMean", f(2, 3), c(np.zeros(0)), noop_with_empty_axes=1),
    *each("ArgMax ArgMin", f(2, 3, 4), axis=1),
    x("ArgMax", f(2, 3, 4), axis=-1, keepdims=0),
]  # fmt: skip

CONTRACTION = [
    x("MatMul", f(2, 3, 4), f(4, 5)),
    x("MatMul", f(2, 1, 3, 4), f(5, 4, 2)),
    x("MatMul", f(4), f(2, 4, 3)),
    x("MatMul", f(2, 3, 4), f(4)),
    x("MatMul", f(4), f(4)),
    x("Gemm", f(3, 4), f(4, 5), f(5)),
    x("Gemm", f(4, 3), f(5, 4), f(3, 1), transA=1, transB=1, alpha=0.5, beta=2.0),
    x("Gemm", f(3, 4), f(5, 4), f(), transB=1),
    x("Gemm", f(3, 4), f(4, 5)),
    x("Einsum", f(2, 3, 4), f(2, 4, 5), equation=b"bij,bjk->bik"),
    x("Einsum", f(2, 3, 4, 5), f(2, 6, 4, 5), equation=b"...qhd,...khd->...hqk"),
    x("Einsum", f(3, 4), equation=b"ij->ji"),
    x("Einsum", f(3, 4), f(4, 5), equation=b"ij,jk"),
    x("Einsum", f(3, 3), equation=b"ii->i"),
    x("MatMulInteger", i(3, 4, high=9, dtype=U8), i(4, 5, high=9, dtype=U8)),
    x("MatMulInteger", i(3, 4, high=9, dtype=U8), i(4, 5, low=-9, high=9, dtype=I8), c(0, np.uint8),
      c(np.zeros(5), np.int8)),
    x("QLinearMatMul", i(3, 4, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(4, 5, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8), c(0.2, F32), c(0, np.uint8)),
    x("com.microsoft.MatMulIntegerToFloat", i(2, 3, 4, high=9, dtype=U8),
      i(4, 5, low=-9, high=9, dtype=I8), c(0.1, F32), c(np.full(5, 0.1), F32), c(0, np.uint8),
      c(np.zeros(5), np.int8), f(5)),
    x("com.microsoft.MatMulIntegerToFloat", i(3, 4, high=9, dtype=U8), i(4, 5, high=9, dtype=U8),
      c(0.1, F32), c(0.1, F32)),
    x("com.microsoft.DynamicQuantizeMatMul", f(2, 3, 4), i(4, 5, low=-9, high=9, dtype=I8),
      c(np.full(5, 0.1), F32), None, f(5)),
    x("com.microsoft.QGemm", i(3, 4, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(5, 4, low=-99, high=99, dtype=I8), c(np.full(5, 0.1), F32), c(np.zeros(5), np.int8),
      i(5, low=-9, high=9, dtype=I32), c(0.5, F32), c(0, np.uint8), transB=1),
    x("com.microsoft.QGemm", i(4, 3, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(4, 5, low=-99, high=99, dtype=I8), c(0.1, F32), c(0, np.int8), transA=1),
    x("com.microsoft.MatMulNBits", f(2, 3, 32), i(5, 2, 8, high=256, dtype=U8), f(10, low=0.1),
      K=32, N=5, bits=4, block_size=16),
]  # fmt: skip

CONVOLUTION = [
    x("Conv", f(2, 4, 5, 6), f(6, 4, 3, 3), f(6)),
    x("Conv", f(2, 4, 7, 7), f(6, 2, 3, 3), f(6), group=2, pads=(1, 0, 1, 2), strides=(2, 2)),
    x("Conv", f(2, 4, 5), f(8, 1, 3), None, group=4, dilations=(2,)),
    x("Conv", f(1, 4, 5, 5), f(4, 1, 3, 3), f(4), group=4, auto_pad=b"SAME_UPPER", strides=(2, 2)),
    x("Conv", f(2, 3, 4, 4, 5), f(2, 3, 1, 1, 1), f(2)),
    x("Conv", f(1, 3, 8), f(2, 3, 3), auto_pad=b"VALID"),
    x("ConvTranspose", f(2, 4, 5, 5), f(4, 3, 3, 3), f(3), strides=(2, 2), output_padding=(1, 1)),
    x("ConvTranspose", f(2, 4, 5), f(4, 2, 3), f(4), group=2, pads=(1, 1)),
    x("ConvTranspose", f(1, 4, 5), f(4, 1, 3), None, group=4, auto_pad=b"SAME_LOWER", strides=(2,)),
    x("ConvTranspose", f(1, 2, 5), f(2, 3, 3), output_shape=(11,), strides=(2,)),
    x("DeformConv", f(1, 4, 5, 5), f(6, 2, 2, 2), f(1, 8, 4, 4), f(6), f(1, 4, 4, 4), group=2),
    x("DeformConv", f(1, 4, 5, 5), f(6, 4, 2, 2), f(1, 16, 4, 4), offset_group=2),
    x("CausalConvWithState", f(2, 3, 5), f(3, 1, 3), f(3), f(2, 3, 2), results=2),
    x("CausalConvWithState", f(2, 3, 5), f(3, 1, 3), results=2),
    x("ConvInteger", i(1, 4, 5, 5, high=9, dtype=U8), i(6, 2, 3, 3, high=9, dtype=U8), group=2),
    x("ConvInteger", i(1, 2, 5, high=9, dtype=U8), i(6, 2, 3, high=9, dtype=U8), c(0, np.uint8),
      c(0, np.uint8)),
    x("QLinearConv", i(1, 4, 5, 5, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(6, 4, 3, 3, low=-99, high=99, dtype=I8), c(np.full(6, 0.1), F32), c(np.zeros(6), np.int8),
      c(0.5, F32), c(0, np.uint8), i(6, low=-9, high=9, dtype=I32)),
    x("QLinearConv", i(1, 4, 5, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(6, 2, 3, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8), c(0.5, F32), c(0, np.uint8),
      group=2),
    x("com.microsoft.QLinearConv", i(1, 4, 5, 5, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8),
      i(6, 2, 3, 3, high=99, dtype=U8), c(0.1, F32), c(0, np.uint8), c(0.5, F32), c(0, np.uint8),
      group=2),
]  # fmt: skip

ATTENTION = [
    x("Attention", f(2, 4, 3, 6), f(2, 4, 5, 6), f(2, 4, 5, 7)),
    x("Attention", f(2, 4, 3, 6), f(2, 2, 5, 6), f(2, 2, 5, 7), f(3, 5), is_causal=1),
    x("Attention", f(2, 3, 24), f(2, 5, 12), f(2, 5, 14), q_num_heads=4, kv_num_heads=2),
    x("Attention", f(2, 4, 3, 6), f(2, 4, 3, 6), f(2, 4, 3, 7), f(2, 1, 3, 5), f(2, 4, 2, 6),
      f(2, 4, 2, 7), results=3),
    x("com.microsoft.MultiHeadAttention", f(2, 3, 12), f(2, 5, 12), f(2, 5, 12), num_heads=3),
    x("com.microsoft.QAttention", i(2, 3, 8, high=99, dtype=U8),
      i(8, 24, low=-99, high=99, dtype=I8), f(24), c(0.1, F32), c(0.1, F32), num_heads=2),
    x("com.microsoft.MultiHeadAttention", f(2, 3, 12), f(2, 3, 12), f(2, 3, 12), f(36), None,
      f(1, 3, 3, 3), num_heads=3),
    x("LinearAttention", f(2, 3, 24), f(2, 3, 12), f(2, 3, 14), f(2, 2, 6, 7), q_num_heads=4,
      kv_num_heads=2, update_rule=b"linear", results=2),
    x("LinearAttention", f(2, 3, 12), f(2, 3, 12), f(2, 3, 14), f(2, 2, 6, 7), f(2, 3, 2),
      f(2, 3, 1), q_num_heads=2, kv_num_heads=2, results=2, mixes="d"),
    x("RotaryEmbedding", f(2, 4, 3, 6), f(2, 3, 3), f(2, 3, 3)),
    x("RotaryEmbedding", f(2, 3, 24), f(9, 3), f(9, 3), i(2, 3, high=9), num_heads=4),
]  # fmt: skip

RECURRENT = [
    x("LSTM", f(5, 2, 3), f(1, 16, 3), f(1, 16, 4), f(1, 32), None, f(1, 2, 4), f(1, 2, 4), f(1, 12),  # noqa: E501 (one example, one line)
      hidden_size=4, results=3, mixes="h"),
    x("LSTM", f(5, 2, 3), f(2, 16, 3), f(2, 16, 4), hidden_size=4, direction=b"bidirectional",
      mixes="h"),
    x("GRU", f(5, 2, 3), f(1, 12, 3), f(1, 12, 4), f(1, 24), None, f(1, 2, 4), hidden_size=4,
      results=2, mixes="h"),
    x("GRU", f(5, 2, 3), f(1, 12, 3), f(1, 12, 4), f(1, 24), hidden_size=4, linear_before_reset=1,
      mixes="h"),
    x("RNN", f(5, 2, 3), f(2, 4, 3), f(2, 4, 4), f(2, 8), i(2, low=2, high=6, dtype=I32),
      f(2, 2, 4), hidden_size=4, direction=b"bidirectional", results=2, mixes="h"),
]  # fmt: skip

POOL = [
    x("AveragePool", f(2, 3, 7, 7), kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    x("AveragePool", f(1, 3, 8), kernel_shape=(3,), strides=(2,), ceil_mode=1),
    x("MaxPool", f(2, 3, 7, 7), kernel_shape=(3, 1), strides=(2, 1)),
    x("MaxPool", f(2, 3, 7, 7), kernel_shape=(2, 2), auto_pad=b"SAME_UPPER", results=2),
    x("MaxPool", f(1, 3, 10), kernel_shape=(2,), strides=(3,), ceil_mode=1, pads=(1, 1),
      onnx_errs="it counts a window that starts in the padding"),
    x("LpPool", f(2, 3, 6, 6), kernel_shape=(2, 2), p=2),
    *each("GlobalAveragePool GlobalMaxPool GlobalLpPool", f(2, 3, 4, 5)),
    x("MaxUnpool", f(1, 1, 2, 2), c([[[[0, 3], [8, 11]]]]), kernel_shape=(2, 2), strides=(2, 2)),
    x("MaxUnpool", f(1, 1, 2, 2), c([[[[0, 3], [8, 11]]]]), c([1, 1, 5, 5]), kernel_shape=(2, 2),
      strides=(2, 2)),
    x("MaxRoiPool", f(1, 3, 6, 6), c([[0, 0, 0, 4, 4], [0, 1, 1, 5, 5]], F32), pooled_shape=(2, 3)),
    x("RoiAlign", f(1, 3, 6, 6), c([[0, 0, 4, 4], [1, 1, 5, 5]], F32), c([0, 0]), output_height=2,
      output_width=3),
]  # fmt: skip

NORM = [
    x("BatchNormalization", f(2, 3, 4, 5), f(3), f(3), f(3), f(3, low=0.5, high=2)),
    x("BatchNormalization", f(2, 3), f(3), f(3), f(3), f(3, low=0.5, high=2)),
    x("LayerNormalization", f(2, 3, 4), f(4), f(4)),
    x("LayerNormalization", f(2, 3, 4), f(3, 4), axis=1, results=3),
    x("RMSNormalization", f(2, 3, 4), f(4)),
    x("GroupNormalization", f(2, 6, 4, 4), f(6), f(6), num_groups=3),
    x("InstanceNormalization", f(2, 3, 4, 4), f(3), f(3)),
    x("MeanVarianceNormalization", f(2, 3, 4, 4), onnx_errs="its function body is malformed"),
    x("LRN", f(2, 5, 3, 3), size=3),
]

SOFTMAX = [
    *each("Softmax LogSoftmax Hardmax LpNormalization", f(2, 3, 4), axis=1),
    x("SoftmaxCrossEntropyLoss", f(3, 4), i(3, high=4), results=2),
    x(
        "SoftmaxCrossEntropyLoss",
        f(3, 4, 2),
        i(3, 2, high=4),
        f(4, low=1, high=2),
        reduction=b"none",
    ),
    x("NegativeLogLikelihoodLoss", f(3, 4), i(3, high=4)),
]

LAYOUT = [
    x("Transpose", f(2, 3, 4), perm=(2, 0, 1)),
    x("Transpose", f(2, 3)),
    x("Reshape", f(2, 12, 5), c([6, 4, -1])),
    x("Reshape", f(2, 12, 5), c([0, 3, 4, 5])),
    x("Reshape", f(2, 1, 6), c([1, 2, 3, 2, 1])),
    x("Reshape", f(6, 4), c([8, 3])),
    x("Flatten", f(2, 3, 4), axis=2),
    x("Flatten", f(2, 3, 4), axis=0),
    x("Squeeze", f(1, 3, 1, 2), c([0, -2])),
    x("Squeeze", f(1, 3, 1, 2)),
    x("Unsqueeze", f(3, 2), c([0, -1])),
    x("Expand", f(3, 1), c([2, 1, 4])),
    x("Expand", f(2, 3), c([1])),
    x("Tile", f(2, 3), c([1, 2])),
    x("DepthToSpace", f(1, 8, 2, 3), blocksize=2),
    x("DepthToSpace", f(1, 8, 2, 3), blocksize=2, mode=b"CRD"),
    x("SpaceToDepth", f(1, 3, 4, 6), blocksize=2),
    x("Shape", f(2, 3, 4)),
    x("Shape", f(2, 3, 4), start=-2, end=5),
    x("Size", f(2, 3)),
]

JOIN = [
    x("Concat", f(2, 3), f(2, 1), f(2, 4), axis=-1),
    x("Split", f(2, 7), c([3, 4]), axis=1, results=2),
    x("Split", f(2, 7), axis=1, num_outputs=3, results=3),
    x("Slice", f(5, 6), c([1]), c([4]), c([1])),
    x("Slice", f(5, 6), c([-3, 0]), c([2**62, 3])),
    x("Slice", f(5, 6), c([-1]), c([-(2**62)]), c([0]), c([-2])),
    x("Slice", f(5, 6), c([0, 0]), c([5, 6]), c([0, 1]), c([2, 1])),
    x("Slice", f(5, 6), c([3]), c([1]), c([0])),
]

GATHER = [
    x("Gather", f(4, 5, 3), c([[0, 2], [4, -1]]), axis=1),
    x("Gather", f(4, 5), c([2, 0, -1, 2]), axis=1),
    x("Gather", f(4, 5), c(2)),
    x("GatherElements", f(4, 5), i(4, 3, high=5), axis=1),
    x("GatherND", f(2, 4, 5), i(2, 3, 1, high=4), batch_dims=1),
    x("GatherND", f(3, 4, 5), i(6, 2, high=3)),
    x("ScatterElements", f(4, 5), i(4, 3, high=5), f(4, 3), axis=1),
    x("ScatterND", f(4, 5), c([[0], [2]]), f(2, 5)),
    x("TensorScatter", f(2, 3, 6, 4), f(2, 3, 2, 4), i(2, high=4)),
    x("OneHot", i(3, 2, high=4), c(4), c([0, 1], F32), axis=1),
    x("TopK", f(3, 5), c([2]), axis=1, results=2),
    x("CumSum", f(3, 4), c(1)),
    x("CumProd", f(3, 4), c(0)),
    x("Trilu", f(2, 3, 3)),
    x("Trilu", f(2, 3, 3), c(1), upper=0),
    x("ReverseSequence", f(4, 3, 2), c([1, 3, 4]), batch_axis=1, time_axis=0),
    x("Compress", f(3, 4), b(4), axis=1, dynamic=True),
    x("Compress", f(3, 4), b(6), dynamic=True),
    x("Unique", i(3, 4, high=5), results=4, dynamic=True),
    x("Unique", i(3, 4, high=2), axis=1, results=2, dynamic=True),
    x("NonZero", b(3, 4), dynamic=True),
    x("NonMaxSuppression", f(1, 6, 4), f(1, 2, 6), c(3), c(0.5, F32), dynamic=True),
    x("Det", f(2, 3, 3)),
]

RESAMPLE = [
    x("Pad", f(2, 3, 4), c([0, 1, 0, 0, 2, 0])),
    x("Pad", f(2, 3, 4), c([1, 0]), c(0.5, F32), c([-1])),
    x("Pad", f(2, 3, 4), c([0, 0, 1, 0, 0, 2]), mode=b"reflect"),
    x("Pad", f(2, 3, 4), c([0, 0, -1, 0, 0, 2])),
    x("Resize", f(1, 2, 3, 4), None, c([1, 1, 2, 1.5], F32), mode=b"nearest"),
    x("Resize", f(1, 2, 3, 4), None, None, c([1, 2, 6, 7]), mode=b"linear"),
    x("Resize", f(1, 2, 3, 4), None, None, c([6, 7]), axes=(2, 3),
      keep_aspect_ratio_policy=b"not_larger"),
    x("CenterCropPad", f(2, 5, 4), c([3, 4]), axes=(1, 2)),
    x("GridSample", f(2, 3, 4, 4), f(2, 5, 6, 2)),
    x("AffineGrid", f(2, 2, 3), c([2, 3, 4, 5])),
    x("Col2Im", f(1, 8, 9), c([4, 4]), c([2, 2])),
]  # fmt: skip

SIGNAL = [
    x("DFT", f(2, 8, 1), None, c(1), onesided=1),
    x("DFT", f(2, 8, 2), c(6), c(-2)),
    x("DFT", f(2, 5, 2), None, c(1), onesided=1, inverse=1),
    x("STFT", f(2, 32, 1), c(4), f(8), onnx_errs="it counts one frequency less than its text"),
    x("STFT", f(2, 32, 1), c(4), None, c(8), onesided=0),
    *each("HannWindow HammingWindow BlackmanWindow", c(8)),
    x("MelWeightMatrix", c(8), c(16), c(8192), c(0.0, F32), c(4096.0, F32)),
]

SOURCE = [
    x("Constant", value=Constant(np.arange(6.0, dtype=F32).reshape(2, 3))),
    x("Constant", value_ints=(1, 2, 3)),
    x("ConstantOfShape", c([2, 3])),
    x("ConstantOfShape", c([2, 3]), value=Constant(np.array([7]))),
    x("EyeLike", f(3, 4)),
    x("Range", c(1), c(9), c(3)),
    x("Range", c(1.0, F32), c(-2.0, F32), c(-0.5, F32)),
    *each("RandomNormal RandomUniform", shape=(2, 3)),
    *each("RandomNormalLike RandomUniformLike Bernoulli", f(2, 3, low=0)),
    x("Multinomial", f(2, 5), sample_size=3),
]

QDQ = [
    x("QuantizeLinear", f(2, 3, 4), c(0.1, F32), c(3, np.uint8)),
    x("QuantizeLinear", f(2, 3, 4), c(np.full(3, 0.1), F32), c(np.zeros(3), np.int8), axis=1),
    x("QuantizeLinear", f(2, 3), c(0.1, F32)),
    x("QuantizeLinear", f(8, 3), c(np.full((4, 3), 0.1), F32), c(np.zeros((4, 3)), np.int8), axis=0,
      block_size=2),
    x("DequantizeLinear", i(2, 3, 4, high=99, dtype=U8), c(0.1, F32), c(3, np.uint8)),
    x("DequantizeLinear", i(3, 4, high=99, dtype=I8), c(np.full(3, 0.1), F32), axis=0),
    x("DequantizeLinear", c(np.ones((8, 3)), ml_dtypes.int4), c(np.full((4, 3), 0.1), F32), axis=0,
      block_size=2),
    x("DynamicQuantizeLinear", f(2, 3), results=3),
]  # fmt: skip

IN_ORDER = (ELEMENTWISE, REDUCE, CONTRACTION, CONVOLUTION, ATTENTION, RECURRENT, POOL, NORM,
            SOFTMAX, LAYOUT, JOIN, GATHER, RESAMPLE, SIGNAL, SOURCE, QDQ)  # fmt: skip
EXAMPLES: list[Example] = [example for family in IN_ORDER for example in family]

IF = """
graph (%x: f32[2,3]) -> (%y)
  %limit = constant f32[] 0.5
  %sum: f32[1,1] = ReduceSum(%x)
  %c: bool[1,1] = Less(%sum, %limit)
  %y = If(%c)
    else_branch = graph () -> (%e)
      %e = Neg(%x)
    then_branch = graph () -> (%t)
      %t = Abs(%x)
"""
LOOP = """
graph (%x: f32[2,3]) -> (%last, %all)
  %steps = constant i64[] 4
  %last, %all = Loop(%steps, _, %x)
    body = graph (%i: i64[], %go: bool[], %s: f32[2,3]) -> (%on, %next, %taken)
      %on = Identity(%go)
      %next = Neg(%s)
      %taken = Transpose(%s)
"""
SCAN = """
graph (%x: f32[2,3], %steps: f32[5,3]) -> (%last, %all)
  %last, %all = Scan(%x, %steps) {num_scan_inputs=1}
    body = graph (%s: f32[2,3], %step: f32[3]) -> (%next, %taken)
      %next = Add(%s, %step)
      %taken = ReduceSum(%next) {keepdims=0}
"""
SEQUENCES = """
graph (%x: f32[2,3], %z: f32[4,3]) -> (%all, %first, %count, %stacked)
  %k = constant i64[] 1
  %s = SequenceConstruct(%x, %z)
  %longer = SequenceInsert(%s, %x)
  %shorter = SequenceErase(%longer, %k)
  %all = ConcatFromSequence(%shorter) {axis=0}
  %first = SequenceAt(%longer, %k)
  %count = SequenceLength(%longer)
  %none = SequenceEmpty()
  %one = SequenceInsert(%none, %x)
  %parts = SplitToSequence(%x) {axis=0, keepdims=0}
  %stacked = ConcatFromSequence(%parts) {axis=1, new_axis=1}
"""
MAPPED = """
graph (%x: f32[2,3]) -> (%y)
  %k = constant i64[] 0
  %s = SequenceConstruct(%x, %x)
  %m = SequenceMap(%s)
    body = graph (%e: f32[2,3]) -> (%n)
      %n = Transpose(%e)
  %y = SequenceAt(%m, %k)
"""
OPTIONAL = """
graph (%x: f32[2,3]) -> (%has, %y)
  %o: optional<f32[2,3]> = Optional(%x)
  %has = OptionalHasElement(%o)
  %y = OptionalGetElement(%o)
"""
SEQUENCE_KINDS = (
    "SequenceConstruct SequenceInsert SequenceErase ConcatFromSequence SequenceAt SequenceLength "
    "SequenceEmpty SplitToSequence"
)
GRAPHS: dict[str, str] = {
    "If": IF,
    "Loop": LOOP,
    "Scan": SCAN,
    "SequenceMap": MAPPED,
    "Optional": OPTIONAL,
    "OptionalHasElement": OPTIONAL,
    "OptionalGetElement": OPTIONAL,
    **dict.fromkeys(SEQUENCE_KINDS.split(), SEQUENCES),
}
