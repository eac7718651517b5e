"""Devices and their runtimes, as data: what a target is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from slimc.analysis.latency import Speed
from slimc.analysis.shapes import Facts, infer
from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.op import Call, OpTable
from slimc.remarks import Remark
from slimc.rewrite.result import PassResult

# Every result is run there, whatever the target: attribute -> why it needs floats of 32 bits.
WIDE_IN_ONNXRUNTIME = {"reduction": "onnxruntime has no f16 kernel"}
SMALL_CPU = Speed(macs=2e10, bytes=1e10, node_seconds=1e-6)  # orders of magnitude: one core


@dataclass(frozen=True)
class Grid:
    """Integers that a target takes.

    dtype and the range used; symmetric: zero point 0; per_channel: one scale per channel; paired:
    of weights whose products with u8 data the kernel adds in pairs of 16 bits (`ir.pairs`): scales
    are so that no pair saturates; block: elements along the summed axis that share a scale; 0: all.
    least: the range of real numbers that it covers is never shorter.
    """

    dtype: DType
    low: int
    high: int
    symmetric: bool
    per_channel: bool = False
    paired: bool = False
    block: int = 0
    least: float = 0.0


@dataclass(frozen=True)
class Quantize:
    """What a target wants of an operator in one scheme.

    activations: the grid of its floating operands, and of its results where `Placement.output`;
        None: they stay floats, and only the weight is stored in integers.
    dynamic: the operator runs in integers all the same: the runtime measures its data.
    weights: the grid of a constant weight, or of a table that is looked up; None: there is none.
    needs_constant: a contraction of two activations stays in float; else its second operand has the
        grid `activations`.
    scales: whether operands and results have scales of their own or share one, or the operands
        alone do; "operator" leaves it to the operator's row (pass-through and shared-scale share).
    result: the range of its result that the kernel takes for granted, whatever the samples say.
    free_result: the kernel also gives floats: a result that no integer node reads needs no record.
    only: attribute -> the values it must have for the kernel to exist; None: it is absent.
    between: it is worth it only where an integer node makes an operand and one reads the result.
    anywhere: integers are what the runtime wants wherever the operator stands, even if no
        contraction reads its result.
    min_channels: a contraction stays in float where data and result both have fewer channels.
    min_each: it stays in float where either has fewer.
    max_window: it stays in float where its windows have more elements; 0: any do.
    row_multiple: weights alone that are stored are matrices, whose rows are a multiple of this; 0:
        any are.
    short: (channels, products): a contraction whose results sum over fewer of both is worth it only
        `between`.
    """

    activations: Grid | None
    weights: Grid | None = None
    dynamic: bool = False
    needs_constant: bool = False
    scales: Literal["operator", "own", "shared", "operands"] = "operator"
    result: tuple[float, float] | None = None
    free_result: bool = False
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    between: bool = False
    anywhere: bool = False
    min_channels: int = 0
    min_each: int = 0
    max_window: int = 0
    row_multiple: int = 0
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
    beside: no Q/DQ at all: every value of floats keeps a record, and the ranges go into a file
        beside the model (`Target.companions`).
    """

    output: bool
    activation: Literal["absorb", "after"]
    bias: Literal["int32", "float"]
    weights: Literal["integers", "fp32-qdq", "rounded"]
    residual: Literal["both", "skip"]
    guard_floats: bool = False
    hold_behind: frozenset[str] = frozenset()
    beside: bool = False


Severity = Literal["error", "silent", "perf", "info"]


@dataclass(frozen=True)
class Finding:
    """What a rule found, on a node (empty: on the whole file).

    severity: "error" (parse or build fails), "silent" (runs in float, or wrong), "perf" (slower
    than it could be), "info". message: what, and why; help: how to mend. rule, code: whose it is.
    """

    severity: Severity
    node: str
    message: str
    help: str = ""
    rule: str = ""
    code: str = ""


@dataclass(frozen=True, eq=False)
class Subject:
    """What rules look at: a graph as a file holds it, and the target that is to run it."""

    graph: Graph
    ops: OpTable
    target: Target
    header: FileHeader

    @cached_property
    def facts(self) -> Facts:
        """Types and axes of the graph, worked out once for all rules."""
        return infer(self.graph, self.ops)


@dataclass(frozen=True)
class Mended:
    """A subject that a fix changed, and what it says: applied, or skipped and why.

    tolerance: how far results may then be apart, of their largest magnitude; 0: not at all.
    """

    subject: Subject
    remarks: tuple[Remark, ...] = ()
    tolerance: float = 0.0


