"""What a pass says about the nodes it looked at, and the record of a whole compile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

LISTED = 4  # names in a sentence before it says how many more there are

Kind = Literal["applied", "skipped", "note"]


@dataclass(frozen=True)
class Remark:
    """One sentence of a pass about one node (or, with an empty node, about the whole graph)."""

    kind: Kind
    node: str
    message: str
    help: str = ""

    def __str__(self) -> str:
        where = f" @{self.node}" if self.node else ""
        return f"{self.kind}{where}: {self.message}" + (f" ({self.help})" if self.help else "")


def applied(node: str, message: str) -> Remark:
    """Say that a pass changed `node`."""
    return Remark("applied", node, message)


def skipped(node: str, message: str, help: str = "") -> Remark:
    """Say that a pass considered `node` and left it alone, and why."""
    return Remark("skipped", node, message, help)


def note(message: str, node: str = "", help: str = "") -> Remark:
    """Say something a reader of the report must know."""
    return Remark("note", node, message, help)


@dataclass(frozen=True)
class PassReport:
    """What one pass did: its text, seconds, remarks, and tables (`facts`, plain JSON)."""

    text: str
    seconds: float
    changed: bool
    remarks: tuple[Remark, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """Size of a graph: file bytes, parameters, MACs per sample, nodes."""

    size_bytes: int
    parameters: int
    macs: int
    nodes: int


@dataclass(frozen=True)
class Agreement:
    """How close an output is to the original's on the same samples.

    `sqnr_db`: 10 log10(E[y^2] / E[(y - y')^2]); `top1`: share of equal arg-max on the last axis,
    or None.
    """

    output: str
    sqnr_db: float
    max_abs: float
    top1: float | None


@dataclass(frozen=True)
class Latency:
    """How long the original and the result take, in runs by turns on the same samples.

    threads: 0 means all; seconds: medians; ratio: median over the rounds of before / after;
    low, high: what that lies between with a confidence of 95 %.
    """

    threads: int
    samples: int
    rounds: int
    before_seconds: float
    after_seconds: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Report:
    """The record of a compile; `slimc.report` turns it into text and JSON.

    integer_oracle: who can be asked on this machine how many integer layers run so; "" for none.
    indices: which indices of the initializers of the file stay, plain JSON (`pipeline/index_map`).
    """

    recipe: str
    target: str
    versions: dict[str, str]
    digests: dict[str, str]
    before: Measure
    after: Measure
    passes: tuple[PassReport, ...]
    agreement: tuple[Agreement, ...]
    integer_intended: int
    integer_achieved: int | None
    notes: tuple[Remark, ...] = ()
    integer_float: tuple[str, ...] = ()
    integer_oracle: str = ""
    latency: tuple[Latency, ...] = ()
    indices: Mapping[str, Any] = field(default_factory=dict)


def listed(names: Sequence[str], quoted: bool = False, most: int = LISTED) -> str:
    """Join names, the first few of many. quoted: they are so already."""
    shown = [n if quoted else f"'{n}'" for n in names[:most]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
