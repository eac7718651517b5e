"""Fold constant factors and summands into the weights beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite
from slimc.rewrite.weights import CONTRACTION, Contraction


@dataclass(frozen=True)
class FoldScale(Pass):
    """Fold constants per channel that are multiplied with or added to the result of a contraction.

    k (x * w + b) + t = x * (k w) + (k b + t) per output channel; (k x) * w = x * (k w) per input
    channel. A MatMul has no bias: of matrices it becomes a Gemm, of more axes a summand stays
    behind it, and a factor moves past the summand; it moves past a Transpose too. alpha and beta
    of a Gemm go into its constants. The scale of a normalisation stays where runtimes fuse it.
    Exact up to rounding.
    """

    name: ClassVar[str] = "fold-scale"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


Numbers = tuple[np.ndarray, np.ndarray | None]  # factor, summand
Fold = Callable[[Match], Made | Skip | None]


def _after(numbers: Callable[[np.ndarray], Numbers]) -> Fold:
    """Make a rule function: `numbers` gives factor and summand from the constant k."""

    def make(m: Match) -> Made | Skip | None:
        contraction = Contraction.of(m)
        if contraction is None or not m.is_float():
            return None
        k = contraction.per_channel(_turned_back(m))
        made = NOT_ALONG if k is None else contraction.scaled(*numbers(k))
        return _turned(m, made) if isinstance(made, Made) else made

    return make


def _turned_back(m: Match) -> np.ndarray:
    """Return the constant k as it broadcasts before the Transpose, if the match has one."""
    k, rank = m.numbers("k"), m.rank()
    if rank is None or k.ndim > rank or not m.has_node("turn"):
        return k
    perm = m.attr("perm", tuple(reversed(range(rank))), of="turn")
    return k.reshape((1,) * (rank - k.ndim) + k.shape).transpose(np.argsort(perm))


def _turned(m: Match, made: Made) -> Made:
    """Put the Transpose behind a new node, if the match has one."""
    if not m.has_node("turn"):
        return made
    turn = m.node("turn")
    return Made(turn.op, (made,), turn.attrs, node=turn.name, says=made.says)


def _before(numbers: Callable[[np.ndarray], Numbers]) -> Fold:
    """Make a rule function for a constant factor k on the data."""

    def make(m: Match) -> Made | Skip | None:
        contraction = Contraction.of(m)
        k = None if contraction is None else contraction.per_input(m.numbers("k"))
        if contraction is None or k is None or not m.is_float():
            return None
        if _is_made_by(m, m.value("x"), NORMALISATION):
            return Skip("its constant is the scale of a normalisation, which runtimes fuse with it")
        return contraction.with_input(*numbers(k))

    return make


def _is_made_by(m: Match, value: str, ops: Sequence[str]) -> bool:
    """Return whether nodes of these operators lead to a value, the last operator first."""
    node = m.scope.producer(value)
    if node is None or node.op != ops[0]:
        return False
    return len(ops) == 1 or any(_is_made_by(m, v, ops[1:]) for v in node.inputs if v)


def _past_summand(numbers: Callable[[np.ndarray], Numbers]) -> Fold:
    """Make a rule function for a factor k behind a product that takes no bias, and its summand."""

    def make(m: Match) -> Made | Skip | None:
        contraction = Contraction.of(m)
        if contraction is None or contraction.weighted.bias is not None or not m.is_float():
            return None
        k, t = contraction.per_channel(_turned_back(m)), contraction.per_channel(m.numbers("t"))
        made = None if k is None or t is None else contraction.scaled(numbers(k)[0])
        if not isinstance(made, Made) or k is None or t is None:
            return made
        summand = (t * numbers(k)[0]).astype(m.array("t").dtype)
        both = Made("Add", (made, summand), node=m.node("sum").name, says=made.says)
        return _turned(m, both)

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


NOT_ALONG = Skip("its constant is not one number per channel of the weights before it")
# As onnxruntime finds them (layer_norm_fusion.cc): x / sqrt(mean(x ** 2) + eps), x centred or not.
NORMALISATION = ("Div", "Sqrt", "Add", "ReduceMean", "Pow")
SUMMED = "sum:Add{c:@weighted(x, const w), const t}"
RULES = (
    Rule("Gemm(x, const w, const b?)", _gemm),
    Rule(f"Mul{{{CONTRACTION}, const k}}", _after(_times)),
    Rule(f"Div({CONTRACTION}, const k)", _after(_over)),
    Rule(f"Add{{{CONTRACTION}, const k}}", _after(_plus)),
    Rule(f"Sub({CONTRACTION}, const k)", _after(_minus)),
    Rule(f"Sub(const k, {CONTRACTION})", _after(_from)),
    Rule(f"Mul{{turn:Transpose({CONTRACTION}), const k}}", _after(_times)),
    Rule(f"Mul{{{SUMMED} | turn:Transpose({SUMMED}), const k}}", _past_summand(_times)),
    Rule(f"Div({SUMMED}, const k)", _past_summand(_over)),
    Rule("c:@weighted(Mul{x, const k}, const w, const b?)", _before(_times)),
    Rule("c:@weighted(Div(x, const k), const w, const b?)", _before(_over)),
)
