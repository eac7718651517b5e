"""Schemes of regions under a budget, and the recipe that names them."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.errors import PromiseError, SlimcError
from slimc.ir.text import parse_text
from slimc.passes.quant.assign_scales import AssignScales
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.mixed_precision import budget_of

TEXT = """
graph (%x: f32[N,64]) -> (%y)
  %wa = constant f32[64,128] random(0)
  %wb = constant f32[128,128] random(1)
  %wc = constant f32[128,16] random(2)
  %a: f32[N,128] = MatMul(%x, %wa) @a
  %ra: f32[N,128] = Relu(%a) @"ra"
  %b: f32[N,128] = MatMul(%ra, %wb) @"b[0]"
  %rb: f32[N,128] = Relu(%b) @rb
  %y: f32[N,16] = MatMul(%rb, %wc) @c
"""
QUANT = "fuse-bias,assign-scales"


def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((8, 64), np.float32)} for _ in range(10)]


def compiled(passes: str = QUANT, **asked: object) -> Compiled:
    return compile(parse_text(TEXT), passes, "cpu-vnni", feeds(), **asked)  # type: ignore[arg-type]


def bytes_of(made: Compiled) -> int:
    return sum(constant.size_bytes for constant in made.graph.constants.values())


def sqnr(made: Compiled) -> float:
    return made.report.agreement[0].sqnr_db


FLOAT_BYTES = 4 * (64 * 128 + 128 * 128 + 128 * 16)


@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.3])
def test_constants_take_no_more_than_the_budget_and_the_recipe_makes_the_same(
    ratio: float,
) -> None:
    made = compiled(budget=f"size={ratio}")
    assert bytes_of(made) <= ratio * FLOAT_BYTES * 1.01
    assert any(f"budget size={ratio:g}" in note.message for note in made.report.notes)
    again = compile(parse_text(TEXT), made.report.recipe, "cpu-vnni", feeds())
    assert again.report.digests["output"] == made.report.digests["output"]


def test_a_larger_budget_makes_less_noise() -> None:
    noises = [sqnr(compiled(budget=f"size={ratio}")) for ratio in (0.3, 0.6, 0.9)]
    assert noises == sorted(noises)
    assert noises[0] < noises[-1]


def test_a_latency_budget_asks_for_integers_where_they_are_predicted_to_pay() -> None:
    made = compiled(budget="latency=0.6")
    assert made.report.integer_intended > 0
    assert any("of its latency, predicted" in note.message for note in made.report.notes)


def test_a_named_scheme_is_chosen_or_left() -> None:
    made = compiled("fuse-bias,assign-scales{scheme=int8-weights}", budget="size=0.6")
    assert "scheme=int8-weights" in made.report.recipe
    schemes = {part.rpartition("=")[2] for part in made.report.recipe.split('"') if "=" in part}
    assert schemes & {"float"}
    assert "int8" not in schemes


def test_a_budget_and_a_promise_hold_together() -> None:
    made = compiled(budget="size=0.9", min_sqnr=20.0)
    texts = [note.message for note in made.report.notes]
    assert any(text.startswith("budget size=0.9") for text in texts)
    assert any("min-sqnr 20 holds" in text for text in texts)


def test_a_budget_that_no_scheme_meets_writes_nothing() -> None:
    with pytest.raises(PromiseError) as raised:
        compiled(budget="size=0.01")
    assert raised.value.name == "budget-missed"


@pytest.mark.parametrize(
    ("passes", "asked"),
    [
        (QUANT, {"budget": "size"}),
        (QUANT, {"budget": "macs=0.5"}),
        (QUANT, {"budget": "size=1.5"}),
        (QUANT, {"budget": "size=0.5", "stop_after": "assign-scales"}),
        ("", {"budget": "size=0.5"}),
        ('assign-scales{mixed=["c=float"]}', {"budget": "size=0.5"}),
    ],
    ids=str,
)
def test_budgets_that_say_nothing_are_refused(passes: str, asked: dict[str, object]) -> None:
    with pytest.raises(SlimcError) as raised:
        compiled(passes, **asked)
    assert raised.value.name == "bad-option-value"


def test_no_budget_is_none() -> None:
    assert not budget_of("")
    assert str(budget_of("size=0.30")) == "size=0.3"
    assert AssignScales().scheme == "auto"


def test_files_whose_weights_stay_floats_have_no_budget_of_size() -> None:
    with pytest.raises(SlimcError) as raised:
        compile(
            parse_text(TEXT),
            QUANT,
            "jetson-orin-dla",
            [{"x": feed["x"][:1]} for feed in feeds()],
            shape={"x": "1x64"},
            budget="size=0.5",
        )
    assert raised.value.name == "bad-option-value"
    assert "holds weights as floats" in raised.value.message
