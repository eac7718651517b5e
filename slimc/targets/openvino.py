"""OpenVINO on CPUs and NPUs.

Evidence: OpenVINO's low precision transformations; executed precisions of its runtime model for
files in this form, where Q and DQ stand as TensorRT wants them; for NPUs what NNCF makes (its
hardware setup npu.py: the operands of Add, Mul and Concat have one scale).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.axes import labels_of
from slimc.ops.op import Quant
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.targets.contractions import Conversion, contractions, makers, weight_of
from slimc.targets.fixes.storage import store_integers_of_constants
from slimc.targets.grids import S8, U8, W4, W4_ZERO, W8, rows, stored
from slimc.targets.node_units import covers, data_of
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.qdq import SCALES, SYMMETRIC_WEIGHTS
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.widths import FOLDED, aligned_channels
from slimc.targets.speeds import AVX2
from slimc.targets.target import Finding, Grid, Placement, Quantize, Subject, Target, TargetRule

# Zero points that leave nothing to subtract, of the first operand and of the second, which kernels
# take as s8: that is u8 around 128.
_PLAIN = ({DType.I8: 0, DType.U8: 0}, {DType.I8: 0, DType.U8: 128})
_NEED_RANKS = ("Conv", "ConvTranspose")  # openvino/src/frontends/onnx/frontend/src/op/conv.cpp
_FUSE_SCALES = ("Add", "Mul")
_MOVES = (Quant.PASS_THROUGH, Quant.SHARED_SCALE)


def _symmetric_products(subject: Subject) -> Iterator[Finding]:
    """Find products of two computed values with a zero point: they run in float."""
    graph = subject.graph
    for node, parts in contractions(graph, subject.ops):
        values = (node.inputs[parts.data], node.inputs[parts.weight])
        found = [data_of(graph, value) for value in values]
        if None in found or any(one is not None and one.stored for one in found):
            continue
        for one, plain in zip(found, _PLAIN, strict=True):
            if one is not None and not _is_plain(one, plain):
                message = f"'{one.source}' has a zero point: products of two such run in float"
                yield Finding("silent", node.name, message, "quantize both operands symmetrically")
                break


def _is_plain(one: Conversion, plain: Mapping[DType, int]) -> bool:
    allowed = plain.get(one.integers) if one.integers is not None else None
    return allowed is None or (one.zero is None and allowed == 0) or _all_are(one.zero, allowed)


def _all_are(zero: np.ndarray | None, allowed: int) -> bool:
    return zero is not None and bool((zero == allowed).all())


def _made_by_q(subject: Subject) -> Iterator[Finding]:
    """Find data that become no FakeQuantize: a DQ without a Q, or with a scale that is computed."""
    for node, data, _ in _quantized(subject):
        maker = _moved_from(subject, data.node.inputs[0])[1]
        if data.scale is None:
            message = f"the scale of its data '{data.source}' is computed: it runs in float"
            yield Finding("silent", node.name, message, "quantize with ranges fixed ahead (int8)")
        elif maker is None or maker.op != QUANTIZE:
            message = f"no Q of the file makes the integers of its data '{data.source}': it runs "
            help = "let the model take and make floats there, with a Q before the DQ"
            yield Finding("silent", node.name, f"{message}in float", help)


def _direct_data(subject: Subject) -> Iterator[Finding]:
    """Find convolutions with a clamp behind the DQ of their data, or a Transpose before it.

    A Relu that changes nothing, of u8 around 0, may stand there.
    """
    for node, data, behind in _quantized(subject):
        if node.kind not in _NEED_RANKS:
            continue
        before = _moved_from(subject, data.node.inputs[0])[0]
        wrong = [one for one in behind if _clamps(subject, one, data)]
        wrong += [one for one in before if one.kind == "Transpose"]
        for one in wrong[:1]:
            side = "behind" if one in behind else "before"
            message = f"'{one.name}' ({one.kind}) stands {side} the DQ of its data: it runs in "
            help = "put Q/DQ directly before the convolution"
            yield Finding("silent", node.name, f"{message}float", help)


def _clamps(subject: Subject, node: Node, data: Conversion) -> bool:
    if not subject.ops.clamp(node):
        return False
    return node.kind != "Relu" or not covers(subject, node, data)


def _quantized(subject: Subject) -> Iterator[tuple[Node, Conversion, list[Node]]]:
    """Yield what has a quantized weight, the DQ of its data, and what stands behind that."""
    for node, parts in contractions(subject.graph, subject.ops):
        weight = weight_of(subject, node.inputs[parts.weight])
        behind, maker = _moved_from(subject, node.inputs[parts.data])
        if weight is not None and maker is not None and maker.op == DEQUANTIZE:
            data = Conversion(subject.graph, maker)
            if not data.stored:
                yield node, data, behind


def _moved_from(subject: Subject, value: str) -> tuple[list[Node], Node | None]:
    """Return what moves, joins or clamps elements on the way to a value, and what is before it."""
    found: list[Node] = []
    for maker in makers(subject.graph, value):
        if subject.ops.quant(maker) not in _MOVES or maker.op in (QUANTIZE, DEQUANTIZE):
            return found, maker
        found.append(maker)
    return found, None


def _known_ranks(subject: Subject) -> Iterator[Finding]:
    """Find convolutions of data of unknown rank, as behind an If: the frontend refuses them."""
    outer = subject.facts.types
    for scope in subject.graph.scopes():
        for node in scope.nodes:
            if node.kind not in _NEED_RANKS:
                continue
            value = node.inputs[0]
            kind = outer.get(value) or scope.type_of(value)
            if isinstance(kind, TensorType) and kind.shape is None:
                message = f"the rank of its data '{value}' is not known: it is not converted"
                help = "fix inputs before all else (--bind, --shape), so that branches fold"
                yield Finding("error", node.name, message, help)


def _stored_operands(subject: Subject) -> Iterator[Finding]:
    """Find sums of what a contraction makes and of a constant, both quantized on loading.

    Its AddTransformation and MultiplyPartialTransformation then look for a constant's own operand.
    Behind another operator than a contraction, or with the constant stored in integers, all is
    well.
    """
    graph = subject.graph
    made = {out for node, _ in contractions(graph, subject.ops) for out in node.outputs}
    for node in graph.nodes:
        found = [data_of(graph, v) for v in node.inputs] if node.kind in _FUSE_SCALES else []
        stored = next((one for one in found if one is not None and _by_q(graph, one)), None)
        if stored is not None and any(one is not None and one.source in made for one in found):
            message = f"'{stored.source}' is a constant that a Q makes integers: it is not compiled"
            help = "store it in integers before DQ, or leave it in float"
            yield Finding("error", node.name, message, help)


def _by_q(graph: Graph, one: Conversion) -> bool:
    """Tell whether a DQ takes a constant from a Q."""
    return one.stored and one.node.inputs[0] in graph.producers


def _summed_blocks(subject: Subject) -> Iterator[Finding]:
    """Find products whose weight has blocks along its output channels: the process dies."""
    bounds = subject.facts.bounds
    for node, parts in contractions(subject.graph, subject.ops):
        weight = weight_of(subject, node.inputs[parts.weight])
        axes = bounds[node.name].inputs[parts.weight] if node.name in bounds else None
        if weight is None or not weight.conversion.block or weight.axis is None or axes is None:
            continue
        if parts.channel in labels_of((axes[weight.axis],)):
            message = (
                f"blocks of its weight lie along axis {weight.axis}, the output channels: OpenVINO "
                "fails on loading it"
            )
            yield Finding("error", node.name, message, "let blocks lie along what is summed")


INTEGERS = (
    open_sizes("L37"),
    *SCALES,
    SYMMETRIC_WEIGHTS,
    TargetRule("L37", "symmetric-products", "products have no zero points", _symmetric_products),
    TargetRule("L37", "made-by-q", "a Q makes the integers of data", _made_by_q),
    TargetRule("L37", "direct-data", "no clamp stands behind a DQ of data", _direct_data),
    TargetRule("L37", "summed-blocks", "blocks lie along the summed axis", _summed_blocks),
    TargetRule(
        "L37",
        "stored-operands",
        "added constants are stored",
        _stored_operands,
        store_integers_of_constants,
    ),
    TargetRule("L37", "known-ranks", "convolutions know the rank of their data", _known_ranks),
    FOLDED,
    TargetRule(
        "L34", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
    ),
)


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
