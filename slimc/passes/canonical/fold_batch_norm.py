"""Fold BatchNormalization into the weights beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.rewrite.batch_norm import RULES
from slimc.rewrite.rule import rewrite


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold a BatchNormalization into the contraction that alone feeds it, or that it alone feeds.

    a = scale / sqrt(var + eps), t = shift - a mean. After Conv, ConvTranspose, Gemm or MatMul:
    w' = a w and b' = a b + t per output channel. Before a Conv without padding, a Gemm or a MatMul:
    w' = w a per input channel, b' = b + sum w t. Exact up to rounding.
    Source: Jacob et al., CVPR 2018, section 3.2.
    """

    name: ClassVar[str] = "fold-batch-norm"

    keep: tuple[str, ...] = option((), "BatchNormalization nodes to leave as they are")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name, keep=self.keep)
