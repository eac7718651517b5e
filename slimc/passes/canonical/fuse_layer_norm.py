"""Recognise LayerNormalization that an exporter wrote as arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import DType
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite


@dataclass(frozen=True)
class FuseLayerNorm(Pass):
    """Let a normalisation over the last axes be one LayerNormalization, scale and shift too.

    (x - E[x]) / sqrt(E[(x - E[x])^2] + eps), E the mean over the last axes; over others it stays as
    it is. A constant factor or summand that follows a LayerNormalization, one number per normalised
    element, becomes its scale or shift. Exact up to rounding.
    Source: Ba et al., arXiv 1607.06450, section 3.
    """

    name: ClassVar[str] = "fuse-layer-norm"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


MEAN = "ReduceMean(x, _)"
CENTRED = f"Sub(x, {MEAN})"
SQUARED = f"Pow({CENTRED}, 2) | Mul({CENTRED}, {CENTRED})"
VARIANCE = f"Add{{ReduceMean({SQUARED}, _), const eps}}"
DEVIATION = f"Sqrt({VARIANCE}) | Pow({VARIANCE}, 0.5)"
INVERSE = f"Reciprocal({DEVIATION}) | Div(1, {DEVIATION}) | Pow({VARIANCE}, -0.5)"


def _axes(m: Match, mean: Node, rank: int) -> set[int] | None:
    """Return the axes that a mean runs over, None where they are computed or do not stay."""
    if mean.attrs.get("keepdims", 1) != 1:
        return None
    if len(mean.inputs) < 2 or not mean.inputs[1]:
        return None if mean.attrs.get("noop_with_empty_axes", 0) else set(range(rank))
    array = m.scope.array(mean.inputs[1])
    return None if array is None else {int(a) % rank for a in array.ravel()}


def _normalise(m: Match) -> Made | Skip | None:
    kind = m.type("x")
    eps = m.numbers("eps")
    if kind is None or kind.shape is None or not kind.dtype.is_float or eps.size != 1:
        return None
    rank = len(kind.shape)
    means = {node.name: node for _, node in m.found.nodes if node.op == "ReduceMean"}
    axes = [_axes(m, node, rank) for node in means.values()]
    if None in axes or any(a != axes[0] for a in axes) or not axes[0]:
        return None
    first = min(axes[0])
    if axes[0] != set(range(first, rank)):
        listed = ", ".join(map(str, sorted(axes[0])))
        return Skip(f"it is a mean over axes {listed}, not over the last of {rank}")
    sizes = tuple(size for size in kind.shape[first:] if isinstance(size, int))
    if len(sizes) != rank - first:
        return Skip("the sizes of the normalised axes are not known", "fix them with --shape")
    ones = np.ones(sizes, kind.dtype.numpy)
    attrs: dict[str, Attr] = {"axis": first - rank, "epsilon": eps.item()}
    if kind.dtype is DType.F64:
        attrs["stash_type"] = DType.F64.code
    return Made("LayerNormalization", (m.value("x"), ones), attrs, hints=("", "scale"))


NORMALISE = Rule(f"Div({CENTRED}, {DEVIATION}) | Mul{{{CENTRED}, {INVERSE}}}", _normalise)

NORMAL = "LayerNormalization(x, const scale, const shift?)"


def _per_element(m: Match) -> np.ndarray | None:
    """Return the constant `c` in the shape of the scale, None where it has more axes."""
    shape, c = m.shape("scale"), m.numbers("c")
    if shape is None or not m.same_type("x"):
        return None
    inner = c.shape[max(0, c.ndim - len(shape)) :]
    if c.size != np.prod(inner, dtype=int):
        return None
    return np.broadcast_to(c.reshape(inner), shape) if c.ndim else np.full(shape, c)


def _scale(m: Match) -> Made | None:
    c = _per_element(m)
    if c is None:
        return None
    scale = np.asarray(m.numbers("scale") * c)
    shift = m.numbers("shift") * c if m.has("shift") else None
    return m.rebuilt("LayerNormalization", scale=scale, shift=shift)


SCALE = Rule(f"Mul{{{NORMAL}, const c}}", _scale)


def _shift(m: Match) -> Made | None:
    c = _per_element(m)
    if c is None:
        return None
    return m.rebuilt("LayerNormalization", shift=np.asarray(m.optional_numbers("shift", 0.0) + c))


SHIFT = Rule(f"Add{{{NORMAL}, const c}}", _shift)
RULES = (NORMALISE, SCALE, SHIFT)
