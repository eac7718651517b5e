"""Promises on accuracy: what is given back to floats for them, and what the recipe makes again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimc.analysis.regions import Region
from slimc.calib.data import Data
from slimc.errors import PromiseError, SlimcError
from slimc.ir.text import parse_text
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.marked_regions import exactly
from slimc.pipeline.accuracy_control import enough, seen_only
from slimc.pipeline.accuracy_criteria import promised
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.region_losses import split

# The middle convolution has weights of very different size in one channel: 8 bits lose most there.
TEXT = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[8,8,3,3] random(2)
  %wd = constant f32[4,8] random(3)
  %a: f32[N,8,6,6] = Conv(%x, %wa) @a
  %ra: f32[N,8,6,6] = Relu(%a) @ra
  %b: f32[N,8,4,4] = Conv(%ra, %wb) @"b[0]"
  %rb: f32[N,8,4,4] = Relu(%b) @rb
  %c: f32[N,8,2,2] = Conv(%rb, %wc) @c
  %rc: f32[N,8,2,2] = Relu(%c) @rc
  %p: f32[N,8,1,1] = GlobalAveragePool(%rc) @p
  %f: f32[N,8] = Flatten(%p) @f
  %y: f32[N,4] = Gemm(%f, %wd){transB=1} @d
"""


def feeds(count: int = 10) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((8, 3, 8, 8), np.float32)} for _ in range(count)]


def compiled(**asked: object) -> Compiled:
    return compile(parse_text(TEXT), "quant", "cpu-vnni", feeds(), **asked)  # type: ignore[arg-type]


def facts(made: Compiled) -> dict[str, object]:
    found = next(one for one in made.report.passes if one.text.startswith("assign-scales"))
    return dict(found.facts["precision"])


def test_a_promise_that_integers_keep_gives_nothing_back() -> None:
    made = compiled(min_sqnr=5.0)
    assert facts(made)["kept"] == []
    assert made.report.integer_intended == compiled().report.integer_intended
    assert any("min-sqnr 5 holds" in note.message for note in made.report.notes)


def test_regions_are_given_back_until_the_promise_holds_and_the_recipe_names_them() -> None:
    reached = float(str(facts(compiled(min_sqnr=5.0))["reached"]).split()[0])
    made = compiled(min_sqnr=reached + 3)
    kept = facts(made)["kept"]
    assert isinstance(kept, list)
    assert 0 < len(kept) < 4
    assert float(str(facts(made)["reached"]).split()[0]) >= reached + 2.9
    assert "samples=64" in made.report.recipe
    again = compile(parse_text(TEXT), made.report.recipe, "cpu-vnni", feeds())
    assert again.report.digests["output"] == made.report.digests["output"]


def test_what_floats_alone_miss_is_no_promise_to_keep() -> None:
    with pytest.raises(PromiseError) as raised:
        compile(parse_text(TEXT), "prune{ratio=0.3,align=1},quant", data=feeds(), min_sqnr=200.0)
    assert raised.value.name == "promise-missed"
    assert "the model in floats alone reaches" in raised.value.message
    assert "16 samples that calibration has not seen" in raised.value.message


def test_a_compile_without_integers_is_judged_too() -> None:
    made = compile(parse_text(TEXT), "", data=feeds(), min_sqnr=30.0)
    assert any("min-sqnr 30 holds" in note.message for note in made.report.notes)
    with pytest.raises(PromiseError):
        compile(parse_text(TEXT), "prune{ratio=0.5,align=1}", data=feeds(), min_sqnr=60.0)


def test_samples_of_one_feed_are_seen_by_all_and_the_report_says_so() -> None:
    made = compile(parse_text(TEXT), "quant", "cpu-vnni", feeds(1), min_sqnr=5.0)
    assert any("has seen too: there is one feed" in note.message for note in made.report.notes)


def test_a_score_may_drop_by_so_much(tmp_path: Path) -> None:
    scorer = tmp_path / "scorer.py"
    scorer.write_text(
        "import numpy as np\n"
        "x = np.random.default_rng(1).standard_normal((64, 3, 8, 8), np.float32)\n"
        "first = []\n"
        "def score(run):\n"
        "    (y,) = run({'x': x})\n"
        "    first.append(y)\n"
        "    return 10 - float(np.abs(y - first[0]).max() / np.abs(first[0]).max())\n"
    )
    loose = compiled(max_drop="1%", score=scorer)
    tight = compiled(max_drop="0.0001", score=scorer)
    assert "a score of" in str(facts(loose)["reached"])
    assert tight.report.integer_intended < loose.report.integer_intended


def test_a_score_is_a_function_too() -> None:
    x = np.random.default_rng(1).standard_normal((64, 3, 8, 8), np.float32)
    made = compiled(max_drop="50%", score=lambda run: float(np.square(run({"x": x})[0]).mean()))
    assert "a score of" in str(facts(made)["reached"])
    with pytest.raises(SlimcError, match="it returned nan, not a finite number"):
        compiled(max_drop="1%", score=lambda run: float("nan"))


@pytest.mark.parametrize(
    "asked",
    [
        {"max_drop": "1%"},
        {"score": "scorer.py"},
        {"max_drop": "-1", "score": "scorer.py"},
        {"max_drop": "1%%", "score": "scorer.py"},
        {"min_sqnr": float("nan")},
        {"min_sqnr": 30.0, "stop_after": "quant"},
    ],
    ids=str,
)
def test_promises_that_say_nothing_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(SlimcError) as raised:
        compiled(**asked)
    assert raised.value.name == "bad-option-value"


def test_promises_say_themselves() -> None:
    assert str(promised(30.0, "", None)) == "min-sqnr 30"
    assert not promised(None, "", None)


def test_the_shortest_beginning_that_is_enough_is_found() -> None:
    ranked = tuple(Region(str(i), (str(i),)) for i in range(20))
    for wanted in (1, 2, 5, 8, 13, 20):
        found = enough(ranked, lambda some, n=wanted: 2.0 if len(some) < n else 0.5, 1.0)
        assert len(found) == wanted


def test_names_with_wildcards_match_themselves_alone() -> None:
    from fnmatch import fnmatchcase

    for name in ("a", "b[0]", "c*", "what?", "[x]"):
        assert fnmatchcase(name, exactly(name))
    assert not fnmatchcase("b0", exactly("b[0]"))


def test_samples_are_parted_for_passes_and_for_the_judge() -> None:
    graph = parse_text(TEXT)
    seen, unseen = split(Data.from_feeds(feeds(), graph))
    assert (seen, unseen.samples) == (64, 16)
    assert split(Data.from_feeds(feeds(1), graph))[0] == 8  # one feed: nothing can be left out
    assert seen_only(AssignScales(), 64) == AssignScales(samples=64)
    assert seen_only(AssignScales(samples=100), 64) == AssignScales(samples=64)
    assert seen_only(AssignScales(samples=8), 64) == AssignScales(samples=8)
    assert seen_only(Canonicalize(), 64) == Canonicalize()
