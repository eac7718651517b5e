"""All that a pass may look at besides the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import lcm

from slimc.analysis.group_view import Score
from slimc.analysis.sensitivity_curves import Curves
from slimc.analysis.shapes import default_sizes
from slimc.analysis.sparsity import MULTIPLE
from slimc.calib.data import Data
from slimc.calib.table import Tables
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.rewrite.kept import Kept
from slimc.targets.target import Target

Progress = Callable[[str, int, int], None]


def _untold(what: str, done: int, wanted: int) -> None:
    """Tell no one."""


@dataclass(frozen=True)
class Reference:
    """The graph before the first channels left: what weights are repaired by.

    kept: value -> per axis, the indices of the reference's value that are still there.
    """

    graph: Graph
    kept: Mapping[str, Kept]


@dataclass(frozen=True)
class Context:
    """Frozen surroundings of a pass.

    data: calibration batches (synthetic ones if the user gave none, then `data.synthetic`); sizes:
    a number for every named dimension, for analyses that need one (MACs, channel coupling); seed:
    of every random choice; scores: importances of units that plug-ins brought, by name;
    quantizes: whether a pass of this compile chooses integers, so that earlier ones can suit them;
    repairs: whether one makes up for channels that leave;
    sparsifies: whether one makes weights 2:4;
    curves: what the loss of channels was measured to do (`slimc sensitivity`); reference: the graph
    before channels left, if some did; tables: calibration tables made earlier, by key; progress: is
    told (what, done, to do) by passes that take long.
    """

    ops: OpTable
    target: Target
    data: Data
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    scores: Mapping[str, Score] = field(default_factory=dict)
    quantizes: bool = False
    repairs: bool = False
    sparsifies: bool = False
    curves: Curves | None = None
    reference: Reference | None = None
    tables: Tables = field(default_factory=Tables)
    progress: Progress = _untold

    def sizes_of(self, graph: Graph) -> dict[str, int]:
        """Return a number for every named size of a graph's inputs, usual ones if none is given."""
        return {**default_sizes(graph), **self.sizes}

    @property
    def align(self) -> int:
        """The multiple of channels that the target's kernels like in what comes out."""
        integers = self.quantizes and bool(self.target.schemes)
        own = self.target.align_integer if integers else self.target.align_float
        return lcm(own, MULTIPLE) if self.sparsifies and self.target.sparsity else own

    @property
    def integers(self) -> frozenset[str]:
        """The kinds of nodes that a later pass may let compute in 8-bit integers."""
        return frozenset(self.target.quantize if self.quantizes else ())
