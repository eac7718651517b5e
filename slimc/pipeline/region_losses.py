"""What each quantized region costs in accuracy, by running the graph with regions in floats."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from slimc.analysis.cost import macs
from slimc.analysis.regions import Region, in_float, regions
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.output_loss import SAMPLES, Load, Loss
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import InsertQdq, as_computed
from slimc.pipeline.integer_layers import ONNXRUNTIME
from slimc.targets.target import Target

_UNSEEN = 5  # every fifth feed is kept from calibration where a result is judged


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


@dataclass(frozen=True, eq=False)
class Simulation(Marked):
    """Runs a graph with records with any regions in floats. loss: of a graph with Q/DQ."""

    loss: Loss

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The quantized regions, in graph order."""
        return regions(self.marked, self.ctx.ops)

    def graph_without(self, floating: Collection[Region]) -> Graph:
        """Return the graph with Q/DQ, with some regions in floats and all others quantized."""
        made = InsertQdq().run(self.in_floats(floating), self.ctx).graph
        return as_computed(made, self.ctx.ops, self.ctx.target)

    def loss_without(self, floating: Collection[Region]) -> float:
        """Return the loss with some regions in floats and all others quantized."""
        return self.loss(self.graph_without(floating))

    def loss_of(self, region: Region) -> float:
        """Return the loss with one region quantized and all others in floats."""
        return self.loss_without([one for one in self.regions if one is not region])


def load_for(target: Target) -> Load:
    """Return how a graph with Q/DQ is run so that its values are those of the target.

    Integer kernels of onnxruntime where the target is it, with exact sums: where processors may
    saturate, the target's table rules it out; else Q and DQ as they stand, computing in floats
    between them.
    """
    if target.runtime == ONNXRUNTIME:
        return Session
    return lambda graph: Session(graph, fuse_integers=False)


def split(data: Data) -> tuple[int, Data]:
    """Return how many samples to calibrate on, and the others: every fifth feed, the last ones.

    At most as many feeds as hold `SAMPLES` samples. One feed alone is calibrated on and judged.
    """
    if len(data) < 2:
        return data.samples, data
    judged = 1
    while judged < len(data) // _UNSEEN and _tail(data, len(data) - judged).samples < SAMPLES:
        judged += 1
    seen = len(data) - judged
    return data.head(seen).samples, _tail(data, seen)


def _tail(data: Data, start: int) -> Data:
    """Return the feeds from number `start` on."""
    specs = None if data.specs is None else data.specs[start:]
    return replace(data, make=lambda: islice(data.make(), start, None), specs=specs, identify=None)


def exactly(name: str) -> str:
    """Return the pattern that matches one name of a node."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def noises(simulation: Simulation) -> Iterator[tuple[Region, float]]:
    """Yield every region with the loss of it alone."""
    for region in simulation.regions:
        yield region, simulation.loss_of(region)
