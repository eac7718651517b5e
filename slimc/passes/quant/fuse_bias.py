"""Let a product and the bias added to it be one Gemm, where the target has one kernel for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.passes.schemes import Scheme, fixes_ranges
from slimc.rewrite.match import Operand
from slimc.rewrite.rule import Made, Match, Rule, rewrite
from slimc.rewrite.sizes import target_of
from slimc.rewrite.weights import Contraction


@dataclass(frozen=True)
class FuseBias(Pass):
    """Let MatMul by a constant and Add of a bias be Reshape, Gemm, Reshape.

    x: f32[N,T,K], w: f32[K,M], b: f32[M]; (x w) + b = reshape(reshape(x, [N T,K]) w + b, [N,T,M]).
    Only for targets whose integer kernels add a bias to matrices alone, and for schemes that fix
    ranges ahead: kernels that measure their data take stacks and biases as they are. Exact.
    """

    name: ClassVar[str] = "fuse-bias"

    scheme: Scheme = option("auto", "the scheme that assign-scales is to give to most nodes")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        if not ctx.target.fuse_bias or not fixes_ranges(ctx.target, self.scheme):
            return PassResult(graph)
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _make_gemm(m: Match) -> Made | None:
    contraction, rank, w = Contraction.of(m), m.rank("x"), m.array("w")
    bias = None if contraction is None else contraction.per_channel(m.array("k"))
    if bias is None or rank is None or rank < 2 or w.ndim != 2 or not m.is_float():
        return None
    product, hints = m.node("c").name, ("", "", "bias")
    matrix = m.value("x")
    if m.rank() == 2:
        return Made("Gemm", (matrix, m.value("w"), bias.astype(w.dtype)), node=product, hints=hints)
    sizes = m.sizes()
    target: Operand | None = None if sizes is None else target_of(sizes, None)
    if target is None:  # several sizes are not known before it runs
        rest = Made("Shape", (matrix,), attrs={"end": -1})
        target = Made("Concat", (rest, np.array([w.shape[1]], np.int64)), attrs={"axis": 0})
    rows = np.array([-1, w.shape[0]], np.int64)
    flat = Made("Reshape", (matrix, rows), hints=("", "shape"))
    gemm = Made("Gemm", (flat, m.value("w"), bias.astype(w.dtype)), node=product, hints=hints)
    return Made("Reshape", (gemm, target), hints=("", "shape"))


RULES = (
    Rule("Add{c:MatMul(x, const w), const k}", _make_gemm, "one Gemm with the product before it"),
)
