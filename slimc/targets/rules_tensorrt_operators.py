"""Rules for TensorRT on operators: the limits of its ONNX parsers, beyond a list of names.

Evidence: onnxOpCheckers.cpp of onnx-tensorrt 10.x; docs/operators.md of its branches 8.2 to 8.6,
"restrictions"; what TensorRT-RTX 1.7 refuses to parse or build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade
from slimc.io.schemas import misfit
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.passes.target import Finding, Subject, TargetRule
from slimc.targets.contractions import MOVES
from slimc.targets.fix_file import express_otherwise, write_older_forms
from slimc.targets.tensorrt_versions import FUSED

# A limit: (subject, graph of the node, node) -> what is not taken; empty: all is.
Limit = Callable[[Subject, Graph, Node], str]

_CONSTANTS = "export it with a constant there"
_REPLACE = "put another operator in its place before export, or keep that part out"
_NEVER_READ = (DType.I16, DType.U16, DType.U32, DType.U64, DType.STRING, DType.C64, DType.C128)
_MODES = (b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric",
          b"align_corners")  # fmt: skip
_LARGEST_K = 3840
_AXES = 5  # of data of convolutions: three of space


def _dilated(subject: Subject, graph: Graph, node: Node) -> str:
    sizes = node.attrs.get("dilations", ())
    return "dilations other than 1" if isinstance(sizes, tuple) and {*sizes} - {1} else ""


def _pool(subject: Subject, graph: Graph, node: Node) -> str:
    return _dilated(subject, graph, node) or _one_result(subject, graph, node)


def _one_result(subject: Subject, graph: Graph, node: Node) -> str:
    return "results beyond the first" if any(node.outputs[1:]) else ""


def _batch_norm(subject: Subject, graph: Graph, node: Node) -> str:
    training = node.attrs.get("training_mode")
    return "training_mode=1" if training else _one_result(subject, graph, node)


def _resize(subject: Subject, graph: Graph, node: Node) -> str:
    given = node.attrs.get
    mode = given("coordinate_transformation_mode", b"half_pixel")
    nearest = given("nearest_mode", b"round_prefer_floor")
    if mode not in _MODES:
        return f"coordinate_transformation_mode {_text(mode)}"
    if mode == b"tf_half_pixel_for_nn" and nearest != b"round_prefer_floor":
        return f"nearest_mode {_text(nearest)} with tf_half_pixel_for_nn"
    if given("antialias"):
        return "antialias=1"
    if given("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return f"keep_aspect_ratio_policy {_text(given('keep_aspect_ratio_policy'))}"
    if sizes := _float_input(subject, node, 2):
        return sizes
    cubic = given("mode") == b"cubic" and subject.target.release < (10,)
    return "mode cubic before TensorRT 10" if cubic else ""


def _top_k(subject: Subject, graph: Graph, node: Node) -> str:
    kind, k = subject.facts.types.get(node.inputs[0]), _array(subject, graph, node, 1)
    if k is not None and k.size == 1 and int(k.reshape(-1)[0]) > _LARGEST_K:
        return f"K above {_LARGEST_K}"
    if subject.target.release >= (10,):
        return ""
    whole = isinstance(kind, TensorType) and kind.dtype.is_integer
    return "integers before TensorRT 10" if whole else _computed(subject, graph, node, 1)


def _einsum(subject: Subject, graph: Graph, node: Node) -> str:
    equation = _text(node.attrs.get("equation", b""))
    upper = "".join(sorted({letter for letter in equation if letter.isupper()}))
    if upper:
        return f"capital letters ({upper}) in its equation"
    if subject.target.release >= (10,):
        return ""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if "..." in equation or any(len(set(term)) < len(term) for term in terms):
        return "an ellipsis or a diagonal before TensorRT 10"
    return ""


def _instance_norm(subject: Subject, graph: Graph, node: Node) -> str:
    if subject.target.release >= (10,):
        return ""
    return _computed(subject, graph, node, 1) or _computed(subject, graph, node, 2)


def _cumulative_sum(subject: Subject, graph: Graph, node: Node) -> str:
    return "" if subject.target.release >= (10,) else _computed(subject, graph, node, 1)


def _axes(subject: Subject, graph: Graph, node: Node) -> str:
    return _computed(subject, graph, node, 1)


def _slice(subject: Subject, graph: Graph, node: Node) -> str:
    return "" if subject.target.release >= (10,) else _computed(subject, graph, node, 3)


def _convolution(subject: Subject, graph: Graph, node: Node) -> str:
    kind = subject.facts.types.get(node.inputs[0])
    rank = len(kind.shape) if isinstance(kind, TensorType) and kind.shape is not None else 0
    if rank > _AXES:
        return f"{rank - 2} axes of space"
    if subject.target.release >= (8, 5) or _is_stored(subject, graph, node.inputs[1]):
        return ""
    return f"a computed weight ('{node.inputs[1]}') before TensorRT 8.5"


def _scatter(subject: Subject, graph: Graph, node: Node) -> str:
    how = node.attrs.get("reduction", b"none")
    return "" if how == b"none" else f"reduction {_text(how)}"


def _lstm(subject: Subject, graph: Graph, node: Node) -> str:
    return "input_forget=1" if node.attrs.get("input_forget") else _recurrent(subject, graph, node)


def _recurrent(subject: Subject, graph: Graph, node: Node) -> str:
    """Find directions with activations of their own."""
    given = node.attrs.get("activations")
    if node.attrs.get("direction") != b"bidirectional" or not isinstance(given, tuple):
        return ""
    half = len(given) // 2
    return "other activations in reverse" if given[:half] != given[half:] else ""


def _range(subject: Subject, graph: Graph, node: Node) -> str:
    sizes = next(filter(None, (_float_input(subject, node, i) for i in range(3))), "")
    kind = subject.facts.types.get(node.inputs[0])
    if sizes or subject.target.release >= (8, 5) or not isinstance(kind, TensorType):
        return sizes
    if not kind.dtype.is_float:
        return ""
    return next(filter(None, (_computed(subject, graph, node, i) for i in range(3))), "")


LIMITS: Mapping[str, Limit] = {
    "AveragePool": _dilated,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "CumSum": _cumulative_sum,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "InstanceNormalization": _instance_norm,
    "LSTM": _lstm,
    "LayerNormalization": _one_result,
    "LpPool": _dilated,
    "MaxPool": _pool,
    "RNN": _recurrent,
    "Range": _range,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "Slice": _slice,
    "Squeeze": _axes,
    "TopK": _top_k,
    "Unsqueeze": _axes,
}


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
    """Find types that the parser cannot read. Bytes (u8) are only cast, and only from 8.5 on."""
    graph, types = subject.graph, subject.facts.types
    for value in graph.inputs:
        kind = types.get(value)
        if not isinstance(kind, TensorType):
            continue
        if kind.dtype in _NEVER_READ or (
            kind.dtype is DType.U8 and subject.target.release < (8, 5)
        ):
            message = f"input '{value}' is {kind.dtype.text}, which TensorRT does not know"
            yield Finding("error", "", message, "export it with i32, i64 or float inputs")
    for scope in graph.scopes():
        for node in scope.nodes:
            made = [kind for v in node.outputs if isinstance(kind := types.get(v), TensorType)]
            wrong = next((k.dtype for k in made if _unread(k.dtype, node)), None)
            if wrong is not None:
                message = f"{node.kind}: it makes {wrong.text}, which TensorRT cannot compute"
                yield Finding("error", node.name, message, "compute in floats, i32 or i64")


def _unread(dtype: DType, node: Node) -> bool:
    """Q and DQ have rules of their own."""
    bytes_ = dtype is DType.U8 and node.op not in ("Cast", "QuantizeLinear", "Identity")
    return (dtype in _NEVER_READ and node.op != "QuantizeLinear") or bytes_


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
        why = misfit(node, target.opset_max, types)
        if why:
            message = (
                f"{node.kind}: TensorRT {target.version} knows opset {target.opset_max} and older, "
                f"and {why}"
            )
            yield Finding("error", node.name, message, f"compile it: slimc --target {target.name}")


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


# --- inside ---------------------------------------------------------------------------------------


def _computed(subject: Subject, graph: Graph, node: Node, i: int) -> str:
    """Say that operand i is no constant, and could not be one."""
    if i >= len(node.inputs) or not node.inputs[i]:
        return ""
    return "" if _array(subject, graph, node, i) is not None else f"computed '{node.inputs[i]}'"


def _float_input(subject: Subject, node: Node, i: int) -> str:
    """Say that sizes come from an input of floats: TensorRT takes integers."""
    value = node.inputs[i] if i < len(node.inputs) else ""
    kind = subject.facts.types.get(value)
    if value not in subject.graph.inputs or not isinstance(kind, TensorType):
        return ""
    return f"sizes from '{value}', an input of {kind.dtype.text}" if kind.dtype.is_float else ""


def _array(subject: Subject, graph: Graph, node: Node, i: int) -> np.ndarray | None:
    """Return an operand whose elements are known: constant, or worked out from shapes."""
    value = node.inputs[i] if i < len(node.inputs) else ""
    array = graph.array(value)
    return subject.facts.values.get(value) if array is None else array


def _is_stored(subject: Subject, graph: Graph, value: str) -> bool:
    """Tell whether a weight is constant, seen through Q, DQ and what only moves it."""
    through = MOVES | {"QuantizeLinear", "DequantizeLinear"}
    while (maker := graph.producers.get(value)) is not None and maker.kind in through:
        value = maker.inputs[0]
    return value in graph.constants or value in subject.graph.constants


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


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
