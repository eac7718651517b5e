from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.pipeline.checks import Checker, few, rounding_noise

FEEDS = [{"x": np.random.default_rng(0).standard_normal((6, 32)).astype(np.float32)}]

# The difference of two almost equal products: rounding is most of what is left of it.
CANCELLING = """\
graph (%x: f32[N,32]) -> (%y)
  %w = constant f32[32,8] random(0)
  %v = constant f32[32,8] random(0)
  %a: f32[N,8] = MatMul(%x, %w) @first
  %b: f32[N,8] = MatMul(%x, %v) @second
  %y: f32[N,8] = Sub(%a, %b) @difference
"""


@dataclass(frozen=True)
class Nothing(Pass):
    """Do nothing."""

    name: ClassVar[str] = "do-nothing"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return PassResult(graph)


def nudged(graph: Graph, name: str, factor: float) -> Graph:
    array = graph.constants[name].array * np.float32(factor)
    return replace(graph, constants={**graph.constants, name: Constant(array)})


def test_what_rounding_alone_does_is_no_fault() -> None:
    graph = nudged(parse_text(CANCELLING), "v", 1 + 1e-5)
    checker = Checker.of(graph, FEEDS)
    rounded = nudged(graph, "v", 1 + 2e-7)
    _, said = checker.check(Nothing(), graph, PassResult(rounded))
    assert len(said) == 1
    assert said[0].message.startswith("output 'y' is off by 0.0")
    assert "rounding its weights once makes" in said[0].message
    with pytest.raises(SlimcError) as caught:
        checker.check(Nothing(), graph, PassResult(nudged(graph, "v", 1.01)))
    assert caught.value.name == "pass-broke-values"


def test_sound_models_have_little_noise() -> None:
    graph = parse_text(CANCELLING.replace("Sub", "Add"))
    checker = Checker.of(graph, FEEDS)
    assert rounding_noise(graph, checker.feeds, checker.results)["y"] < 1e-5


def test_outputs_that_differ_from_run_to_run_are_not_compared() -> None:
    graph = parse_text(
        "graph (%x: f32[N,32]) -> (%y, %z)\n  %y: f32[N,32] = Relu(%x)\n"
        "  %r: f32[N,32] = RandomNormalLike(%x)\n  %z: f32[N,32] = Add(%x, %r)\n"
    )
    assert Checker.of(graph, FEEDS).steady == ("y",)


def test_feeds_are_cut_to_a_few_samples_where_that_is_possible() -> None:
    graph = parse_text(CANCELLING)
    assert few(FEEDS, graph)[0]["x"].shape == (4, 32)
    fixed = parse_text(CANCELLING.replace("%x: f32[N,32]", "%x: f32[6,32]"))
    assert few(FEEDS, fixed)[0]["x"].shape == (6, 32)


def test_samples_that_do_not_suit_are_named() -> None:
    graph = parse_text("""\
graph (%x: f32[N,T], %k: i64[]) -> (%y)
  %axes = constant i64[1] [1]
  %y: f32[N] = Squeeze(%x, %axes) @squeeze
""")
    feed = {"x": np.zeros((2, 3), np.float32), "k": np.array(7)}
    with pytest.raises(SlimcError) as caught:
        Checker.of(graph, [feed])
    said = "its inputs were samples: 'x' f32[2,3], 'k' i64[] 7; give what suits: "
    assert caught.value.help == f"{said}--shape x=SIZES, --bind k=VALUE"
