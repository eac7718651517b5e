"""Recognise activations that an exporter wrote as arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite

FLOATS = (DType.F32, DType.F16, DType.BF16)  # runtimes have no kernels of these operators for f64


@dataclass(frozen=True)
class FuseActivations(Pass):
    """Write activations in one form each, whatever the exporter's spelling.

    HardSigmoid(x) = clip(x / 6 + 1/2, 0, 1); HardSwish(x) = x HardSigmoid(x);
    Sigmoid(x) = 1 / (1 + exp(-x)); SiLU stays x * Sigmoid(x), which every runtime knows;
    Gelu(x) = x/2 (1 + erf(x / sqrt 2)), or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) in place of
    erf. Files of an opset without Gelu get it decomposed again when written. Exact up to rounding.
    Source: Howard et al., ICCV 2019, section 5.2; Hendrycks and Gimpel, arXiv 1606.08415, section
    2.
    """

    name: ClassVar[str] = "fuse-activations"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _fused(op: str, **attrs: float | bytes) -> Callable[[Match], Made | Skip | None]:
    """Make a rule function: the match is op(x)."""

    def make(m: Match) -> Made | Skip | None:
        kind = m.type()
        if kind is None or kind.dtype not in FLOATS:
            dtype = "unknown" if kind is None else kind.dtype.text
            return Skip(f"it computes {op}, which runtimes have no kernel of for type {dtype}")
        return Made(op, (m.value("x"),), attrs)

    return make


SIXTH = "0.16666667~"
RELU6 = "Clip(Add{x, 3}, 0, 6) | Min{Relu(Add{x, 3}), 6} | Min{Max{Add{x, 3}, 0}, 6}"
LINEAR = f"Add{{Mul{{x, {SIXTH}}}, 0.5}} | Add{{Div(x, 6), 0.5}} | Div(Add{{x, 3}}, 6)"
HARD = _fused("HardSigmoid", alpha=1 / 6, beta=0.5)
HARD_SIGMOID = (
    Rule(f"Div({RELU6}, 6) | Mul{{{RELU6}, {SIXTH}}}", HARD),
    Rule(f"Clip({LINEAR} | Mul{{Add{{x, 3}}, {SIXTH}}}, 0, 1)", HARD),
)
HARD_SWISH = (
    Rule(f"Div(Mul{{x, {RELU6}}}, 6) | Mul{{Mul{{x, {RELU6}}}, {SIXTH}}}", _fused("HardSwish")),
    Rule(f"Mul{{Div(x, 6) | Mul{{x, {SIXTH}}}, {RELU6}}}", _fused("HardSwish")),
)


def _hard_swish(m: Match) -> Made | None:
    alpha, beta = m.attr("alpha", 0.2, of="s"), m.attr("beta", 0.5, of="s")
    if abs(alpha - 1 / 6) > 1e-5 or beta != 0.5:  # six digits, as for constants in patterns
        return None
    return Made("HardSwish", (m.value("x"),))


HARD_SWISH_OF_SIGMOID = Rule("Mul{x, s:HardSigmoid(x)}", _hard_swish)


def _sigmoid(m: Match) -> Made | None:
    return Made("Sigmoid", (m.value("x"),)) if m.is_float() else None


SIGMOID_OF = "Add{Exp(Neg(x) | Mul{x, -1}), 1}"
SIGMOID = Rule(f"Div(1, {SIGMOID_OF}) | Reciprocal({SIGMOID_OF})", _sigmoid)


def _gated(m: Match) -> Made | None:
    """Turn y / (1 + exp(-x)) into y Sigmoid(x)."""
    if not m.is_float():
        return None
    sigmoid = Made("Sigmoid", (m.value("x"),))
    return Made("Mul", (m.value("y"), sigmoid), says="became a product with Sigmoid")


GATED = Rule(f"Div(y, {SIGMOID_OF})", _gated)


def _swish(m: Match) -> Made | None:
    if m.attr("alpha", 1.0) != 1.0:
        return None
    return Made("Mul", (m.value("x"), Made("Sigmoid", (m.value("x"),))))


SWISH = Rule("Swish(x)", _swish)


def _halved(one_plus: str, f: str) -> str:
    """Return the pattern of x/2 (1 + f(x)) in every order; `one_plus`: the pattern of 1 + f(x)."""
    half_x = "Mul{x, 0.5} | Div(x, 2)"
    half = f"Mul{{{one_plus}, 0.5}} | Div({one_plus}, 2) | Add{{Mul{{{f}, 0.5}}, 0.5}}"
    whole = f"Mul{{x, {one_plus}}}"
    return f"Mul{{{whole}, 0.5}} | Div({whole}, 2) | Mul{{{half_x}, {one_plus}}} | Mul{{x, {half}}}"


ERF = "Erf(Div(x, 1.41421356~) | Mul{x, 0.70710678~})"
CUBE = "Pow(x, 3) | Mul{x, Mul(x, x) | Pow(x, 2)}"
CUBIC = f"Mul{{0.044715~, {CUBE}}} | Mul{{x, Mul{{x, Mul{{0.044715~, x}}}}}}"
BELOW_ONE = "Mul{0.044715~, Mul(x, x) | Pow(x, 2)} | Mul{x, Mul{0.044715~, x}}"
ROOT = "0.79788456~"  # sqrt(2 / pi)
TANH = (
    f"Tanh(Mul{{{ROOT}, Add{{x, {CUBIC}}}}}"
    f" | Mul{{Mul{{x, {ROOT}}}, Add{{1, {BELOW_ONE}}}}}"
    f" | Mul{{{ROOT}, Mul{{x, Add{{1, {BELOW_ONE}}}}}}})"
)
GELU, GELU_TANH = _fused("Gelu"), _fused("Gelu", approximate=b"tanh")
GELUS = (
    Rule(_halved(f"Add{{{ERF}, 1}}", ERF), GELU),
    Rule(_halved(f"Add{{{TANH}, 1}}", TANH), GELU_TANH),
)


def _twice(op: Callable[[Match], Made | Skip | None]) -> Callable[[Match], Made | Skip | None]:
    """Make a rule function for x (1 + f(x)), where no halving follows: it is 2 op(x)."""

    def make(m: Match) -> Made | Skip | None:
        users = m.scope.users(m.root.outputs[0])
        made = None if any(user.op in ("Mul", "Div") for user in users) else op(m)
        kind = m.type()
        if not isinstance(made, Made) or kind is None:
            return made
        two = np.array(2, kind.dtype.numpy)
        return Made("Mul", (made, two), says=f"became twice {made.op}")

    return make


GELUS_TWICE = (
    Rule(f"Mul{{x, Add{{{ERF}, 1}}}}", _twice(GELU)),
    Rule(f"Mul{{x, Add{{{TANH}, 1}}}}", _twice(GELU_TANH)),
)
RULES = (
    *HARD_SIGMOID,
    *HARD_SWISH,
    HARD_SWISH_OF_SIGMOID,
    SIGMOID,
    GATED,
    SWISH,
    *GELUS,
    *GELUS_TWICE,
)
