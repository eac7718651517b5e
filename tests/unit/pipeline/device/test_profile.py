"""Models are measured and rates fitted; compiles predict by the rates of a profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimc.analysis.latency import Rates
from slimc.analysis.profile import Fitted, Profile
from slimc.analysis.workload import ANY, INTEGER
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.device.profile import cpu_name, profile
from slimc.pipeline.profile_file import load_profile, save_profile
from slimc.targets.onnxruntime.machine import this_cpu

TEXT = """
graph (%x: f32[N,4,8,8]) -> (%y)
  %wa = constant f32[64,4,1,1] random(0)
  %wb = constant f32[64,64,3,3] random(1)
  %wc = constant f32[64,64,1,1] random(2)
  %wd = constant f32[64,64,1,1] random(3)
  %we = constant f32[8,64] random(4)
  %a: f32[N,64,8,8] = Conv(%x, %wa) @a
  %ra: f32[N,64,8,8] = Relu(%a) @ra
  %b: f32[N,64,8,8] = Conv(%ra, %wb) {pads=[1, 1, 1, 1]} @b
  %rb: f32[N,64,8,8] = Relu(%b) @rb
  %c: f32[N,64,8,8] = Conv(%rb, %wc) @c
  %rc: f32[N,64,8,8] = Relu(%c) @rc
  %d: f32[N,64,8,8] = Conv(%rc, %wd) @d
  %rd: f32[N,64,8,8] = Relu(%d) @rd
  %p: f32[N,64,1,1] = GlobalAveragePool(%rd) @p
  %f: f32[N,64] = Flatten(%p) @f
  %y: f32[N,8] = Gemm(%f, %we) {transB=1} @e
"""
GRAPH = parse_text(TEXT)
HERE = this_cpu().name
NOTHING = Rates(0.0, 0.0, fixed=1e-9)
FEEDS = [{"x": np.random.default_rng(0).standard_normal((4, 4, 8, 8), np.float32)}]


def by_hand(**rates: Rates) -> Profile:
    """Make a profile in which only some classes take time."""
    known = {ANY: NOTHING, INTEGER + ANY: NOTHING, **rates}
    classes = {name: Fitted(one, 9, 0.0) for name, one in known.items()}
    return Profile("a board", "onnxruntime", "1.32.0", "cpu-vnni", 1, ("net",), classes)


def pruned(device: Profile | None) -> Compiled:
    text = "prune{ratio=0.3,budget=latency,compare=score,score=magnitude}"
    return compile(GRAPH, text, "cpu-vnni", FEEDS, profile=device)


def widths(made: Compiled) -> dict[str, int]:
    report = next(one for one in made.report.passes if "families" in one.facts)
    return {row["name"]: row["kept"] for row in report.facts["families"]}


def test_widths_are_chosen_by_the_rates_of_the_profile() -> None:
    kernels = pruned(by_hand(convolution=Rates(1e-9, 0.0)))
    points = pruned(by_hand(pointwise=Rates(1e-9, 0.0)))
    assert widths(kernels)["c"] == widths(kernels)["d"] == 64
    assert widths(kernels)["a"] < 64 or widths(kernels)["b"] < 64
    assert min(widths(points)[name] for name in "cd") < 64
    assert kernels.report.digests["output"] != points.report.digests["output"]


def test_the_report_says_whose_rates_they_are() -> None:
    device = by_hand(pointwise=Rates(1e-9, 0.0))
    made = pruned(device)
    said = [note.message for note in made.report.notes]
    assert f"latency is predicted by the profile of {device}" in said
    assert not any("profile" in note.message for note in pruned(None).report.notes)


def test_a_budget_of_latency_goes_by_the_profile() -> None:
    fast = by_hand(pointwise=Rates(1e-9, 0.0), **{INTEGER + "pointwise": Rates(1e-12, 0.0)})
    slow = by_hand(pointwise=Rates(1e-9, 0.0), **{INTEGER + "pointwise": Rates(2e-9, 0.0)})
    quant = "fuse-bias,assign-scales{scheme=int8}"
    made = compile(GRAPH, quant, "cpu-vnni", FEEDS, budget="latency=0.4", profile=fast)
    assert made.report.integer_intended > 0
    with pytest.raises(SlimcError, match="no choice of schemes"):
        compile(GRAPH, quant, "cpu-vnni", FEEDS, budget="latency=0.4", profile=slow)


@pytest.mark.parametrize(("passes", "budget"), [("", ""), ("quant", ""), ("quant", "size=0.5")])
def test_a_profile_without_effect_is_an_error(passes: str, budget: str) -> None:
    with pytest.raises(SlimcError, match="nothing in this compile predicts a latency"):
        compile(GRAPH, passes, "cpu-vnni", FEEDS, budget=budget, profile=by_hand())


@pytest.mark.parametrize("change", [{"target": "cpu-avx2"}, {"runtime": "tensorrt"}])
def test_a_profile_of_another_target_is_an_error(change: dict[str, str]) -> None:
    with pytest.raises(SlimcError) as raised:
        pruned(replace(by_hand(), **change))  # type: ignore[arg-type]
    assert raised.value.name == "profile-mismatch"


def test_a_machine_is_measured_and_rates_are_fitted(tmp_path: Path) -> None:
    made = profile([GRAPH], "cpu", [FEEDS], rounds=4, device="here")
    assert (made.device, made.target, made.threads, made.models) == ("here", HERE, 1, ("graph 1",))
    assert made.runtime == "onnxruntime"
    assert {ANY, INTEGER + ANY} <= set(made.classes)
    assert made.judged == "the model with 0.75 of its channels, by rates of its other forms"
    assert [one.run for one in made.checks] == [
        "graph 1 with 0.75 of its channels",
        "graph 1 in integers with 0.75 of its channels",
    ]
    assert all(one.measured > 0 for one in made.checks)
    save_profile(made, tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == made


def test_each_of_several_models_is_judged_by_rates_of_the_others() -> None:
    made = profile([GRAPH, GRAPH], "cpu", [FEEDS, FEEDS], rounds=4)
    assert made.judged == "each model, by rates of the other ones"
    assert [one.run for one in made.checks][:2] == ["graph 1", "graph 1 in integers"]
    assert len(made.checks) == 4


def test_other_models_judge_all_rates() -> None:
    made = profile([GRAPH], "cpu", others=[GRAPH], rounds=4, shape={"x": "2x4x8x8"})
    assert made.judged == "models that no rate is fitted to"
    assert [one.run for one in made.checks] == ["graph 2", "graph 2 in integers"]
    assert made.notes[0] == "samples of graph 1 are made up, of usual sizes"


def test_what_cannot_run_here_is_not_measured() -> None:
    for target in ("jetson", "openvino"):
        with pytest.raises(SlimcError) as raised:
            profile([GRAPH], target)
        assert raised.value.name == "cannot-measure-here"


def test_too_little_to_fit_is_an_error() -> None:
    graph = parse_text("graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x) @r")
    with pytest.raises(SlimcError, match="in floats") as raised:
        profile([graph], "generic-onnx", rounds=4)
    assert raised.value.name == "profile-too-small"


def test_the_name_of_a_cpu_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: A CPU of 3 GHz \nflags\t: sse\n")
    assert cpu_name(path) == "A CPU of 3 GHz"
    assert cpu_name(tmp_path / "absent")
