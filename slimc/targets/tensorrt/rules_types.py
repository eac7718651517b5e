"""Rules for TensorRT on types: of integers, scales, stored weights, and the floats beside them.

Evidence: onnxOpImporters.cpp and builtin_op_importers.cpp of onnx-tensorrt 8.2 to 10.1, NvInfer.h
of TensorRT 8.2 to 10.3 (IQuantizeLayer); engines built by TensorRT-RTX 1.7.
"""

from __future__ import annotations

from collections.abc import Iterator

from slimc.io.element_types import find_unequal_types
from slimc.ir.types import DType
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.targets.contractions import Conversion, conversions
from slimc.targets.fixes.scales import add_zero_points, make_scales_scalar, make_signed
from slimc.targets.fixes.storage import (
    store_biases_as_floats,
    store_weights_as_floats,
    store_weights_before_q,
)
from slimc.targets.target import Finding, Subject, TargetRule

_SYMMETRIC = "quantize it anew, symmetric and in i8"


def _zero_points(subject: Subject) -> Iterator[Finding]:
    for one in conversions(subject.graph):
        if one.integers is DType.I32:
            continue  # a bias: another rule
        if not one.has_zero:
            yield from _without_zero(subject, one)
        elif one.zero is not None and one.zero.astype("f4").any():
            message = f"the zero point of '{one.source}' is not 0: TensorRT refuses the file"
            yield Finding("error", one.node.name, message, _SYMMETRIC)


def _without_zero(subject: Subject, one: Conversion) -> Iterator[Finding]:
    """ONNX takes a Q without a zero point as u8, TensorRT as i8; 8.5 and older refuse it."""
    help = "write an i8 zero point of 0"
    if one.integers in (DType.I4, DType.F8E4M3FN):
        return
    if subject.target.release < (8, 6):
        message = "it has no zero point operand: TensorRT 8.5 and older need it"
        yield Finding("error", one.node.name, message, help)
    elif one.node.op == QUANTIZE and _dtype(subject, one.node.outputs[0]) is DType.U8:
        message = "without a zero point its integers are u8 by ONNX, and i8 for TensorRT"
        yield Finding("silent", one.node.name, message, help)


def _int8_only(subject: Subject) -> Iterator[Finding]:
    """Integers are i8; from TensorRT 10 weights may be i4. 8-bit floats have a rule of their own.

    Newer parsers read u8 with zero point 0 as i8: what is above 127 steps is lost.
    """
    release = subject.target.release
    taken = {DType.I8, DType.I32, DType.F8E4M3FN, *([DType.I4] if release >= (10,) else [])}
    for one in conversions(subject.graph):
        dtype = one.integers
        if dtype is None or dtype in taken or (dtype is DType.U8 and not one.has_zero):
            continue
        symmetric = one.zero is not None and not one.zero.astype("f4").any()
        if dtype is DType.U8 and symmetric and not one.stored and release >= (10, 15):
            message = (
                f"'{one.source}' is u8 with zero point 0, which TensorRT takes as i8: what is "
                "above 127 steps is lost"
            )
            yield Finding("silent", one.node.name, message, _SYMMETRIC)
        else:
            message = f"'{one.source}' is quantized to {dtype.text}; TensorRT takes i8"
            yield Finding("error", one.node.name, message, _SYMMETRIC)


def _float_bias(subject: Subject) -> Iterator[Finding]:
    for one in conversions(subject.graph):
        if one.node.op == DEQUANTIZE and one.integers is DType.I32:
            message = f"bias '{one.source}' is stored as i32; TensorRT takes float biases"
            yield Finding("error", one.node.name, message, "store it in floats, without a DQ")


def _scalar_scales(subject: Subject) -> Iterator[Finding]:
    for one in conversions(subject.graph):
        if not one.stored and one.scale is not None and one.scale.size == 1 and one.scale.ndim:
            message = (
                f"the scale of activation '{one.source}' has shape [1]: what reads it runs in float"
            )
            yield Finding("silent", one.node.name, message, "let it be a scalar, of shape []")


def _weights_before_q(subject: Subject) -> Iterator[Finding]:
    """TensorRT 8.4 and older make the integers of weights themselves."""
    if subject.target.release >= (8, 5):
        return
    for one in conversions(subject.graph):
        if one.node.op == DEQUANTIZE and one.node.inputs[0] in subject.graph.constants:
            if one.integers is DType.I32:
                continue
            message = (
                f"weight '{one.source}' is stored in integers: TensorRT 8.4 and older take f32 "
                "weights with Q and DQ behind them"
            )
            yield Finding(
                "error", one.node.name, message, "store it as f32, with a Q before the DQ"
            )


