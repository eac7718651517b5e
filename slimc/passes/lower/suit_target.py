"""Express operators by those that the target prefers, before other passes look at the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context


@dataclass(frozen=True)
class SuitTarget(Pass):
    """Put operators that the target's accelerator runs in the place of those that it lacks.

    How is the target's `suit`; it runs by itself for targets that have one, behind canonicalize.
    Values stay the same up to rounding. A target that lacks nothing takes the graph as it is.
    """

    name: ClassVar[str] = "suit-target"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Do what the target says. Raises SlimcError "target-refuses"."""
        suit = ctx.target.suit
        return PassResult(graph) if suit is None else suit(graph, ctx.target, ctx.ops)
