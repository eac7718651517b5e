"""The Deep Learning Accelerator (DLA) of Jetson AGX Orin and Orin NX.

DLA quantizes implicitly: it takes a model in floats and the range of every tensor in a calibration
cache; TensorRT rounds weights itself. So Q and DQ may not appear, and what computes in floats is
said layer by layer to trtexec. TensorRT 10.7 is the last release with DLA.
Evidence: NVIDIA Deep-Learning-Accelerator-SW, operators/README.md and tools/qdq-translator;
NvInfer.h of TensorRT 8.6 and 10.3.
"""

from __future__ import annotations

from dataclasses import replace

from slimc.targets.dla.files import calibration_cache, trtexec_arguments
from slimc.targets.dla.limits import misfit
from slimc.targets.dla.rewrites import suit_dla
from slimc.targets.dla.rules import DLA_RULES
from slimc.targets.grids import S8, W8, rows
from slimc.targets.target import Companion, Placement, Quantize
from slimc.targets.tensorrt.devices import JETSON_ORIN_JP60

# The ranges of pools, joins and element-wise operands must be equal in INT8 (NvInfer.h, warnings on
# IPoolingLayer, IConcatenationLayer and IElementWiseLayer). Gates (Mul) and means over whole maps
# lose most by that, whose results are much smaller than what they read: they stay in FP16, as
# NVIDIA's qdq-translator leaves them.
SMALL_STEPS = (None, (1, 1), (2, 2))
INT8 = {
    **rows("Conv ConvTranspose", Quantize(S8, W8, needs_constant=True)),
    **rows("Add Sub Max Min", Quantize(S8, scales="operands")),
    **rows("MaxPool Concat Reshape Transpose Slice Split Resize", Quantize(S8)),
    **rows("AveragePool", Quantize(S8, scales="shared", only={"strides": SMALL_STEPS})),
    **rows("LeakyRelu Sigmoid Tanh", Quantize(S8)),
}

PLACEMENT = Placement(
    output=True,
    activation="after",
    bias="float",
    weights="rounded",
    residual="both",
    beside=True,
)

JETSON_ORIN_DLA = replace(
    JETSON_ORIN_JP60,
    name="jetson-orin-dla",
    summary="DLA of Jetson AGX Orin and Orin NX (not Nano), JetPack 6.0: INT8 by calibration cache",
    shapes="static",
    schemes={"int8": INT8},
    placement=PLACEMENT,
    align_integer=32,
    align_float=16,
    sparsity=frozenset({"Conv"}),
    rules=DLA_RULES,
    suit=suit_dla,
    misfit=misfit,
    oracle="",
    companions=(
        Companion(".calib.cache", "ranges of all tensors", calibration_cache(8600)),
        Companion(".trtexec.txt", "arguments, with the layers in FP16", trtexec_arguments),
    ),
    notes=(
        "build the engine with trtexec --onnx=model.onnx $(cat model.trtexec.txt), and with "
        "--calib=model.calib.cache if the model is quantized: outputs are compared as the integers "
        "of that cache compute them",
    ),
)
