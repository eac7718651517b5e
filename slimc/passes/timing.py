"""What a compile that measures lends to passes."""

from __future__ import annotations

from typing import Protocol

from slimc.execute.speedup import Speedup
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.targets.target import Target


class Timing(Protocol):
    """Times graphs on one feed, in turn."""

    @property
    def samples(self) -> int:
        """The samples of the feed."""

    def compare(self, first: Graph, second: Graph) -> Speedup:
        """Return how many times as fast the second graph is, with one thread."""

    def lowered(self, graph: Graph, ctx: Context) -> Graph:
        """Return what the target's runtime gets of a graph with records."""

    def obstacle(self, target: Target) -> str:
        """Say why integers of a target cannot be timed here; empty: they can."""
