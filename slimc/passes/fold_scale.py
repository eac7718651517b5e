"""Fold constant factors and summands into the weights beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, rewrite
from slimc.rewrite.weights import CONTRACTION, Contraction


@dataclass(frozen=True)
class FoldScale(Pass):
    """Fold constants per channel that are multiplied with or added to the result of a contraction.

    k (x * w + b) + t = x * (k w) + (k b + t) per output channel; (k x) * w = x * (k w) per input
    channel. A MatMul has no bias: of matrices it becomes a Gemm, of more axes a summand stays
    behind it, and a factor moves past the summand. alpha and beta of a Gemm go into its constants.
    Exact up to rounding.
    """

    name: ClassVar[str] = "fold-scale"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


Numbers = tuple[np.ndarray, np.ndarray | None]  # factor, summand


def _after(numbers: Callable[[np.ndarray], Numbers]) -> Callable[[Match], Made | None]:
    """Make a rule function: `numbers` gives factor and summand from the constant k."""

    def make(m: Match) -> Made | None:
        contraction = Contraction.of(m)
        if contraction is None or not m.is_float():
            return None
        k = contraction.per_channel(m.numbers("k"))
        return None if k is None else contraction.scaled(*numbers(k))

    return make


def _before(numbers: Callable[[np.ndarray], Numbers]) -> Callable[[Match], Made | None]:
    """Make a rule function for a constant factor k on the data."""

    def make(m: Match) -> Made | None:
        contraction = Contraction.of(m)
        k = None if contraction is None else contraction.per_input(m.numbers("k"))
        if contraction is None or k is None or not m.is_float():
            return None
        return contraction.with_input(*numbers(k))

    return make


def _past_summand(numbers: Callable[[np.ndarray], Numbers]) -> Callable[[Match], Made | None]:
    """Make a rule function for a factor k behind a MatMul and its summand t."""

    def make(m: Match) -> Made | None:
        contraction = Contraction.of(m)
        if contraction is None or not m.is_float():
            return None
        k, t = (contraction.per_channel(m.numbers(name)) for name in ("k", "t"))
        made = None if k is None or t is None else contraction.scaled(numbers(k)[0])
        kind = m.type()
        if made is None or k is None or t is None or kind is None:
            return None
        summand = (t * numbers(k)[0]).astype(kind.dtype.numpy)
        return Made("Add", (replace(made, node=""), summand), says=f"folded into @{made.node}")

    return make


def _gemm(m: Match) -> Made | None:
    """Write alpha (x w) + beta b with alpha and beta in the constants."""
    alpha, beta = m.attr("alpha", 1.0), m.attr("beta", 1.0)
    if alpha == beta == 1.0:
        return None
    attrs = {key: value for key, value in m.root.attrs.items() if key not in ("alpha", "beta")}
    bias = beta * m.numbers("b") if m.has("b") else None
    made = m.rebuilt("Gemm", w=alpha * m.numbers("w"), b=bias, says="alpha and beta folded")
    return replace(made, attrs=attrs)


def _times(k: np.ndarray) -> Numbers:
    return k, None


def _over(k: np.ndarray) -> Numbers:
    with np.errstate(all="ignore"):
        return 1 / k, None


def _plus(k: np.ndarray) -> Numbers:
    return np.ones_like(k), k


def _minus(k: np.ndarray) -> Numbers:
    return np.ones_like(k), -k


def _from(k: np.ndarray) -> Numbers:
    return -np.ones_like(k), k


KINDS = "c:Conv|ConvTranspose|Gemm|MatMul"
SUMMED = "Add{c:MatMul(x, const w), const t}"
RULES = (
    Rule("Gemm(x, const w, const b?)", _gemm),
    Rule(f"Mul{{{CONTRACTION}, const k}}", _after(_times)),
    Rule(f"Div({CONTRACTION}, const k)", _after(_over)),
    Rule(f"Add{{{CONTRACTION}, const k}}", _after(_plus)),
    Rule(f"Sub({CONTRACTION}, const k)", _after(_minus)),
    Rule(f"Sub(const k, {CONTRACTION})", _after(_from)),
    Rule(f"Mul{{{SUMMED}, const k}}", _past_summand(_times)),
    Rule(f"Div({SUMMED}, const k)", _past_summand(_over)),
    Rule(f"{KINDS}(Mul{{x, const k}}, const w, const b?)", _before(_times)),
    Rule(f"{KINDS}(Div(x, const k), const w, const b?)", _before(_over)),
)
