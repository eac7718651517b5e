"""All that a pass may look at besides the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from slimc.analysis.curves import Curves
from slimc.analysis.latency import Speed
from slimc.analysis.scores import Score
from slimc.analysis.shapes import default_sizes
from slimc.calib.data import Data
from slimc.calib.tables import Tables
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.op import OpTable
from slimc.rewrite.slice_axes import Kept

Progress = Callable[[str, int, int], None]


def _untold(what: str, done: int, wanted: int) -> None:
    """Tell no one."""


SMALL_CPU = Speed(macs=2e10, bytes=1e10, node_seconds=1e-6)  # orders of magnitude: one core


@dataclass(frozen=True)
class Grid:
    """Integers that a target takes.

    dtype and the range used; symmetric: zero point 0; per_channel: one scale per channel; paired:
    of weights whose products with u8 data the kernel adds in pairs of 16 bits (`ir.pairs`): scales
    are so that no pair saturates; block: elements along the summed axis that share a scale; 0: all.
    """

    dtype: DType
    low: int
    high: int
    symmetric: bool
    per_channel: bool = False
    paired: bool = False
    block: int = 0


@dataclass(frozen=True)
class Quantize:
    """What a target wants of an operator in one scheme.

    activations: the grid of its floating operands, and of its results where `Placement.output`;
        None: they stay floats, and only the weight is stored in integers.
    dynamic: the operator runs in integers all the same: the runtime measures its data.
    weights: the grid of a constant weight, or of a table that is looked up; None: there is none.
    needs_constant: a contraction of two activations stays in float; else its second operand has the
        grid `activations`.
    scales: whether operands and results have scales of their own or share one; "operator" leaves it
        to the operator's row (pass-through and shared-scale share).
    free_result: the kernel also gives floats: a result that no integer node reads needs no record.
    only: attribute -> the values it must have for the kernel to exist; None: it is absent.
    between: it is worth it only where an integer node makes an operand and one reads the result.
    min_channels: a contraction stays in float where data and result both have fewer channels.
    short: (channels, products): a contraction whose results sum over fewer of both is worth it only
        `between`.
    """

    activations: Grid | None
    weights: Grid | None = None
    dynamic: bool = False
    needs_constant: bool = False
    scales: Literal["operator", "own", "shared"] = "operator"
    free_result: bool = False
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    between: bool = False
    min_channels: int = 0
    short: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Placement:
    """How a target wants Q/DQ placed and integers stored: its emitter's switches.

    What the records must say: every operand that an integer node takes as integers has one (bias
    excepted, its scale follows), and, where `output` holds, every floating result. Where the only
    reader of a result is a clamp (Relu, Clip), the record stands on the result of the clamp: the
    result before it has none, or the same.

    output: Q/DQ also on the results of integer operators (ORT, QNN); else on their operands only.
    activation: a clamp before Q is deleted where Q covers it ("absorb"), or stays with Q behind it
        ("after"). bias: i32 + DQ, or float. weights: stored as integers + DQ, or as f32 + Q + DQ;
        or "rounded", in simulations: as the f32 numbers that the integers stand for.
    residual: a pointwise operator has Q/DQ on all operands ("both"), or on all but the one that a
        contraction makes for it alone ("skip": the runtime fuses the two).
    guard_floats: the runtime quantizes by itself what floats it finds between DQ and Q, unless the
        scale of their data stands once per channel.
    hold_behind: operators in float that the runtime would move a Q before, to a slow kernel, unless
        its scale stands once per channel.
    """

    output: bool
    activation: Literal["absorb", "after"]
    bias: Literal["int32", "float"]
    weights: Literal["integers", "fp32-qdq", "rounded"]
    residual: Literal["both", "skip"]
    guard_floats: bool = False
    hold_behind: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finding:
    """What a linter rule found.

    severity: "error" (parse or build fails), "silent" (runs in float, or wrong), "perf", "info".
    """

    rule: str
    severity: Literal["error", "silent", "perf", "info"]
    node: str
    message: str
    help: str = ""


@dataclass(frozen=True)
class TargetRule:
    """A check of the emitted graph: (graph, ops, target) -> findings."""

    name: str
    summary: str
    check: Callable[[Graph, OpTable, Target], Iterable[Finding]]


@dataclass(frozen=True)
class Target:
    """A device and its runtime, as data.

    opset: what the file is written in where that expresses the graph, else the next one that does,
    up to `opset_max`, the last one that the runtime reads. forbids: operators it cannot run (kind
    -> why); domains: those it knows; decompose: operators that it lacks and we express otherwise.
    floats: the float types it computes with; prefer: the one to emit. schemes: name -> kind -> what
    it wants of the operator, the best scheme first. fuse_bias: its integer kernels add a bias to
    products of matrices (Gemm), not of stacks of them. align: channel multiple that its kernels
    like, for integer and float graphs. speed: its rates, by which latencies are predicted; the
    default is that of a small CPU. notes: what whoever compiles for it must know. chosen: for an
    alias such as `cpu`, what it stands for and why.
    """

    name: str
    runtime: str
    summary: str
    version: str = ""  # of the runtime
    opset: int = 17
    opset_max: int = 21
    ir_version: int = 8
    floats: tuple[DType, ...] = (DType.F32,)
    prefer: DType = DType.F32
    schemes: Mapping[str, Mapping[str, Quantize]] = field(default_factory=dict)
    placement: Placement | None = None  # None: no Q/DQ may appear
    fuse_bias: bool = False
    forbids: Mapping[str, str] = field(default_factory=dict)
    domains: frozenset[str] = frozenset({"", "ai.onnx.ml"})
    decompose: frozenset[str] = frozenset()
    align_integer: int = 1
    align_float: int = 1
    speed: Speed = SMALL_CPU
    rules: tuple[TargetRule, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: str = ""

    @property
    def quantize(self) -> Mapping[str, Quantize]:
        """What it runs in 8-bit integers, with ranges fixed ahead: kind -> its wishes."""
        return self.schemes.get("int8", {})


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
        return self.target.align_integer if integers else self.target.align_float
