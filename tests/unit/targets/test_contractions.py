"""What rules look back through: moves of elements, and no further than any network goes."""

from __future__ import annotations

from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.contractions import LONGEST, makers, weight_of
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.target import Subject


def chain(length: int) -> Graph:
    """Return a DQ with a chain of Identity behind it, of which the last makes `y`."""
    lines = [
        "graph () -> (%y)",
        "  %w = constant i8[4,4] fill(3)",
        "  %s = constant f32[] 0.1",
        "  %v0: f32[4,4] = DequantizeLinear(%w, %s) @dq",
        *(f"  %v{i + 1}: f32[4,4] = Identity(%v{i})" for i in range(length)),
        f"  %y: f32[4,4] = Relu(%v{length})",
    ]
    return parse_text("\n".join(lines))


def test_makers_end_where_the_graph_begins() -> None:
    graph = chain(2)
    assert [node.op for node in makers(graph, "y")] == [
        "Relu", "Identity", "Identity", "DequantizeLinear"
    ]  # fmt: skip
    assert len(list(makers(chain(LONGEST + 50), "y"))) == LONGEST


def test_a_weight_is_seen_through_moves() -> None:
    for length, seen in ((3, True), (LONGEST + 50, False)):
        subject = Subject(chain(length), OPS, GENERIC_ONNX, FileHeader(17, 8))
        assert (weight_of(subject, f"v{length}") is not None) == seen
