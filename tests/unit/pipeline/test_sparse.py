from __future__ import annotations

import slimc
from slimc.analysis.shapes import retype
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS

NET = """
graph (%x: f32[1,16]) -> (%y)
  %v = constant f32[16,16] random(0)
  %w = constant f32[16,16] random(1)
  %a: f32[1,16] = MatMul(%x, %v) @first
  %r: f32[1,16] = Relu(%a) @relu
  %y: f32[1,16] = MatMul(%r, %w) @second
"""


def notes(passes: str) -> list[str]:
    graph: Graph = retype(parse_text(NET), OPS)
    return [one.message for one in slimc.compile(graph, passes, "jetson-orin").report.notes]


def test_contractions_are_counted_in_the_final_graph() -> None:
    (one,) = [text for text in notes("sparsify{min_channels=4}") if "2:4" in text]
    assert one == "2 of 2 contractions are 2:4: 100 % of their MACs"


def test_zeros_that_a_later_pass_takes_away_are_missed() -> None:
    found = notes("sparsify{min_channels=4},remove-channels{ratio=0.3,align=1}")
    (one,) = [text for text in found if "2:4" in text]
    assert one.endswith("1 of those made so are not any more: passes behind changed their weights")


def test_nothing_is_said_where_nothing_was_made_sparse() -> None:
    assert not [text for text in notes("") if "2:4" in text]
    assert not [text for text in notes("sparsify") if "contractions are 2:4" in text]
