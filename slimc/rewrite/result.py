"""What comes out of a rewrite, and so of a pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimc.ir.graph import Graph
from slimc.remarks import Remark
from slimc.rewrite.kept import Kept


@dataclass(frozen=True)
class PassResult:
    """What a pass returns. `facts`: tables for the report, plain JSON values.

    `expected`: where a pass changes values on purpose but knows what they must be now (channels
    removed = masked), the graph that computes the same as `graph` must compute; the pipeline runs
    both and compares.
    `kept`: where indices left, value -> per axis those that stay, of the graph that the pass read.
    """

    graph: Graph
    remarks: tuple[Remark, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    expected: Graph | None = None
    kept: Mapping[str, Kept] = field(default_factory=dict)
