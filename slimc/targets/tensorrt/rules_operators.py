"""Rules for TensorRT on operators: how they are used, of which types, in which form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade
from slimc.io.schemas import default_of, misfit
from slimc.ir.graph import Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.targets.fixes.file import express_otherwise, write_older_forms
from slimc.targets.target import Finding, Subject, TargetRule
from slimc.targets.tensorrt.limits import LIMITS
from slimc.targets.tensorrt.versions import FUSED

_CONSTANTS = "export it with a constant there"
_REPLACE = "put another operator in its place before export, or keep that part out"
# What parsers know, and from which release on.
_KNOWN = {
    **dict.fromkeys((DType.BOOL, DType.F16, DType.F32, DType.F64, DType.I8, DType.I32, DType.I64)),
    DType.U8: (8, 5),
    DType.BF16: (9,),
    DType.F8E4M3FN: (9,),
    DType.I4: (10,),
    DType.F4E2M1: (10, 15),
}
_TAKES_BYTES = frozenset({"Cast", "DequantizeLinear", "Equal", "Identity", "QuantizeLinear"})


def _within_limits(subject: Subject) -> Iterator[Finding]:
    for scope in subject.graph.scopes():
        for node in scope.nodes:
            limit = LIMITS.get(node.kind)
            what = limit(subject, scope, node) if limit is not None else ""
            if what:
                help = _CONSTANTS if "computed" in what else _REPLACE
                message = f"{node.kind}: TensorRT's parser takes no {what.removeprefix('a ')}"
                yield Finding("error", node.name, message, help)


def _element_types(subject: Subject) -> Iterator[Finding]:
    """Find types that the parser does not know. Bytes (u8) are only cast. Q and DQ: other rules."""
    facts = subject.facts
    for value in subject.graph.inputs:
        kind, dtype = facts.type_of(value), facts.dtype_of(value)
        if kind is not None and dtype is None:
            message = f"input '{value}' is {kind}, and TensorRT takes tensors"
            yield Finding("error", "", message, "export it with one input for each tensor")
        if dtype is not None and not _is_known(subject, dtype):
            message = f"input '{value}' is {dtype.text}, which TensorRT does not know"
            yield Finding("error", "", message, "export it with i32, i64 or float inputs")
    for scope in subject.graph.scopes():
        for node in scope.nodes:
            if node.op in ("QuantizeLinear", "DequantizeLinear"):
                continue
            found = {facts.dtype_of(value) for value in (*node.inputs, *node.outputs)}
            wrong = [one for one in found if one is not None and not _is_known(subject, one)]
            if DType.U8 in found and node.op not in _TAKES_BYTES:
                wrong.append(DType.U8)
            if wrong:
                message = f"{node.kind}: of {wrong[0].text}, which TensorRT does not compute"
                yield Finding("error", node.name, message, "compute in floats, i32 or i64")


def _is_known(subject: Subject, dtype: DType) -> bool:
    return dtype in _KNOWN and (_KNOWN[dtype] or ()) <= subject.target.release


def _known_forms(subject: Subject) -> Iterator[Finding]:
    """Find nodes of a form that is newer than the last opset that the parser knows.

    The parser never refuses a file for its opset. Q and DQ have rules of their own.
    """
    target, opset = subject.target, subject.header.opset
    if opset <= target.opset_max:
        return
    try:
        graph = downgrade(subject.graph, opset)
    except SlimcError:
        return  # of an opset that we do not write: nothing is known of its forms
    types = {v: kind for v, kind in subject.facts.types.items() if not _is_late(kind)}
    for node in graph.walk():
        if node.kind in target.forbids or node.op in ("QuantizeLinear", "DequantizeLinear"):
            continue
        why = misfit(_without_idle(subject, node), target.opset_max, types)
        if why:
            message = (
                f"{node.kind}: TensorRT {target.version} knows opset {target.opset_max} and older, "
                f"and {why}"
            )
            yield Finding("error", node.name, message, f"compile it: slimc --target {target.name}")


def _without_idle(subject: Subject, node: Node) -> Node:
    """Leave out attributes that change nothing: the parser does not look at them.

    `allowzero` says what a 0 in a shape means, and there is none.
    """
    attrs = {key: v for key, v in node.attrs.items() if v != default_of(node.op, key)}
    if "allowzero" in attrs:
        shape = subject.graph.array(node.inputs[1])
        if shape is None or shape.all():
            del attrs["allowzero"]
    return node if len(attrs) == len(node.attrs) else replace(node, attrs=attrs)


def _is_late(kind: ValueType) -> bool:
    """Tell of a type that came late to ONNX; the parser takes it in operators of any opset."""
    return isinstance(kind, TensorType) and kind.dtype in (DType.BF16, DType.F8E4M3FN, DType.I4)


def _fused(subject: Subject) -> Iterator[Finding]:
    for node in subject.graph.walk():
        if node.kind in FUSED or node.domain in ("com.microsoft.nchwc", "com.ms.internal.nhwc"):
            message = f"{node.kind}: onnxruntime's optimizer or quantizer made it for itself"
            help = (
                "save the model before onnxruntime optimizes it (level basic), or slimc lint --fix"
            )
            yield Finding("error", node.name, message, help)


OPERATORS = (
    TargetRule(
        "L17", "within-limits", "operators are used as the parser takes them", _within_limits
    ),
    TargetRule("L17", "element-types", "values are of types that it computes", _element_types),
    TargetRule(
        "L18", "known-forms", "no node is newer than the parser", _known_forms, write_older_forms
    ),
    TargetRule(
        "L19",
        "no-fused-nodes",
        "no node is made by onnxruntime for itself",
        _fused,
        express_otherwise,
    ),
)
