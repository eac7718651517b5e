"""Normalisations that older opsets lack, decomposed into operators that they have."""

from __future__ import annotations

from slimc.io.forms.change import Change, Site, keep_node
from slimc.ir.types import DType


def _layer_norm(site: Site) -> None:
    """Y = (x - mean) / sqrt(var + epsilon) * scale + bias; results: y, mean, 1 / sqrt(...)."""
    data, axes, dtype = _prepare(site)
    mean = site.add("ReduceMean", [data, axes])
    centred = site.add("Sub", [data, mean])
    variance = site.add("ReduceMean", [site.add("Mul", [centred, centred]), axes])
    inverse = _inverse_root(site, variance)
    _scale_and_shift(site, site.add("Mul", [centred, inverse]), dtype)
    for result, value in zip(site.node.outputs[1:], (mean, inverse), strict=False):
        if result:
            site.add("Identity", [value], outputs=[result])
    site.editor.remove(site.name)


def _rms_norm(site: Site) -> None:
    """Y = x / sqrt(mean of squares + epsilon) * scale."""
    data, axes, dtype = _prepare(site)
    squares = site.add("ReduceMean", [site.add("Mul", [data, data]), axes])
    _scale_and_shift(site, site.add("Mul", [data, _inverse_root(site, squares)]), dtype)
    site.editor.remove(site.name)


def _prepare(site: Site) -> tuple[str, str, DType]:
    """Return the data in the type of computation, the axes from `axis` on, and that type."""
    axis, rank = site.node.attrs.get("axis", -1), site.rank(0)
    if not isinstance(axis, int) or (axis >= 0 and rank is None):
        raise site.refusal("the rank of its operand is not known")
    first = axis if axis < 0 or rank is None else axis - rank
    axes = site.constant(range(first, 0), DType.I64, "axes")
    code = site.node.attrs.get("stash_type", DType.F32.code)
    if not isinstance(code, int) or code == site.dtype(0).code:
        return site.operand(0), axes, site.dtype(0)
    return site.add("Cast", [site.operand(0)], {"to": code}), axes, DType.of_code(code)


def _inverse_root(site: Site, variance: str) -> str:
    code = site.node.attrs.get("stash_type", DType.F32.code)
    dtype = DType.of_code(code) if isinstance(code, int) else site.dtype(0)
    epsilon = site.constant(site.node.attrs.get("epsilon", 1e-5), dtype, "epsilon")
    root = site.add("Sqrt", [site.add("Add", [variance, epsilon])])
    return site.add("Reciprocal", [root])


def _scale_and_shift(site: Site, normal: str, dtype: DType) -> None:
    """Scale and shift in the type of the data, as the operators do."""
    if dtype is not site.dtype(0):
        normal = site.add("Cast", [normal], {"to": site.dtype(0).code})
    old, _ = site.detach(0, "unused")
    bias = site.operand(2)
    scaled = site.add("Mul", [normal, site.operand(1)], outputs=[] if bias else [old])
    if bias:
        site.add("Add", [scaled, bias], outputs=[old])


DECOMPOSED: tuple[Change, ...] = (
    Change("LayerNormalization", 17, keep_node, _layer_norm),
    Change("RMSNormalization", 23, keep_node, _rms_norm),
)
