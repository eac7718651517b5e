"""How TensorRT's ONNX parsers take operators: what of them they refuse.

Evidence: onnxOpCheckers.cpp of onnx-tensorrt 10.x; docs/operators.md of its branches 8.2 to 8.6,
"restrictions"; what TensorRT-RTX 1.7 refuses to parse or build, of onnx's tests of operators too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, static_shape
from slimc.targets.contractions import MOVES
from slimc.targets.target import Subject

# A limit: (subject, graph of the node, node) -> what is not taken; empty: all is.
Limit = Callable[[Subject, Graph, Node], str]

_MODES = (b"half_pixel", b"pytorch_half_pixel", b"tf_half_pixel_for_nn", b"asymmetric",
          b"align_corners")  # fmt: skip
_LARGEST_K = 3840
_LOOP = ("trip count", "condition")
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
    dtype, k = _dtype(subject, node), _array(subject, graph, node, 1)
    if k is not None and k.dtype.kind == "i" and (k > _LARGEST_K).any():
        return f"K above {_LARGEST_K}"
    if subject.target.release >= (10,):
        return ""
    whole = dtype is not None and dtype.is_integer
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


def _eye_like(subject: Subject, graph: Graph, node: Node) -> str:
    kind = subject.facts.tensor(node.inputs[0])
    known = kind is None or static_shape(kind) is not None
    return "" if known else f"open sizes ({kind})"


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
    rank = subject.facts.rank_of(node.inputs[0]) or 0
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


def _loop(subject: Subject, graph: Graph, node: Node) -> str:
    """Find inputs of the body that the parser makes only where the loop has an operand for them.

    Source: onnx-tensorrt, importer of Loop.
    """
    (body,) = node.bodies
    read = {*body.outputs, *(v for inner in body.nodes for v in inner.reads)}
    for given, value, what in zip(node.inputs, body.inputs, _LOOP, strict=False):
        if not given and value in read:
            return f"body that reads '{value}' of a loop without a {what}"
    return ""


def _range(subject: Subject, graph: Graph, node: Node) -> str:
    sizes = next(filter(None, (_float_input(subject, node, i) for i in range(3))), "")
    dtype = _dtype(subject, node)
    if sizes or subject.target.release >= (8, 5) or dtype is None or not dtype.is_float:
        return sizes
    return next(filter(None, (_computed(subject, graph, node, i) for i in range(3))), "")


def _attention(subject: Subject, graph: Graph, node: Node) -> str:
    for name in ("softcap", "softmax_precision"):
        if node.attrs.get(name):
            return name
    if node.attrs.get("is_causal") and node.inputs[3:] and node.inputs[3]:
        return "mask beside is_causal=1"
    shapes = [subject.facts.shape_of(value) for value in node.inputs[1:3]]
    widths = [shape[-1] for shape in shapes if shape]
    if all(isinstance(width, int) for width in widths) and len({*widths}) > 1:
        return "values of another width than keys"
    return _one_result(subject, graph, node)


def _lp_pool(subject: Subject, graph: Graph, node: Node) -> str:
    power = node.attrs.get("p", 2)
    return _dilated(subject, graph, node) if power in (1, 2) else f"p={power}"


def _clip(subject: Subject, graph: Graph, node: Node) -> str:
    return "i8 data" if _dtype(subject, node) is DType.I8 else ""


def _dropout(subject: Subject, graph: Graph, node: Node) -> str:
    training = _array(subject, graph, node, 2)
    if training is not None and bool(training.reshape(-1)[:1].any()):
        return "training_mode"
    return _computed(subject, graph, node, 2)


def _mod(subject: Subject, graph: Graph, node: Node) -> str:
    dtype = _dtype(subject, node)
    whole = dtype is None or not dtype.is_float
    return "" if whole or node.attrs.get("fmod") else "floats without fmod=1"


def _one_hot(subject: Subject, graph: Graph, node: Node) -> str:
    return _float_input(subject, node, 1)


def _random(subject: Subject, graph: Graph, node: Node) -> str:
    code = node.attrs.get("dtype", DType.F32.code)
    known = not isinstance(code, int) or code in (DType.F32.code, DType.F16.code)
    return "" if known else "numbers other than f32 and f16"


def _stft(subject: Subject, graph: Graph, node: Node) -> str:
    return _computed(subject, graph, node, 1)


def _tensor_scatter(subject: Subject, graph: Graph, node: Node) -> str:
    mode = node.attrs.get("mode", b"linear")
    return "" if mode == b"linear" else f"mode {_text(mode)}"


_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare"
)
LIMITS: Mapping[str, Limit] = {
    **dict.fromkeys(_REDUCTIONS.split(), _axes),
    "Attention": _attention,
    "AveragePool": _dilated,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Clip": _clip,
    "CumSum": _cumulative_sum,
    "Dropout": _dropout,
    "Einsum": _einsum,
    "EyeLike": _eye_like,
    "GRU": _recurrent,
    "InstanceNormalization": _instance_norm,
    "LSTM": _lstm,
    "Loop": _loop,
    "LayerNormalization": _one_result,
    "LpPool": _lp_pool,
    "MaxPool": _pool,
    "Mod": _mod,
    "OneHot": _one_hot,
    "RNN": _recurrent,
    "RandomNormal": _random,
    "RandomNormalLike": _random,
    "RandomUniform": _random,
    "RandomUniformLike": _random,
    "Range": _range,
    "Resize": _resize,
    "STFT": _stft,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Slice": _slice,
    "Squeeze": _axes,
    "TensorScatter": _tensor_scatter,
    "TopK": _top_k,
    "Unsqueeze": _axes,
}


def _computed(subject: Subject, graph: Graph, node: Node, i: int) -> str:
    """Say that operand i is no constant, and could not be one."""
    if i >= len(node.inputs) or not node.inputs[i]:
        return ""
    return "" if _array(subject, graph, node, i) is not None else f"computed '{node.inputs[i]}'"


def _dtype(subject: Subject, node: Node) -> DType | None:
    return subject.facts.dtype_of(node.inputs[0])


def _float_input(subject: Subject, node: Node, i: int) -> str:
    """Say that sizes come from an input of floats: TensorRT takes integers."""
    value = node.inputs[i] if i < len(node.inputs) else ""
    dtype = subject.facts.dtype_of(value)
    if value not in subject.graph.inputs or dtype is None or not dtype.is_float:
        return ""
    return f"sizes from '{value}', an input of {dtype.text}"


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
