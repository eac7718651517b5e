"""A graph with quantization records, any regions of which can be put in floats."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from slimc.analysis.cost import macs
from slimc.analysis.regions import Region, in_float
from slimc.analysis.shapes import infer
from slimc.ir.graph import Graph
from slimc.passes.context import Context


@dataclass(frozen=True, eq=False)
class Marked:
    """A graph with records, any regions of which can be put in floats.

    before: the graph that its scales were chosen for. Records and constants of the other regions
    stay as they are: nothing is calibrated anew.
    """

    marked: Graph
    before: Graph
    ctx: Context

    def in_floats(self, floating: Collection[Region]) -> Graph:
        """Return the graph with records, with some regions in floats."""
        return in_float(self.marked, floating, self.before)

    def macs(self, region: Region) -> int:
        """Return the multiply-accumulates of a region."""
        return sum(self.macs_of_nodes.get(name, 0) for name in region.nodes)

    @cached_property
    def macs_of_nodes(self) -> Mapping[str, int]:
        """The multiply-accumulates of every node that has some."""
        facts = infer(self.before, self.ctx.ops, self.ctx.sizes_of(self.before))
        return macs(self.before, self.ctx.ops, facts)


def exactly(name: str) -> str:
    """Return the pattern that matches one name of a node."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
