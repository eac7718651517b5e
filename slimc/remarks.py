"""Remarks of passes about nodes, and the report of a compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LISTED = 4  # names in a sentence before it says how many more there are

RemarkKind = Literal["applied", "skipped", "note"]


@dataclass(frozen=True)
class Remark:
    """One sentence of a pass about a node or about the graph."""

    kind: RemarkKind
    """Whether the pass changed the node ("applied"), left it unchanged ("skipped"), or neither."""
    node: str
    """Name of the node; empty if the remark is about the whole graph."""
    message: str
    """The sentence."""
    help: str = ""
    """What the user can do about it; empty if nothing."""

    def __str__(self) -> str:
        where = f" @{self.node}" if self.node else ""
        return f"{self.kind}{where}: {self.message}" + (f" ({self.help})" if self.help else "")


def applied(node: str, message: str) -> Remark:
    """Make the remark that a pass changed `node`."""
    return Remark("applied", node, message)


def skipped(node: str, message: str, help: str = "") -> Remark:
    """Make the remark that a pass considered `node` and left it unchanged, and why."""
    return Remark("skipped", node, message, help)


def note(message: str, node: str = "", help: str = "") -> Remark:
    """Make a remark that a reader of the report needs to know."""
    return Remark("note", node, message, help)


@dataclass(frozen=True)
class PassReport:
    """What one pass did."""

    text: str
    """The pass and its options, as in a recipe."""
    seconds: float
    """Run time of the pass."""
    changed: bool
    """Whether the pass returned another graph."""
    remarks: tuple[Remark, ...] = ()
    """Remarks of the pass about nodes."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Tables and numbers of the pass, as plain JSON."""


@dataclass(frozen=True)
class GraphSize:
    """Size of a graph."""

    size_bytes: int
    """Size of the model file and its data files."""
    parameters: int
    """Number of elements of all weights."""
    macs: int
    """Multiply-accumulates per sample."""
    nodes: int
    """Number of nodes."""


@dataclass(frozen=True)
class Agreement:
    """How close an output is to that of the original on the same samples."""

    output: str
    """Name of the graph output."""
    sqnr_db: float
    """Signal to quantization noise ratio: 10 log10(E[y^2] / E[(y - y')^2])."""
    max_abs: float
    """Largest absolute difference."""
    top1: float | None
    """Share of equal arg-max along the last axis, in 0..1; None if it does not apply."""


@dataclass(frozen=True)
class Latency:
    """Latency of the original and of the result, run alternately on the same samples."""

    threads: int
    """Threads of the runtime; 0 means all cores."""
    samples: int
    """Samples per run."""
    rounds: int
    """Number of runs of each model."""
    before_seconds: float
    """Median latency of the original."""
    after_seconds: float
    """Median latency of the result."""
    ratio: float
    """Speedup: the median over the rounds of before / after."""
    low: float
    """Lower end of the 95 % confidence interval of `ratio`."""
    high: float
    """Upper end of the 95 % confidence interval of `ratio`."""


@dataclass(frozen=True)
class Report:
    """Report of a compile; `slimc.report` writes it as text and as JSON."""

    recipe: str
    """The passes that ran, as one recipe."""
    target: str
    """Name of the target."""
    versions: dict[str, str]
    """Versions of slimc and of the packages that it uses."""
    digests: dict[str, str]
    """Digests of the model, the samples and the result."""
    before: GraphSize
    """Size of the original."""
    after: GraphSize
    """Size of the result."""
    passes: tuple[PassReport, ...]
    """What each pass did, in order."""
    agreement: tuple[Agreement, ...]
    """Agreement of each output with the original's."""
    integer_intended: int
    """Number of layers that are quantized."""
    integer_achieved: int | None
    """Number of layers that the runtime executes in integers; None if it was not asked."""
    notes: tuple[Remark, ...] = ()
    """Notes about the compile as a whole."""
    integer_float: tuple[str, ...] = ()
    """Names of the weighted layers that stay in float."""
    integer_oracle: str = ""
    """Runtime on this machine that can report the layers it executes in integers, if any."""
    latency: tuple[Latency, ...] = ()
    """Measured latencies."""
    indices: Mapping[str, Any] = field(default_factory=dict)
    """Indices of the initializers that were kept, as plain JSON (see `pipeline/index_map`)."""


def join_names(names: Sequence[str], quoted: bool = False, most: int = LISTED) -> str:
    """Join names, the first few of many. quoted: they are so already."""
    shown = [n if quoted else f"'{n}'" for n in names[:most]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
