from __future__ import annotations

import numpy as np

from slimc.analysis.cost import macs, parameters
from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.removal_cost import Tally, cost
from slimc.analysis.shapes import infer
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.slice_axes import slice_axes

TEXT = """
graph (%x: f32[2,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %ba = constant f32[8] random(4)
  %wd = constant f32[8,1,3,3] random(1)
  %wb = constant f32[8,8,1,1] random(2)
  %wc = constant f32[16,5] random(3)
  %flat = constant i64[2] [2, 16]
  %a = Conv(%x, %wa, %ba) {strides=[2, 2]} @a
  %d = Conv(%a, %wd) {group=8} @d
  %b = Conv(%a, %wb) @b
  %p = GlobalAveragePool(%d) @p
  %q = GlobalAveragePool(%b) @q
  %j = Concat(%p, %q) {axis=1} @j
  %f = Reshape(%j, %flat) @f
  %y = MatMul(%f, %wc) @c
"""


def test_the_polynomial_equals_the_cost_of_the_graph_for_every_removal() -> None:
    graph = parse_text(TEXT)
    coupling = couple(graph, OPS, infer(graph, OPS))
    found = families(coupling)
    mac, parameter = (cost(coupling, found, q) for q in ("macs", "parameters"))
    rng = np.random.default_rng(0)
    for _ in range(5):
        lost = np.array([rng.integers(0, f.width) for f in found])
        removed = np.zeros(len(coupling.pinned), bool)
        for family, count in zip(found, lost.tolist(), strict=True):
            removed[family.units[:count]] = True
        after = slice_axes(coupling, removed, "test").graph
        assert mac.of(lost) == sum(macs(after, OPS, infer(after, OPS)).values())
        assert parameter.of(lost) == parameters(after)


def test_a_tally_follows_the_polynomial() -> None:
    graph = parse_text(TEXT)
    coupling = couple(graph, OPS, infer(graph, OPS))
    found = families(coupling)
    whole = cost(coupling, found, "macs")
    tally, lost = Tally(whole), np.zeros(len(found), np.int64)
    for number, family in enumerate(found):
        lost[number] = family.width // 2
        assert tally.saved(number, family.width // 2) == tally.total - whole.of(lost)
        tally.take(number, family.width // 2)
        assert tally.total == whole.of(lost)
