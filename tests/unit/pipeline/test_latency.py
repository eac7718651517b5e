"""Measured compiles, with seconds that are a function of shapes: no test depends on a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from slimc.errors import PromiseError, SlimcError
from slimc.execute.ort import run
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.latency import required_ratio
from slimc.pipeline.runner import Watcher
from slimc.report.json import report_dict
from slimc.report.text import report_text

NET = parse_text("""
graph (%x: f32[N,6]) -> (%y)
  %wa = constant f32[6,32] random(0)
  %wb = constant f32[32,32] random(1)
  %wc = constant f32[32,32] random(2)
  %wd = constant f32[32,3] random(3)
  %a: f32[N,32] = MatMul(%x, %wa) @a
  %b: f32[N,32] = MatMul(%a, %wb) @b
  %c: f32[N,32] = MatMul(%b, %wc) @c
  %y: f32[N,3] = MatMul(%c, %wd) @d
""")
PRUNE = "remove-channels{ratio=0.3,align=1}"
Shapes = Mapping[str, tuple[int, ...]]


def weights(graph: Graph) -> Shapes:
    kinds = {n.name: graph.type_of(n.inputs[1]) for n in graph.nodes if n.op in ("MatMul", "Gemm")}
    return {name: kind.shape for name, kind in kinds.items()}  # type: ignore[union-attr, misc]


class Timer:
    """Takes the seconds that a rule gives for the shapes of weights, with a little noise."""

    def __init__(self, rule: Callable[[Shapes], float]) -> None:
        self.rule = rule
        self.calls: list[tuple[int, int, int]] = []

    def __call__(
        self, graphs: Sequence[Graph], feed: Mapping[str, np.ndarray], rounds: int, threads: int
    ) -> np.ndarray:
        self.calls.append((len(graphs), rounds, threads))
        assert all(set(run(graph, feed)) == {"y"} for graph in graphs)  # each one runs
        noise = np.random.default_rng(len(self.calls)).normal(1, 0.002, (len(graphs), rounds))
        return np.array([[self.rule(weights(graph))] for graph in graphs]) * noise


def by_macs(shapes: Shapes) -> float:
    return 1e-6 * sum(rows * columns for rows, columns in shapes.values())


def wants_b_whole(shapes: Shapes) -> float:
    return by_macs(shapes) * (1 if shapes["b"][1] == 32 else 1.5)


def only_slower(shapes: Shapes) -> float:
    return 4e-3 - by_macs(shapes)


def measured(rule: Callable[[Shapes], float], **options: object) -> Compiled:
    return compile(NET, PRUNE, timer=Timer(rule), **options)  # type: ignore[arg-type]


def widths(made: Compiled) -> dict[str, int]:
    return {name: shape[1] for name, shape in weights(made.graph).items()}


def test_nothing_is_measured_unless_asked_and_that_is_said() -> None:
    timer = Timer(by_macs)
    report = compile(NET, PRUNE, timer=timer).report
    assert (timer.calls, report.latency) == ([], ())
    (said,) = [one for one in report.notes if "not measured" in one.message]
    (removal,) = [one for one in report.passes if "latency" in one.facts]
    before, after = removal.facts["latency"]
    assert said.message.startswith(f"predicted {before / after:.2f} times as fast")
    assert said.help == "--measure does it"
    assert not any("not measured" in one.message for one in compile(NET).report.notes)


def test_a_removal_that_pays_stays_and_its_ratio_is_said() -> None:
    made = measured(by_macs, measure=True)
    plain = compile(NET, PRUNE)
    assert made.report.recipe == PRUNE
    assert made.report.digests["output"] == plain.report.digests["output"]
    (one,) = [p for p in made.report.passes if "measured" in p.facts]
    assert one.remarks[0].message.startswith("measured: 1.")
    assert one.facts["measured"]["given_back"] == []
    assert one.facts["measured"]["ratio"] > 1.3
    text = report_text(made.report)
    assert "measured: 1." in text
    assert "latency, 2 samples" in text
    assert [row["threads"] for row in report_dict(made.report)["latency"]] == [1, 0]
    assert made.report.latency[0].low <= made.report.latency[0].ratio <= made.report.latency[0].high


def test_what_does_not_pay_is_given_back_and_the_recipe_says_so() -> None:
    made = measured(wants_b_whole, measure=True)
    plain = compile(NET, PRUNE)
    assert widths(made) == widths(plain) | {"b": 32}
    assert widths(plain)["b"] < 32
    assert made.report.recipe == "remove-channels{align=1,give_back=[b]}"
    (one,) = [p for p in made.report.passes if "measured" in p.facts]
    assert one.text == made.report.recipe
    assert one.facts["measured"]["given_back"] == ["b"]
    (said,) = [r for r in one.remarks if r.message.startswith("given back")]
    assert (said.kind, said.node) == ("skipped", "b")
    again = compile(NET, made.report.recipe)
    assert again.report.digests["output"] == made.report.digests["output"]


def test_the_recipe_holds_what_came_before_and_after_too(tmp_path: Path) -> None:
    text = "bind-inputs{shapes=[x=4x6]},prune{ratio=0.3,align=1},quant"
    made = compile(NET, text, "cpu-vnni", measure=True, timer=Timer(wants_b_whole))
    again = compile(NET, made.report.recipe, "cpu-vnni")
    assert made.report.recipe.startswith("bind-inputs{shapes=")
    assert "give_back=[b]" in made.report.recipe
    assert "measured in float: " in report_text(made.report)
    assert again.report.recipe == made.report.recipe
    made.save(tmp_path / "made.onnx")
    again.save(tmp_path / "again.onnx")
    assert (tmp_path / "made.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_each_round_of_a_removal_is_measured() -> None:
    feeds = [{"x": np.random.default_rng(0).standard_normal((64, 6), np.float32)}]
    text = "prune{ratio=0.4,align=1,steps=2}"
    made = compile(NET, text, data=feeds, measure=True, timer=Timer(wants_b_whole))
    rounds = [one for one in made.report.passes if "measured" in one.facts]
    assert [one.facts["measured"]["given_back"] for one in rounds] == [["b"], ["b"]]
    assert widths(made)["b"] == 32
    again = compile(NET, made.report.recipe, data=feeds)
    assert again.report.digests["output"] == made.report.digests["output"]


def test_a_removal_that_only_slows_goes_back_as_a_whole() -> None:
    made = measured(only_slower, measure=True)
    assert widths(made) == {"a": 32, "b": 32, "c": 32, "d": 3}
    assert made.report.recipe == "remove-channels{align=1,give_back=[a,b,c]}"


def test_decisions_take_one_thread_and_rounds_that_no_clock_counts() -> None:
    timer = Timer(by_macs)
    compile(NET, PRUNE, measure=True, timer=timer)
    assert {threads for _, _, threads in timer.calls[:-1]} == {1}
    assert timer.calls[-1][2] == 0
    again = Timer(by_macs)
    compile(NET, PRUNE, measure=True, timer=again)
    assert again.calls == timer.calls


def test_a_watcher_hears_that_runs_are_timed() -> None:
    heard: list[str] = []

    class Ear(Watcher):
        def timing(self, what: str) -> None:
            heard.append(what)

    measured(by_macs, measure=True, watcher=Ear())
    measured(by_macs, watcher=Ear())
    assert heard == ["remove-channels", "the result"]


def test_a_requirement_holds_or_raises() -> None:
    made = measured(by_macs, require="faster=1.2")
    assert made.report.latency[0].low > 1.2
    assert made.report.recipe == PRUNE
    with pytest.raises(PromiseError) as caught:
        measured(by_macs, require="faster=3")
    assert caught.value.name == "not-faster"
    assert "faster=3 was required" in caught.value.message
    assert "measured: 1." in caught.value.message


def test_what_noise_may_explain_is_not_faster() -> None:
    with pytest.raises(PromiseError, match=r"1\.02 times as fast"):
        compile(NET, require="faster", timer=Timer(by_macs))


def test_measuring_and_requiring_go_together() -> None:
    with pytest.raises(PromiseError):
        measured(only_slower, measure=True, require="faster")


@pytest.mark.parametrize("text", ["fast", "faster=", "faster=x", "faster=nan", "faster=0.9"])
def test_requirements_that_are_none(text: str) -> None:
    with pytest.raises(SlimcError, match="bad-option-value"):
        required_ratio(text)


def test_requirements_are_numbers() -> None:
    assert (required_ratio(""), required_ratio("faster=1.5")) == (0, 1.5)
    assert 1 < required_ratio("faster") < 1.1


def test_onnxruntime_takes_the_seconds_by_default() -> None:
    found = compile(NET, PRUNE, measure=True).report.latency
    assert all(0 < row.before_seconds < 1 and row.low > 0 for row in found)


def test_seconds_on_this_machine_are_not_the_targets() -> None:
    notes = compile(NET, "", "jetson", measure=True, timer=Timer(by_macs)).report.notes
    assert any("latency is that of onnxruntime on this machine" in n.message for n in notes)
