"""One loop runs passes, from state to state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.speedup import Speedup
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.pipeline.checks import Checker
from slimc.pipeline.runner import NOTHING_TO_DO, Runner, State, apply, differs
from slimc.remarks import note
from slimc.targets import resolve
from slimc.targets.target import Target

GRAPH = parse_text("graph (%x: f32[2,3]) -> (%y)\n  %y: f32[2,3] = Relu(%x) @act\n")
DATA = Data.synthesize(GRAPH, {}, 0, 1)
CTX = Context(OPS, resolve("generic-onnx"), DATA)


@dataclass(frozen=True)
class Become(Pass):
    """Let the node be of another kind, which is slower."""

    name: ClassVar[str] = "become-other"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REVERTS, Trait.SPARSIFIES})

    kind: str = option("Abs", "the operator")
    reverted: bool = option(False, "whether it was slower")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        if self.reverted:
            return PassResult(graph)
        (node,) = graph.nodes
        return PassResult(replace(graph, nodes=(replace(node, op=self.kind),)))

    def revert_slow(
        self, before: Graph, result: PassResult, ctx: Context, timing: Timing
    ) -> tuple[Pass, PassResult]:
        if timing.compare(before, result.graph).median >= 1:
            return self, result
        pass_ = replace(self, reverted=True)
        return pass_, replace(pass_.run(before, ctx), remarks=(note("it was slower"),))


@dataclass(frozen=True)
class Times:
    """Says that the second graph is so many times as fast."""

    ratio: float
    samples: int = 1

    def compare(self, first: Graph, second: Graph) -> Speedup:
        pair = (self.ratio, self.ratio)
        return Speedup(self.ratio, pair, pair, (1.0, 1 / self.ratio), 30)

    def lowered(self, graph: Graph, ctx: Context) -> Graph:
        return graph

    def obstacle(self, target: Target) -> str:
        return ""


def test_a_state_goes_on_in_several_ways() -> None:
    start = State(GRAPH)
    first, second = (Runner(CTX).run(start, [Become(kind)]) for kind in ("Abs", "Neg"))
    assert [state.graph.nodes[0].op for state in (start, first, second)] == ["Relu", "Abs", "Neg"]
    assert (start.steps, len(first.steps), len(second.steps)) == ((), 1, 1)
    assert apply([Become("Neg")], GRAPH, CTX).nodes[0].op == "Neg"


def test_values_are_checked_where_a_state_has_a_checker() -> None:
    checker = Checker.of(GRAPH, [dict(feed) for feed in DATA])
    with pytest.raises(SlimcError, match="is off by") as caught:
        Runner(CTX).run(State(GRAPH, checker), [Become("Neg")])
    assert caught.value.name == "pass-broke-values"


def test_graphs_are_verified_either_way() -> None:
    @dataclass(frozen=True)
    class Break(Pass):
        """Read what nothing makes."""

        name: ClassVar[str] = "break-graph"

        def run(self, graph: Graph, ctx: Context) -> PassResult:
            (node,) = graph.nodes
            return PassResult(replace(graph, nodes=(replace(node, inputs=("nothing",)),)))

    with pytest.raises(SlimcError):
        apply([Break()], GRAPH, CTX)


@pytest.mark.parametrize(("ratio", "op"), [(2.0, "Abs"), (0.5, "Relu")])
def test_a_pass_takes_back_what_is_slower(ratio: float, op: str) -> None:
    state = Runner(CTX, timing=Times(ratio)).run(State(GRAPH), [Become()])
    (pass_,), (report,) = state.passes, state.reports
    assert state.graph.nodes[0].op == op
    assert pass_ == Become(reverted=op == "Relu")
    assert (report.text, report.changed) == (str(pass_), op == "Abs")


def test_a_pass_that_does_nothing_says_so() -> None:
    (report,) = Runner(CTX).run(State(GRAPH), [Become(reverted=True)]).reports
    assert report.remarks == (NOTHING_TO_DO,)


def test_notes_and_facts_make_other_states() -> None:
    state = Runner(CTX).run(State(GRAPH), [Become()])
    told = state.noted(note("a note")).with_facts(Trait.SPARSIFIES, {"sparse": 2})
    assert (state.notes, state.reports[0].facts) == ((), {})
    assert told.notes == (note("a note"),)
    assert [r.facts for r in told.reports_with(Trait.SPARSIFIES)] == [{"sparse": 2}]
    assert told.with_facts(Trait.ENDS, {"other": 1}).reports == told.reports


def test_a_size_of_an_input_is_a_difference() -> None:
    narrow = parse_text("graph (%x: f32[1,3]) -> (%y)\n  %y: f32[1,3] = Relu(%x) @act\n")
    assert not differs(GRAPH, replace(GRAPH))
    assert differs(GRAPH, replace(GRAPH, types=narrow.types))
