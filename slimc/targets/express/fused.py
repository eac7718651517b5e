"""Fused operators of ONNX Runtime, expressed by those of ONNX that it made them of.

Source: onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from slimc.ir.graph import Attr
from slimc.targets.express.old_node import OldNode, Way

_QUICK = 1.702  # default of alpha: x sigmoid(1.702 x) is near to Gelu


def _fused_conv(old: OldNode) -> None:
    """FusedConv is activation(Conv(x, w, b) + z)."""
    own = ("activation", "activation_params")
    attrs = {key: value for key, value in old.node.attrs.items() if key not in own}
    bias = (old.operand(2),) if old.operand(2) else ()
    y = old.add("Conv", old.operand(0), old.operand(1), *bias, **attrs)
    if old.operand(3):
        y = old.add("Add", y, old.operand(3))
    _activate(old, y, _floats(old, "activation_params"))


def _fused_gemm(old: OldNode) -> None:
    """FusedGemm is activation(Gemm(a, b, c))."""
    attrs = {key: v for key, v in old.node.attrs.items() if not key.startswith("activation")}
    y = old.add("Gemm", *old.node.inputs, **attrs)
    given = [old.node.attrs.get(f"activation_{name}") for name in ("alpha", "beta")]
    _activate(old, y, [float(v) for v in given if isinstance(v, (int, float))])


def _floats(old: OldNode, name: str) -> list[float]:
    value = old.node.attrs.get(name, ())
    return [float(v) for v in value] if isinstance(value, tuple) else []


_PLAIN = ("Relu", "Sigmoid", "Tanh")
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}


def _activate(old: OldNode, y: str, given: list[float]) -> None:
    """Let the node be the activation that it has as an attribute."""
    name = old.node.attrs.get("activation", b"")
    kind = name.decode() if isinstance(name, bytes) else ""
    if kind in _PLAIN:
        old.become(kind, y)
    elif kind in _PARAMETERS:
        attrs: dict[str, Attr] = dict(zip(_PARAMETERS[kind], given, strict=False))
        old.become(kind, y, **attrs)
    elif kind == "Clip" and len(given) == 2:
        old.become("Clip", y, old.constant(given[0]), old.constant(given[1]))
    elif not kind:
        old.become("Identity", y)
    else:
        raise old.refusal(f"its activation {kind} is not known")


def _fused_matmul(old: OldNode) -> None:
    """FusedMatMul is alpha a b, either transposed in its last two axes first."""
    if old.whole("transBatchA", 0) or old.whole("transBatchB", 0):
        raise old.refusal("it moves the axes of its batch")
    a, b = (_transposed(old, i, name) for i, name in enumerate(("transA", "transB")))
    alpha = old.number("alpha", 1.0)
    if alpha == 1:
        old.become("MatMul", a, b)
    else:
        old.become("Mul", old.add("MatMul", a, b), old.constant(alpha))


def _transposed(old: OldNode, i: int, flag: str) -> str:
    if not old.whole(flag, 0):
        return old.operand(i)
    rank = old.rank_of(old.operand(i))
    return old.add("Transpose", old.operand(i), perm=(*range(rank - 2), rank - 1, rank - 2))


def _bias_gelu(old: OldNode) -> None:
    """BiasGelu is Gelu(x + b)."""
    old.become("Gelu", old.add("Add", old.operand(0), old.operand(1)))


def _gelu(old: OldNode) -> None:
    old.become("Gelu", old.operand(0))


def _fast_gelu(old: OldNode) -> None:
    """FastGelu is Gelu(x + b) by its approximation with tanh."""
    x = old.operand(0)
    x = old.add("Add", x, old.operand(1)) if old.operand(1) else x
    old.become("Gelu", x, approximate=b"tanh")


def _quick_gelu(old: OldNode) -> None:
    """QuickGelu is x sigmoid(alpha x)."""
    x = old.operand(0)
    inner = old.add("Mul", x, old.constant(old.number("alpha", _QUICK)))
    old.become("Mul", x, old.add("Sigmoid", inner))


def _skip_layer_norm(old: OldNode) -> None:
    """SkipLayerNormalization is LayerNormalization(x + skip + bias); it may also give the sum."""
    x = _skipped(old, bias=4)
    beta = (old.operand(3),) if old.operand(3) else ()
    epsilon = old.number("epsilon", 1e-12)
    old.become("LayerNormalization", x, old.operand(2), *beta, axis=-1, epsilon=epsilon)


def _skip_rms_norm(old: OldNode) -> None:
    """SkipSimplifiedLayerNormalization is RMSNormalization(x + skip + bias)."""
    epsilon = old.number("epsilon", 1e-12)
    x = _skipped(old, bias=3)
    old.become("RMSNormalization", x, old.operand(2), axis=-1, epsilon=epsilon)


def _skipped(old: OldNode, bias: int) -> str:
    """Return x + skip + bias, and give it as result 3 where that is read."""
    if old.result(1) or old.result(2):
        raise old.refusal("its mean and deviation are read")
    x = old.add("Add", old.operand(0), old.operand(1))
    x = old.add("Add", x, old.operand(bias)) if old.operand(bias) else x
    old.give(3, "Identity", x)
    return x


def _plain(old: OldNode) -> None:
    """Q and DQ of com.microsoft are those of newer ONNX."""
    old.become(old.node.op, *old.node.inputs, **old.node.attrs)


FUSED: Mapping[str, Way] = {
    "com.microsoft.BiasGelu": _bias_gelu,
    "com.microsoft.DequantizeLinear": _plain,
    "com.microsoft.FastGelu": _fast_gelu,
    "com.microsoft.FusedConv": _fused_conv,
    "com.microsoft.FusedGemm": _fused_gemm,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.Gelu": _gelu,
    "com.microsoft.QuantizeLinear": _plain,
    "com.microsoft.QuickGelu": _quick_gelu,
    "com.microsoft.SkipLayerNormalization": _skip_layer_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_rms_norm,
    "com.microsoft.TransposeMatMul": _fused_matmul,
}