def _scale_types(subject: Subject) -> Iterator[Finding]:
    """Scales are f32; 8.5 takes f16, which only opset 19 can say, and 9 takes bf16."""
    target = subject.target
    old = subject.header.opset <= target.opset_max
    half = target.release >= (10,) or (target.release >= (8, 5) and old)
    taken = [DType.F32, *([DType.F16] if half else [])]
    taken += [DType.BF16] if target.release >= (9,) else []
    for one in conversions(subject.graph):
        dtype = _dtype(subject, one.node.inputs[1])
        if dtype is not None and dtype not in taken:
            message = f"the scale of '{one.source}' is {dtype.text}; it must be f32"
            help = "leave the floats beside integers in f32 (no rest=): trtexec --fp16 chooses"
            yield Finding("error", one.node.name, message, help)


def _no_integers(subject: Subject) -> Iterator[Finding]:
    for one in conversions(subject.graph):
        message = (
            f"{subject.target.name} has no integer arithmetic: a file with Q/DQ does not build"
        )
        yield Finding("error", one.node.name, message, "leave out quant")


def _four_bits(subject: Subject) -> Iterator[Finding]:
    """Find 4 bits that are no weights, or in shapes that TensorRT 10.3 does not take."""
    for one in conversions(subject.graph):
        why = _four_bits_misfit(subject, one) if one.integers is DType.I4 else ""
        if why:
            help = 'leave it in float: mixed="<its reader>=float"'
            yield Finding("error", one.node.name, f"'{one.source}' of 4 bits {why}", help)


def _four_bits_misfit(subject: Subject, one: Conversion) -> str:
    if not one.stored:
        return "is computed: only weights are i4"
    shape = subject.facts.shape_of(one.node.inputs[0])
    sizes = [size if isinstance(size, int) else 0 for size in shape or ()]
    axis = one.axis
    if one.block and axis is not None and axis < len(sizes) and sizes[axis] % one.block:
        return f"has {sizes[axis]} elements along axis {axis}, in blocks of {one.block}"
    if subject.target.release >= (10, 4) or not sizes:
        return ""
    if len(sizes) != 2:
        return f"has {len(sizes)} axes, and TensorRT 10.3 takes matrices"
    return f"has rows of {sizes[-1]}, and TensorRT 10.3 takes even numbers" if sizes[-1] % 2 else ""


def _float8(subject: Subject) -> Iterator[Finding]:
    """8-bit floats (E4M3) need compute capability 8.9 and TensorRT 9."""
    target = subject.target
    if target.capability >= 89 and target.release >= (9,):
        return
    for one in conversions(subject.graph):
        if one.integers is DType.F8E4M3FN:
            message = f"'{one.source}' is {one.integers.text}, which {target.name} cannot compute"
            yield Finding("error", one.node.name, message, "choose int8 for this GPU")


def _one_float_type(subject: Subject) -> Iterator[Finding]:
    """Operands that ONNX wants of one type have one: TensorRT inserts no casts."""
    for scope in subject.graph.scopes():
        for node in scope.nodes:
            unequal = find_unequal_types(node, subject.facts.types)
            if unequal:
                message = f"its operands are of different types: {unequal}"
                yield Finding("error", node.name, message, "put a Cast before one of them")


def _dtype(subject: Subject, value: str) -> DType | None:
    return subject.facts.dtype_of(value)


ONE_FLOAT_TYPE = TargetRule(
    "L16", "one-float-type", "operands of a node are of one float type", _one_float_type
)
NO_INTEGERS = TargetRule(
    "L20", "no-integers", "there is no Q or DQ", _no_integers, store_weights_as_floats
)
TYPES = (
    TargetRule(
        "L01", "zero-points", "every Q and DQ has zero point 0", _zero_points, add_zero_points
    ),
    TargetRule(
        "L02", "int8-only", "integers are i8, and weights perhaps i4", _int8_only, make_signed
    ),
    TargetRule("L03", "float-bias", "biases are float", _float_bias, store_biases_as_floats),
    TargetRule(
        "L06",
        "scalar-scales",
        "scales of activations are scalars",
        _scalar_scales,
        make_scales_scalar,
    ),
    TargetRule(
        "L15",
        "weights-before-q",
        "old releases get f32 weights with Q and DQ",
        _weights_before_q,
        store_weights_before_q,
    ),
    TargetRule("L16", "scale-types", "scales are of a float type that is taken", _scale_types),
    TargetRule("L21", "four-bits", "i4 is for weights, in shapes that are taken", _four_bits),
    TargetRule("L22", "float8", "8-bit floats are for GPUs that have them", _float8),
)
