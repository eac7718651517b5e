"""Qualcomm's Hexagon Tensor Processor (HTP), by the QNN execution provider of ONNX Runtime.

It computes in integers only, or in f16 where the chip can: so every operator has Q/DQ around it,
its weighted ones and all others.

Evidence: the provider's op_builder_factory.cc (operators), conv_op_builder.cc (axes of scales),
qnn_model.cc (static shapes); onnxruntime/quantization/execution_providers/qnn/quant_config.py
(least range, ranges of Sigmoid and Tanh, per-tensor MatMul); graphs built by the emulator in
onnxruntime-qnn 2.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from slimc.ir.types import DType
from slimc.ops.axes import labels_of
from slimc.targets.contractions import contractions, conversions, dequantized, weight_of
from slimc.targets.grids import U8, U16, W8, W8_TENSOR, rows
from slimc.targets.node_units import covers, node_units
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.qdq import SCALES
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.widths import FOLDED, aligned_channels
from slimc.targets.target import Finding, Grid, Placement, Quantize, Subject, Target, TargetRule


def _quantized_results(subject: Subject) -> Iterator[Finding]:
    """Find contractions of integers whose result one Q alone does not read."""
    for unit in node_units(subject):
        if unit.result.quantizer is None:
            message = (
                f"its result '{unit.node.outputs[0]}' is not read by one Q alone: QNN does not "
                "take it"
            )
            help = "put Q/DQ directly behind it, for all that read it; both branches of an Add too"
            yield Finding("error", unit.node.name, message, help)


def _covered_clamps(subject: Subject) -> Iterator[Finding]:
    """Find a Relu or Clip between a contraction and Q that Q does not do."""
    for unit in node_units(subject):
        one = unit.result.quantizer
        found = (c for c in unit.result.clamps if one is not None and not covers(subject, c, one))
        clamp = next(found, None)
        if clamp is not None:
            message = f"'{clamp.name}' ({clamp.kind}) stands between it and Q: QNN does not take it"
            help = "put Q/DQ between the two, or calibrate behind the clamp, with a zero point"
            yield Finding("error", unit.node.name, message, help)


def _one_type(subject: Subject) -> Iterator[Finding]:
    """Find contractions whose data and result are integers of different types."""
    for unit in node_units(subject):
        one = unit.result.quantizer
        data, made = unit.data.integers, one.integers if one is not None else None
        if data is not None and made is not None and data is not made:
            message = f"its data are {data.text}, its result {made.text}: QNN does not take it"
            yield Finding("error", unit.node.name, message, "quantize both to one type")


def _tensor_activations(subject: Subject) -> Iterator[Finding]:
    """Find activations with several scales: the session fails."""
    for one in conversions(subject.graph):
        if not one.stored and one.scale is not None and one.scale.size > 1:
            message = f"activation '{one.source}' has {one.scale.size} scales: QNN takes one"
            yield Finding("error", one.node.name, message, "quantize it per tensor")


def _channel_axis(subject: Subject) -> Iterator[Finding]:
    """Find weights with scales along another axis than that of the output channels."""
    bounds = subject.facts.bounds
    for node, parts in contractions(subject.graph, subject.ops):
        weight = weight_of(subject, node.inputs[parts.weight])
        axes = bounds[node.name].inputs[parts.weight] if node.name in bounds else None
        if weight is None or weight.axis is None or weight.conversion.block or axes is None:
            continue
        if parts.channel not in labels_of((axes[weight.axis],)):
            message = f"the scales of its weight lie along axis {weight.axis}: QNN does not take it"
            yield Finding("error", node.name, message, "let them lie along the output channels")


def _narrow_weights(subject: Subject) -> Iterator[Finding]:
    """Find convolutions with weights of 16 bits: old chips have no kernel for them."""
    for unit in node_units(subject):
        if unit.parts.bias is not None and unit.weight.integers in (DType.I16, DType.U16):
            message = "its weights have 16 bits: HTP v68 does not take them, v73 does"
            yield Finding("info", unit.node.name, message, "give weights 8 bits")


def _unsigned_normalisation(subject: Subject) -> Iterator[Finding]:
    """Find normalisations by constants of s8 data: the builder takes them of u8 alone."""
    for node in subject.graph.nodes:
        row = subject.ops.get(node.kind)
        data = dequantized(subject.graph, node.inputs[0]) if row and row.running else None
        if data is not None and data.integers is DType.I8:
            message = f"{node.kind} of i8 data: QNN does not take it"
            yield Finding("error", node.name, message, "fold it into the layer before it")


HTP = (
    open_sizes("L36"),
    *SCALES,
    TargetRule("L07", "tensor-activations", "activations have one scale", _tensor_activations),
    TargetRule(
        "L26", "quantized-results", "one Q reads a contraction's result", _quantized_results
    ),
    TargetRule("L27", "covered-clamps", "Q does the work of clamps before it", _covered_clamps),
    TargetRule("L30", "one-type", "data and result have one type", _one_type),
    FOLDED,
    TargetRule(
        "L31", "unsigned-normalisation", "BatchNormalization has u8 data", _unsigned_normalisation
    ),
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
    TargetRule("L36", "taken-axis", "scales lie along the axis that QNN takes", _channel_axis),
    TargetRule("L36", "narrow-weights", "weights of convolutions have 8 bits", _narrow_weights),
)


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
