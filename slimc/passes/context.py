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
from slimc.calib.table import CalibrationTables
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable
from slimc.passes.traits import Trait
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
    """Frozen surroundings of a pass."""

    ops: OpTable
    """A row for every operator whose axes are known."""
    target: Target
    """What the compile is for."""
    data: Data
    """Calibration batches; synthetic ones if the user gave none (`data.synthetic`)."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """A number for every named dimension, for analyses that need one (MACs, coupling)."""
    seed: int = 0
    """Of every random choice."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """Importances of units that plug-ins brought, by name."""
    traits: frozenset[Trait] = frozenset()
    """What the passes of this compile do, the later ones included."""
    curves: Curves | None = None
    """What the loss of channels was measured to do (`slimc sensitivity`)."""
    reference: Reference | None = None
    """The graph before channels left, if some did."""
    tables: CalibrationTables = field(default_factory=CalibrationTables)
    """Calibration tables made earlier, by key."""
    progress: Progress = _untold
    """Is told (what, done, to do) by passes that take long."""

    def sizes_of(self, graph: Graph) -> dict[str, int]:
        """Return a number for every named size of a graph's inputs, usual ones if none is given."""
        return {**default_sizes(graph), **self.sizes}

    @property
    def align(self) -> int:
        """The multiple of channels that the target's kernels like in what comes out."""
        integers = Trait.INTEGERS in self.traits and bool(self.target.schemes)
        own = self.target.align_integer if integers else self.target.align_float
        sparse = Trait.SPARSIFIES in self.traits and self.target.sparsity
        return lcm(own, MULTIPLE) if sparse else own

    @property
    def integers(self) -> frozenset[str]:
        """The kinds of nodes that a later pass may let compute in 8-bit integers."""
        return frozenset(self.target.quantize if Trait.INTEGERS in self.traits else ())
