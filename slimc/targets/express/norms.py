"""Normalisations by older operators."""

from __future__ import annotations

from collections.abc import Mapping

from slimc.ir.types import DType
from slimc.targets.express.old_node import OldNode, Way

_HALVES = (DType.F16, DType.BF16)


def _layer_norm(old: OldNode) -> None:
    """LayerNormalization: d = x - mean(x), y = d / sqrt(mean(d * d) + eps) * scale + bias."""
    x = _single(old)
    axes = _from_axis_on(old)
    mean = old.add("ReduceMean", x, axes)
    apart = old.add("Sub", x, mean)
    root = _root(old, old.add("ReduceMean", old.add("Mul", apart, apart), axes))
    old.give(1, "Identity", mean)
    old.give(2, "Div", old.constant(1, _computed_in(old)), root)
    _scaled(old, old.add("Div", apart, root), old.operand(1), old.operand(2))


def _rms_norm(old: OldNode) -> None:
    """RMSNormalization: y = x / sqrt(mean(x ** 2) + eps) * scale.

    onnxruntime fuses this form (SimplifiedLayerNormFusion in layer_norm_fusion.cc): Pow, no Mul.
    """
    x = _single(old)
    square = old.add("Pow", x, old.constant(2, _computed_in(old)))
    squares = old.add("ReduceMean", square, _from_axis_on(old))
    _scaled(old, old.add("Div", x, _root(old, squares)), old.operand(1), "")


def _group_norm(old: OldNode) -> None:
    """GroupNormalization: an InstanceNormalization of the groups, then a scale per channel.

    x: f32[N,C,...] as f32[N,G,...]. It is the form in which PyTorch exports it.
    """
    x, groups, dtype = _single(old), old.whole("num_groups", 1), _computed_in(old)
    ones, zeros = old.constant([1.0] * groups, dtype), old.constant([0.0] * groups, dtype)
    grouped = old.add("Reshape", x, old.constant([0, groups, -1], DType.I64))
    epsilon = old.number("epsilon", 1e-5)
    normal = old.add("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
    y = old.add("Reshape", normal, _shape(old))
    _scaled(old, y, _per_channel(old, 1), _per_channel(old, 2))


def _mean_variance_norm(old: OldNode) -> None:
    """MeanVarianceNormalization: d = x - mean(x), y = d / (sqrt(mean(d * d)) + 1e-9)."""
    x = _single(old)
    given = old.node.attrs.get("axes", (0, 2, 3))
    axes = old.constant(given if isinstance(given, tuple) else (0, 2, 3), DType.I64)
    apart = old.add("Sub", x, old.add("ReduceMean", x, axes))
    deviation = old.add("Sqrt", old.add("ReduceMean", old.add("Mul", apart, apart), axes))
    over = old.add("Add", deviation, old.constant(1e-9, _computed_in(old)))
    if old.dtype in _HALVES:
        old.become("Cast", old.add("Div", apart, over), to=old.dtype.code)
    else:
        old.become("Div", apart, over)


def _computed_in(old: OldNode) -> DType:
    """Return the type of the sums: squares of f16 numbers overflow, so they are taken in f32."""
    return DType.F32 if old.dtype in _HALVES else old.dtype


def _single(old: OldNode) -> str:
    return old.cast(old.operand(0), _computed_in(old))


def _from_axis_on(old: OldNode) -> str:
    axis = old.whole("axis", -1)
    return old.constant(range(axis if axis < 0 else axis - old.rank, 0), DType.I64)


def _root(old: OldNode, variance: str) -> str:
    """Return sqrt(variance + epsilon)."""
    epsilon = old.constant(old.number("epsilon", 1e-5), _computed_in(old))
    return old.add("Sqrt", old.add("Add", variance, epsilon))


def _shape(old: OldNode) -> str:
    """Return the shape of the data: a constant where every size is known."""
    sizes = [old.size(axis) for axis in range(old.rank)]
    if all(isinstance(size, int) for size in sizes):
        return old.constant(sizes, DType.I64)
    return old.add("Shape", old.operand(0))


def _per_channel(old: OldNode, i: int) -> str:
    """Return operand i, f32[C], in the shape [C,1,...] that fits axis 1 of the data."""
    behind = [1] * (old.rank - 2)
    array = old.array(i)
    if array is not None:
        return old.constant(array.reshape(-1, *behind), old.dtype)
    return old.add("Reshape", old.operand(i), old.constant([-1, *behind], DType.I64))


def _scaled(old: OldNode, y: str, scale: str, bias: str) -> None:
    """Let the node give y * scale + bias, in the type of its data."""
    if old.dtype in _HALVES:
        y = old.add("Cast", y, to=old.dtype.code)
    if bias:
        old.become("Add", old.add("Mul", y, scale), bias)
    else:
        old.become("Mul", y, scale)


NORMS: Mapping[str, Way] = {
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    "RMSNormalization": _rms_norm,
}
