"""All that a pass may look at besides the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from slimc.calib.data import Data
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.op import OpTable


@dataclass(frozen=True)
class Grid:
    """Integers that a target takes.

    dtype and the range used; symmetric: zero point 0; per_channel: one scale per channel.
    """

    dtype: DType
    low: int
    high: int
    symmetric: bool
    per_channel: bool = False


@dataclass(frozen=True)
class Quantize:
    """What a target wants of an operator that it runs in integers.

    `weights` None: the operator has none (Add). `min_channels`: contractions narrower than this
    stay in float.
    """

    activations: Grid
    weights: Grid | None = None
    min_channels: int = 0


@dataclass(frozen=True)
class Placement:
    """How a target wants Q/DQ placed and integers stored: its emitter's switches.

    output: Q/DQ also on the results of integer operators (ORT, QNN); else on data inputs only.
    activation: a Relu or Clip before Q is deleted where Q covers it ("absorb"), or stays with Q
        behind it ("after"). bias: i32 + DQ, or float. weights: stored as integers + DQ, or as
        f32 + Q + DQ. residual: Add has Q/DQ on both branches, or only on the one that no
        contraction feeds ("skip").
    """

    output: bool
    activation: Literal["absorb", "after"]
    bias: Literal["int32", "float"]
    weights: Literal["integers", "fp32-qdq"]
    residual: Literal["both", "skip"]


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

    opset: what the file is written in; opset_max: what the runtime reads. forbids: operators it
    cannot run (kind -> why); decompose: operators it lacks that we know how to express otherwise.
    quantize: kind -> what it runs in integers. align: channel multiple that its kernels like, for
    integer and float graphs. chosen: for an alias such as `cpu`, what it stands for and why.
    """

    name: str
    runtime: str
    summary: str
    opset: int = 17
    opset_max: int = 21
    ir_version: int = 8
    floats: tuple[DType, ...] = (DType.F32,)
    prefer: DType = DType.F32  # the float type to emit
    quantize: Mapping[str, Quantize] = field(default_factory=dict)
    placement: Placement | None = None  # None: no Q/DQ may appear
    forbids: Mapping[str, str] = field(default_factory=dict)
    domains: frozenset[str] = frozenset({"", "ai.onnx.ml"})
    decompose: frozenset[str] = frozenset()
    align_integer: int = 1
    align_float: int = 1
    rules: tuple[TargetRule, ...] = ()
    chosen: str = ""


@dataclass(frozen=True)
class Context:
    """Frozen surroundings of a pass.

    data: calibration batches (synthetic ones if the user gave none, then `data.synthetic`); sizes:
    a number for every named dimension, for analyses that need one (MACs, channel coupling); seed:
    of every random choice.
    """

    ops: OpTable
    target: Target
    data: Data
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
