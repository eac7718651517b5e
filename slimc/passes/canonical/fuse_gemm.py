"""Let a product with a bias, between two Reshapes, be one Gemm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, rewrite
from slimc.rewrite.sizes import target_of
from slimc.rewrite.weights import Contraction


@dataclass(frozen=True)
class FuseGemm(Pass):
    """Let Reshape, MatMul by a constant, Add of a bias, Reshape be Reshape, Gemm, Reshape.

    A Gemm takes matrices only; where the data are reshaped before and behind the product anyway,
    they may as well be a matrix between. Elsewhere MatMul and Add stay. Exact.
    """

    name: ClassVar[str] = "fuse-gemm"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _gemm(m: Match) -> Made | None:
    contraction, result = Contraction.of(m), m.sizes()
    bias = None if contraction is None else contraction.per_channel(m.array("k"))
    w = m.array("w")
    target = None if result is None else target_of(result, None)
    if bias is None or target is None or w.ndim != 2 or not m.is_float():
        return None
    rows = np.array([-1, w.shape[0]], np.int64)
    flat = Made("Reshape", (m.value("x"), rows), node=m.node("inner").name, hints=("", "shape"))
    operands = (flat, m.value("w"), bias.astype(w.dtype))
    gemm = Made("Gemm", operands, node=m.node("c").name, hints=("", "", "bias"))
    return Made("Reshape", (gemm, target), hints=("", "shape"))


RULES = (
    Rule(
        "@same_order(Add{c:MatMul(inner:@same_order(x, ...), const w), const k}, ...)",
        _gemm,
        "a Gemm between two Reshapes",
    ),
)
