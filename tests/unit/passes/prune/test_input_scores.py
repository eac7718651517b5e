from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.importance import Ranking
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.fit import input_moments as reads
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.input_scores import ReaderRankings
from slimc.targets.target import Target

CONV = parse_text("""
graph (%x: f32[N,3,5,5]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[4,8,3,3] random(1)
  %a = Conv(%x, %wa) @a
  %y = Conv(%a, %wb) @b
""")
SCORES = ("obs", "activation")
TARGET = Target("somewhere", "onnxruntime", "a target of the tests")


def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((16, 3, 5, 5)).astype(np.float32)} for _ in range(4)]


def with_array(graph: Graph, name: str, array: np.ndarray) -> Graph:
    editor = Editor(graph)
    editor.set_constant(name, array)
    return editor.finish()


def ranked(graph: Graph, score: str, data: Data | None = None) -> tuple[Ranking | None, ...]:
    coupling = couple(graph, OPS, infer(graph, OPS, {"N": 16}))
    found = [family for family in families(coupling) if family.width > 1]
    given = Data.from_feeds(feeds(), graph) if data is None else data
    ctx = Context(OPS, TARGET, given, {"N": 16})
    with ReaderRankings(coupling, found, ctx) as moments:
        return moments.rankings(score)


def first(graph: Graph, score: str) -> Ranking:
    (ranking,) = ranked(graph, score)
    assert ranking is not None
    return ranking


@pytest.mark.parametrize("score", SCORES)
def test_a_channel_that_no_one_reads_goes_first(score: str) -> None:
    weight = CONV.constants["wb"].array.copy()
    weight[:, 5] = 0
    ranking = first(with_array(CONV, "wb", weight), score)
    assert ranking.order[0] == 5
    assert ranking.damage[1] == pytest.approx(0, abs=1e-9)
    assert ranking.damage[2] > 1e-3


@pytest.mark.parametrize("score", SCORES)
def test_a_channel_that_never_changes_goes_first(score: str) -> None:
    weight = CONV.constants["wa"].array.copy()
    weight[3] = 0
    ranking = first(with_array(CONV, "wa", weight), score)
    assert ranking.order[0] == 3
    assert ranking.damage[1] == pytest.approx(0, abs=5e-3)  # the ridge


def test_only_obs_sees_that_a_channel_is_the_sum_of_others() -> None:
    weight = CONV.constants["wa"].array.copy()
    weight[2] = weight[6] + weight[7]
    graph = with_array(CONV, "wa", weight)
    obs, activation = first(graph, "obs"), first(graph, "activation")
    assert obs.order[0] in (2, 6, 7)
    assert obs.damage[1] < 0.1 * activation.damage[1]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("widest", [71, 7])
def test_wide_readers_are_ranked_too(
    score: str, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "WIDEST", widest)
    weight = CONV.constants["wb"].array.copy()
    weight[:, 5] = 0
    ranking = first(with_array(CONV, "wb", weight), score)
    assert ranking.order[0] == 5
    assert sorted(ranking.order.tolist()) == list(range(8))


def test_dead_readers_cost_nothing() -> None:
    dead = with_array(CONV, "wa", np.zeros_like(CONV.constants["wa"].array))
    assert first(dead, "obs").damage[-1] == pytest.approx(0, abs=1e-9)


def test_no_feeds_give_no_ranking() -> None:
    assert ranked(CONV, "obs", Data.from_feeds(lambda: [], CONV)) == (None,)


def test_made_up_samples_are_fields() -> None:
    (ranking,) = ranked(CONV, "obs", Data.synthesize(CONV, {"N": 2}, 0))
    assert ranking is not None
    assert np.isfinite(ranking.damage).all()


def test_weights_stay_what_they_were() -> None:
    before = {k: v.array.copy() for k, v in CONV.constants.items()}
    first(CONV, "obs")
    assert all(isinstance(c, Constant) for c in CONV.constants.values())
    for name, array in before.items():
        np.testing.assert_array_equal(CONV.constants[name].array, array)
