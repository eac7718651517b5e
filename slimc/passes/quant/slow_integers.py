"""Time what integers gain region by region, and find the regions that are slower."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from slimc.analysis.regions import Region, regions
from slimc.execute.speedup import MARGIN, Speedup
from slimc.ir.graph import Graph
from slimc.passes.give_back import Decision, Names, Trial, meaning
from slimc.passes.quant.marked_regions import Marked, exactly
from slimc.passes.timing import Timing
from slimc.remarks import Remark, note, skipped

_GAIN = 2.0  # of integer arithmetic over floats: regions with less are looked into
_WORTH = 0.0  # share of it that integers must reach to stay: they must not be slower


@dataclass(frozen=True, eq=False)
class TimedRegions(Marked):
    """Times a graph with records with any regions in floats."""

    timing: Timing

    @cached_property
    def regions(self) -> Mapping[str, Region]:
        """The regions that run in integers, by name, in graph order."""
        nodes = self.marked.by_name
        return {
            region.name: region
            for region in regions(self.marked, self.ctx.ops)
            if any(nodes[name].integer for name in region.nodes)
        }

    def patterns(self, names: Names) -> tuple[str, ...]:
        """Return patterns that match the nodes of regions."""
        return tuple(exactly(node) for name in names for node in self.regions[name].nodes)

    def gain(self, result: Graph) -> Speedup:
        """Return how many times as fast a graph with records is as one with all regions in floats.

        result: this graph, or the one with some regions given back.
        """
        return self.timing.compare(self._lowered_floats, self.timing.lowered(result, self.ctx))

    def trial(self, families: Names, given_back: Names) -> Trial:
        """Measure integers in some regions, where others are in floats either way."""
        floats = self._lowered((*given_back, *families))
        speedup = self.timing.compare(floats, self._lowered(given_back))
        return Trial(families, self._promised(families), speedup, _WORTH)

    @cached_property
    def _lowered_floats(self) -> Graph:
        return self._lowered(tuple(self.regions))

    def _lowered(self, floating: Names) -> Graph:
        graph = self.in_floats([self.regions[name] for name in floating])
        return self.timing.lowered(graph, self.ctx)

    def _promised(self, names: Collection[str]) -> float:
        """Return how many times as fast it were if regions took 1 / `_GAIN` of their time."""
        total = max(1, sum(self.macs_of_nodes.values()))
        inside = sum(self.macs(self.regions[name]) for name in names)
        return total / (total - inside * (1 - 1 / _GAIN))


def is_slower(whole: Speedup) -> bool:
    """Return whether even the upper bound is below one, by more than two loads differ."""
    return whole.bounds[1] * (1 + MARGIN) < 1


def slow_integer_remarks(whole: Speedup, given_back: Names, decision: Decision) -> list[Remark]:
    """Say what integers gain together, and which regions were given back to floats."""
    remarks = [note(f"measured, integers against floats: {whole}{meaning(whole)}")]
    for name in given_back:
        trials = [trial for trial in decision.trials if name in trial.families]
        last = trials[-1].families
        what = "integers here make" if len(last) == 1 else f"integers in {len(last)} regions make"
        remarks.append(skipped(name, f"given back to floats: {what} it {trials[-1].measured}"))
    return remarks
