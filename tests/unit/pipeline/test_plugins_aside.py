from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import slimc
from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text
from slimc.passes.nms.append_nms import RESULTS
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.tensorrt.devices import JETSON_ORIN

HEAD = parse_text("""\
graph (%x: f32[N,3,16,16]) -> (%y, %aside)
  %w = constant f32[32,3,3,3] random(0)
  %v = constant f32[32,32,3,3] random(2)
  %k = constant f32[7,32,1,1] random(1)
  %shape = constant i64[3] [0, 7, -1]
  %c: f32[N,32,14,14] = Conv(%x, %w) @stem
  %r: f32[N,32,14,14] = Relu(%c) @relu
  %d: f32[N,32,12,12] = Conv(%r, %v) @body
  %s: f32[N,32,12,12] = Relu(%d) @relu2
  %h: f32[N,7,12,12] = Conv(%s, %k) @head
  %y: f32[N,7,144] = Reshape(%h, %shape) @rows
  %aside: f32[N,32,14,14] = Neg(%r) @neg
""")
NMS = "append-nms{head=y,score_threshold=0.1,max_output_boxes=5}"


def with_plugin(graph: Graph) -> Graph:
    """Return a graph as scripts leave it: a plug-in, and nodes behind it."""
    text = """\
graph (%x: f32[N,3,16,16]) -> (%found, %aside, %half)
  %w = constant f32[32,3,3,3] random(0)
  %two = constant f32[] 2
  %c: f32[N,32,14,14] = Conv(%x, %w) @stem
  %r: f32[N,32,14,14] = Relu(%c) @relu
  %p: i32[N,4] = TRT.Detect_TRT(%r, %w) @detect
  %found: i32[N,4] = Abs(%p) @abs
  %aside: f32[N,32,14,14] = Neg(%r) @neg
  %half: f32[N,32,14,14] = Div(%aside, %two) @half
"""
    return replace(parse_text(text), opsets={"TRT": 1})


def test_suppression_comes_behind_what_is_lowered() -> None:
    made = slimc.compile(HEAD, f"{NMS},prune{{ratio=0.3}},assign-scales", "cpu-vnni")
    assert made.graph.form is Form.LEGAL
    assert made.graph.outputs == (*RESULTS, "aside")
    assert [one.output for one in made.report.agreement] == ["y", "aside"]
    assert made.report.integer_achieved == made.report.integer_intended == 2
    names = [one.text.partition("{")[0] for one in made.report.passes]
    assert names[-3:] == ["legalize", "append-nms", "legalize"]
    got = run(made.graph, {"x": np.ones((2, 3, 16, 16), np.float32)})
    assert got["detection_boxes"].shape == (2, 5, 4)


def test_the_recipe_makes_the_same_again() -> None:
    first = slimc.compile(HEAD, f"{NMS},assign-scales", "cpu-vnni")
    again = slimc.compile(HEAD, first.report.recipe, "cpu-vnni")
    assert again.report.digests["output"] == first.report.digests["output"]


def test_a_runtime_with_the_plugin_gets_it() -> None:
    made = slimc.compile(HEAD, f"quant,{NMS}", "jetson-orin")
    assert made.graph.nodes[-1].op == "EfficientNMS_TRT"
    said = " ".join(one.message for one in made.report.notes)
    assert "plug-ins (EfficientNMS_TRT) are not run here" in said
    assert made.report.agreement[0].sqnr_db > 20


def test_what_suppression_refuses_is_told_before_all_work() -> None:
    with pytest.raises(SlimcError, match="no output 'z'"):
        slimc.compile(HEAD, "quant,append-nms{head=z}", "cpu-vnni")


def test_plugins_of_a_model_are_set_aside_and_come_back() -> None:
    graph = with_plugin(HEAD)
    target = replace(JETSON_ORIN, plugins=frozenset({"Detect_TRT"}))
    made = slimc.compile(graph, "quant", target)
    assert made.graph.outputs == graph.outputs
    node = made.graph.by_name["detect"]
    assert (node.kind, dict(made.graph.opsets)) == ("TRT.Detect_TRT", {"TRT": 1})
    assert str(made.graph.types["found"]) == "i32[N,4]"
    kept = made.graph.array(node.inputs[1])
    assert kept is not None
    assert (kept == graph.constants["w"].array).all()
    said = " ".join(one.message for one in made.report.notes)
    assert "what stands behind them is left as it is: 'abs'" in said
    assert [one.output for one in made.report.agreement] == ["aside", "half", "r"]


def test_plugins_that_the_target_lacks_are_refused() -> None:
    with pytest.raises(SlimcError, match="knows no operators of domain 'TRT'") as caught:
        slimc.compile(with_plugin(HEAD), "", CPU_VNNI)
    assert caught.value.name == "target-refuses"
    graph = parse_text("""\
graph (%x: f32[4]) -> (%y)
  %a: f32[4] = Exp(%x) @exp
  %y: f32[4] = Mine_TRT(%a) @mine
""")
    with pytest.raises(SlimcError, match="no operator of ONNX, and no plug-in that generic-onnx"):
        slimc.compile(graph)


def test_a_model_that_starts_with_a_plugin_is_refused() -> None:
    graph = parse_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = Mine_TRT(%x) @mine")
    with pytest.raises(SlimcError, match="nothing is computed before the first plug-in"):
        slimc.compile(graph)


def test_promises_are_kept_before_plugins() -> None:
    made = slimc.compile(HEAD, f"quant,{NMS}", "cpu-vnni", min_sqnr=20)
    assert made.graph.outputs[:4] == RESULTS
    assert "holds" in " ".join(one.message for one in made.report.notes)


def test_nothing_stops_after_what_ends() -> None:
    with pytest.raises(SlimcError, match="append-nms runs at the end"):
        slimc.compile(HEAD, NMS, "cpu-vnni", stop_after="append-nms")


def test_what_is_not_lowered_has_its_plugins_all_the_same() -> None:
    made = slimc.compile(with_plugin(HEAD), stop_after="canonicalize")
    assert {"detect", "abs"} <= set(made.graph.by_name)