@dataclass(frozen=True)
class TargetRule:
    """A check of a file for a target. code: its number in docs/rules.md.

    fix: mends what it finds, where there is one right way to: exact, or what the target demands
    anyhow. early: it looks at the graph's inputs alone, so it holds before passes run.
    """

    code: str
    name: str
    summary: str
    check: Callable[[Subject], Iterable[Finding]]
    fix: Callable[[Subject], Mended] | None = None
    early: bool = False


@dataclass(frozen=True)
class Companion:
    """A file that belongs beside a model: `<stem><suffix>`.

    make: its text, from the graph as it is written; empty: there is none.
    """

    suffix: str
    summary: str
    make: Callable[[Graph], str]


@dataclass(frozen=True)
class Target:
    """A device and its runtime, as data.

    version: of the runtime. opset: what the file is written in where that expresses the graph, else
    the next one that does, up to `opset_max`, the last one that the runtime reads. ir_version: at
    least written, `ir_version_max`: the last one read. shapes: it takes open sizes ("any"), with a
    profile of those to come, more slowly ("slower"), or "static" ones only. capability: of an
    NVIDIA GPU (87: compute capability 8.7). typed: the types in the file are final; else the
    runtime may compute floats in 16 bits. sparsity: operators whose kernels are faster where
    two of four weights are zero. oracle: what can show on this machine how it runs a file
    ("onnxruntime", "openvino", "tensorrt-rtx:SM86"). forbids: operators it cannot run (kind ->
    why); domains: those it knows; plugins: what it runs besides, of any domain; decompose:
    operators that it lacks and we express otherwise. lacks: attributes that its operators do not
    know (kind.attribute -> why). floats: the float types it computes with; prefer: the one to
    emit. wide: attributes with which an operator takes no floats of 16 bits, unless they are
    "none" (-> why). schemes: name -> kind -> what it wants of the operator, the best
    scheme first. fuse_bias: its integer kernels add a bias to products of matrices (Gemm), not
    of stacks of them. align: channel multiple that its kernels like, for integer and float
    graphs. speed: its rates, by which latencies are predicted; the default is that of a small
    CPU. suit: expresses a canonical graph by operators that the target prefers, before passes
    run: the same values up to rounding. misfit: why a node does not run on the unit that the
    file is for, empty where it does; then it runs in floats elsewhere. companions: files that
    belong beside the model. notes: what whoever compiles for it must know. source: the file of
    a user's target; base: the one that it started from. chosen: for an alias such as `cpu`,
    what it stands for and why.
    """

    name: str
    runtime: str
    summary: str
    version: str = ""  # of the runtime
    opset: int = 17
    opset_max: int = 21
    ir_version: int = 8
    ir_version_max: int = 10
    shapes: Literal["any", "profile", "slower", "static"] = "any"
    capability: int = 0
    typed: bool = False
    sparsity: frozenset[str] = frozenset()
    oracle: str = ""
    floats: tuple[DType, ...] = (DType.F32,)
    prefer: DType = DType.F32
    wide: Mapping[str, str] = field(default_factory=lambda: WIDE_IN_ONNXRUNTIME)
    schemes: Mapping[str, Mapping[str, Quantize]] = field(default_factory=dict)
    placement: Placement | None = None  # None: no Q/DQ may appear
    fuse_bias: bool = False
    forbids: Mapping[str, str] = field(default_factory=dict)
    domains: frozenset[str] = frozenset({"", "ai.onnx.ml"})
    plugins: frozenset[str] = frozenset()
    decompose: frozenset[str] = frozenset()
    lacks: Mapping[str, str] = field(default_factory=dict)
    align_integer: int = 1
    align_float: int = 1
    speed: Speed = SMALL_CPU
    rules: tuple[TargetRule, ...] = ()
    suit: Callable[[Graph, Target, OpTable], PassResult] | None = None
    misfit: Callable[[Call], str] | None = None
    companions: tuple[Companion, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    base: str = ""
    chosen: str = ""

    @property
    def release(self) -> tuple[int, ...]:
        """The version of the runtime as numbers, to compare."""
        return tuple(int(part) for part in self.version.split(".") if part.isdecimal())

    @property
    def quantize(self) -> Mapping[str, Quantize]:
        """What it runs in 8-bit integers, with ranges fixed ahead: kind -> its wishes."""
        return self.schemes.get("int8", {})
