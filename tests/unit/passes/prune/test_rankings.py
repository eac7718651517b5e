from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import slimc
from slimc.analysis.coupling import couple
from slimc.analysis.group_view import FamilyView
from slimc.analysis.importance import Ranking
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.rankings import rank
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.targets import resolve

GRAPH = parse_text("""
graph (%x: f32[1,2]) -> (%y)
  %wa = constant f32[2,4] random(0)
  %wb = constant f32[4,3] random(1)
  %a: f32[1,4] = MatMul(%x, %wa) @a
  %y: f32[1,3] = MatMul(%a, %wb) @b
""")
Function = Callable[[FamilyView], object]


def ranked(function: Function, score: str = "mine") -> Ranking:
    coupling = couple(GRAPH, OPS, infer(GRAPH, OPS))
    found = [f for f in families(coupling) if f.width > 1]
    (ranking,) = rank(coupling, found, score, context(function))
    return ranking


def context(function: Function) -> Context:
    data = Data.synthesize(GRAPH, {})
    return Context(OPS, resolve("generic-onnx"), data, scores={"mine": function})  # type: ignore[dict-item]  # wrong ones too


def test_a_score_of_the_users_decides_who_goes() -> None:
    ctx = context(lambda view: np.array([3, 1, 4, 2]))
    result = RemoveChannels(ratio=0.5, budget="channels", score="mine", align=1).run(GRAPH, ctx)
    assert result.facts["kept"]["wb"] == {"0": "0,2"}


def test_a_ranking_is_taken_as_it_is() -> None:
    mine = Ranking(np.array([2, 0, 1, 3]), np.array([0, 1, 1, 5, 9.0]))
    assert ranked(lambda view: mine) is mine


def test_a_view_leads_to_the_weights_and_the_graph() -> None:
    def score(view: FamilyView) -> np.ndarray:
        assert (view.name, view.width) == ("a", 4)
        assert view.coupling.graph is GRAPH
        (made,), (read,) = view.made, view.read
        np.testing.assert_array_equal(made, GRAPH.constants["wa"].array.T)
        np.testing.assert_array_equal(read, GRAPH.constants["wb"].array)
        return np.ones(4)

    assert ranked(score).order.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.ones(3), "found float64[3], expected 4 numbers"),
        ([1, 2, 3], "found int64[3], expected 4 numbers"),
        ("text", "expected 4 numbers"),
        (None, "expected 4 numbers"),
        (np.array([1, np.nan, 1, 1]), "some numbers are not finite"),
        (np.array([1, -0.5, 1, 1]), "importance -0.5 is negative"),
        (Ranking(np.array([0, 0, 1, 2]), np.arange(5.0)), "does not name each of 4 units once"),
        (Ranking(np.arange(4), np.arange(4.0)), "found float64[4], expected 5 numbers"),
        (Ranking(np.arange(4), np.array([0, 1, 3, 2, 4.0])), "does not start at 0, or falls"),
    ],
)
def test_what_a_score_returns_is_checked(found: object, message: str) -> None:
    with pytest.raises(SlimcError) as caught:
        ranked(lambda view: found)
    assert caught.value.name == "bad-score"
    assert message in caught.value.message
    assert caught.value.where == "score 'mine' of family 'a', width 4"


def test_what_a_score_raises_is_said() -> None:
    with pytest.raises(SlimcError, match="it raised ZeroDivisionError"):
        ranked(lambda view: 1 / 0)


def test_an_unknown_score_gets_a_suggestion() -> None:
    with pytest.raises(SlimcError) as caught:
        ranked(lambda view: None, score="magnitud")
    assert caught.value.name == "unknown-score"
    assert "did you mean 'magnitude'?" in caught.value.help
    assert "mine" in caught.value.help


def test_feeds_that_no_part_of_runs_are_run_whole() -> None:
    """The leading axis counts frames, of which the model takes four at a time."""
    graph = parse_text("""
    graph (%x: f32[T,12]) -> (%y)
      %s = constant i64[3] [-1,4,12]
      %w = constant f32[12,16] random(1)
      %v = constant f32[16,8] random(2)
      %q = Reshape(%x, %s) @q
      %c = MatMul(%q, %w) @c
      %r = Relu(%c) @r
      %y = MatMul(%r, %v) @d
    """)
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((n, 12)).astype(np.float32)} for n in (8, 16)]
    made = slimc.compile(graph, "prune{ratio=0.3,align=1}", data=feeds)
    assert made.report.after.parameters < made.report.before.parameters
