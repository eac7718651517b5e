from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.io.read import read
from slimc.io.write import to_model
from slimc.ir.editor import Editor
from slimc.ir.graph import Form, Graph
from slimc.ir.text import parse_text, to_text
from slimc.passes.base import Pass, PassResult, Promise
from slimc.passes.context import Context
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.runner import Watcher, until
from slimc.remarks import PassReport, applied
from slimc.report.json import report_dict

GRAPH = parse_text("""\
graph (%x: f32[N,3,8,8]) -> (%y)
  %w = constant f32[4,3,3,3] random(0)
  %b = constant f32[4] random(1)
  %c: f32[N,4,6,6] = Conv(%x, %w, %b) @conv
  %y: f32[N,4,6,6] = Relu(%c) @relu
""")


@dataclass(frozen=True)
class Edit(Pass):
    """Do what a test wants."""

    name: ClassVar[str] = "edit-graph"
    change: Callable[[Graph], Graph] = lambda graph: graph
    wanted: Callable[[Graph], Graph] | None = None

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        expected = self.wanted(graph) if self.wanted else None
        after = self.change(graph)
        remarks = (applied("relu", "edited"),) if after is not graph else ()
        return PassResult(after, remarks, {"nodes": len(after.nodes)}, expected)

    def __str__(self) -> str:
        return self.name


class Approximate(Edit):
    promise: ClassVar[Promise] = "approximate"


def renamed(op: str) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        edit = Editor(graph)
        edit.update("relu", op=op)
        return edit.finish()

    return change


def scaled(factor: float) -> Callable[[Graph], Graph]:
    def change(graph: Graph) -> Graph:
        edit = Editor(graph)
        value = next(v for v in graph.constants if graph.constants[v].shape == (4, 3, 3, 3))
        edit.set_constant(value, graph.constants[value].array * np.float32(factor))
        return edit.finish()

    return change


def error_of(one: Pass, **options: object) -> SlimcError:
    with pytest.raises(SlimcError) as caught:
        compile(GRAPH, [one], **options)  # type: ignore[arg-type]
    return caught.value


def test_without_passes_the_graph_becomes_canonical_then_legal() -> None:
    made = compile(GRAPH)
    assert isinstance(made, Compiled)
    assert made.graph.form is Form.LEGAL
    assert made.report.recipe == ""
    assert made.report.agreement[0].max_abs < 1e-4
    assert made.report.before.nodes == made.report.after.nodes == 2


def test_the_report_is_the_same_in_every_run() -> None:
    first, second = (compile(GRAPH, [Approximate(scaled(1.25))]).report for _ in range(2))
    assert report_dict(first, times=False) == report_dict(second, times=False)


def test_a_pass_that_keeps_its_promise_is_reported() -> None:
    report = compile(GRAPH, [Edit(scaled(1 + 1e-6)), Edit()]).report
    changed, idle = [one for one in report.passes if one.text == "edit-graph"]
    assert (changed.changed, changed.remarks[0].message) == (True, "edited")
    assert (idle.changed, idle.remarks[0].message) == (False, "found nothing to do")
    assert idle.facts == {"nodes": 2}


def test_a_pass_that_breaks_values_is_named() -> None:
    error = error_of(Edit(scaled(1.01)))
    assert error.name == "pass-broke-values"
    assert error.message.startswith("output 'y' is off by 0.0")
    assert error.where == "pass edit-graph"


def test_a_pass_may_say_what_values_must_be() -> None:
    compile(GRAPH, [Edit(scaled(2), wanted=scaled(2))])
    assert error_of(Approximate(scaled(2), wanted=scaled(3))).name == "pass-broke-values"


def test_an_approximate_pass_is_measured_not_refused() -> None:
    report = compile(GRAPH, [Approximate(scaled(1.1))]).report
    assert 5 < report.agreement[0].sqnr_db < 40


def test_a_pass_that_breaks_the_graph_is_named() -> None:
    assert error_of(Approximate(renamed("NoSuchOp"))).name == "pass-broke-graph"
    dropped = error_of(Edit(lambda graph: replace(graph, outputs=("c",))))
    assert dropped.name == "pass-broke-graph"
    assert "inputs or outputs" in dropped.message


def test_the_graph_before_a_failing_pass_is_kept_with_a_command(tmp_path: Path) -> None:
    error = error_of(Edit(scaled(2)), dump=tmp_path / "dump")
    path = tmp_path / "dump" / "before-edit-graph.txt"
    assert f"to repeat it: slimc {path} --passes edit-graph --target" in error.help
    before = parse_text(path.read_text())
    assert before.form is Form.CANONICAL
    assert [node.op for node in before.nodes] == ["Conv", "Relu"]


def test_the_command_holds_names_that_a_shell_would_run(tmp_path: Path) -> None:
    class Named(Edit):
        def __str__(self) -> str:
            return "edit-graph{keep=[\"a'; touch ran; '\"]}"

    one = Named(scaled(2))
    error = error_of(one, dump=tmp_path / "a folder")
    words = shlex.split(error.help.partition("to repeat it: ")[2])
    path = tmp_path / "a folder" / "before-edit-graph.txt"
    assert words == ["slimc", str(path), "--passes", str(one), "--target", "generic-onnx"]


def test_macs_before_and_after_are_of_one_size() -> None:
    shape = {"x": "2x3x8x8"}
    open_sizes = parse_text("""
    graph (%x: f32[N,3,H,W]) -> (%y)
      %w = constant f32[4,3,3,3] random(0)
      %y: f32[N,4,P,Q] = Conv(%x, %w) @conv
    """)
    for graph in (open_sizes, GRAPH):
        report = compile(graph, shape=shape).report
        assert report.before.macs == report.after.macs == 2 * 4 * 3 * 9 * 6 * 6


def test_a_model_that_does_not_run_is_refused() -> None:
    with pytest.raises(SlimcError) as caught:
        compile(parse_text("graph (%x: f32[2]) -> (%y)\n  %y: f32[2] = NoSuchOp(%x)"))
    assert caught.value.name == "model-does-not-run"


RATES = parse_text("""\
graph (%x: f32[N,T], %sr: i64[]) -> (%y)
  %rate = constant i64[] 16000
  %axis = constant i64[1] [1]
  %fast: bool[] = Equal(%sr, %rate) @equal
  %y: f32[?] = If(%fast) @if
    then_branch = graph () -> (%t)
      %t: f32[N] = ReduceMax(%x, %axis) {keepdims=0} @max
    else_branch = graph () -> (%e)
      %e: f32[N] = Squeeze(%x, %axis) @squeeze
""")


def test_what_fixed_values_do_not_choose_need_not_suit_them() -> None:
    made = compile(RATES, bind={"sr": "16000"}, shape={"x": "2x4"})
    assert [node.op for node in made.graph.nodes] == ["ReduceMax"]
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    wanted = Session(RATES).run({"x": x, "sr": np.array(16000)})
    assert np.array_equal(Session(made.graph).run({"x": x})["y"], wanted["y"])


def test_a_model_that_its_samples_do_not_suit_is_told_with_them() -> None:
    with pytest.raises(SlimcError) as caught:
        compile(RATES)
    assert caught.value.name == "model-does-not-run"
    assert "made-up samples: 'x' f32[2,16], 'sr' i64[] " in caught.value.help
    assert "--calib SAMPLES, --shape x=SIZES, --bind sr=VALUE" in caught.value.help


def test_what_a_target_refuses_of_inputs_is_told_before_samples_run() -> None:
    with pytest.raises(SlimcError) as caught:
        compile(RATES, bind={"sr": "8000"}, target="openvino-npu")
    assert caught.value.name == "target-refuses"
    with pytest.raises(SlimcError) as caught:
        compile(RATES, bind={"sr": "8000"}, target="openvino-npu", stop_after="canonicalize")
    assert caught.value.name == "model-does-not-run"


def test_data_of_several_sorts() -> None:
    feeds = [{"x": np.ones((2, 3, 8, 8), np.float32)}]
    given = compile(GRAPH, data=feeds).report
    made_up = compile(GRAPH).report
    assert given.digests["data"] != made_up.digests["data"]
    assert [one.message for one in given.notes] == []
    assert made_up.notes[0].message.startswith("samples are made up")


def test_samples_that_hold_nan_are_told_of() -> None:
    x = np.ones((2, 3, 8, 8), np.float32)
    x[0, 0, 0] = np.inf
    assert compile(GRAPH, data=[{"x": x}]).report.notes == ()
    x[1, 0, 0] = np.nan
    (one,) = compile(GRAPH, data=[{"x": x}]).report.notes
    assert one.message == "samples of input 'x' hold NaN"


def test_agreement_on_few_samples_that_weights_were_fitted_to_is_told_of() -> None:
    graph = parse_text("""
graph (%x: f32[N,8]) -> (%y)
  %wa = constant f32[8,16] random(0)
  %wb = constant f32[16,3] random(1)
  %a = MatMul(%x, %wa) @a
  %r = Relu(%a) @r
  %y = MatMul(%r, %wb) @b
""")
    random = np.random.default_rng(0)
    for samples, told in ((20, True), (120, False)):
        feeds = [{"x": random.normal(size=(samples, 8)).astype(np.float32)}]
        said = str(compile(graph, "prune{ratio=0.4}", data=feeds).report.notes)
        assert (f"were fitted to, and {samples} are few" in said) == told


def test_stop_after_leaves_out_the_rest() -> None:
    made = compile(GRAPH, [Edit(), Approximate(scaled(2))], stop_after="edit-graph")
    assert made.graph.form is Form.CANONICAL
    assert made.report.passes[-1].text == "edit-graph"
    assert until([Edit(), Approximate()], "edit-graph") == (Edit(), Approximate())
    with pytest.raises(SlimcError, match="none of the passes") as caught:
        until([Edit()], "edit-grap")
    assert "did you mean 'edit-graph'?" in caught.value.help


def test_a_watcher_hears_of_every_pass() -> None:
    heard: list[str] = []

    class Ear(Watcher):
        def before(self, one: Pass) -> None:
            heard.append(f"before {one.name}")

        def after(self, one: Pass, made: PassResult, report: PassReport) -> None:
            heard.append(f"after {one.name} {len(made.graph.nodes)}")

    compile(GRAPH, [Edit()], watcher=Ear())
    assert heard.index("after edit-graph 2") == heard.index("before edit-graph") + 1


def test_files_and_text_models_compile_alike(tmp_path: Path) -> None:
    made = compile(GRAPH)
    made.save(tmp_path / "m.onnx")
    (tmp_path / "m.txt").write_text(to_text(GRAPH))
    again = compile(tmp_path / "m.onnx").report
    text = compile(tmp_path / "m.txt").report
    assert text.digests["output"] == made.report.digests["output"]
    assert again.before.size_bytes == (tmp_path / "m.onnx").stat().st_size
    assert again.agreement[0].max_abs == 0
    assert read(tmp_path / "m.onnx").inputs == ("x",)


def test_weights_in_a_data_file_count_and_are_in_the_digest(tmp_path: Path) -> None:
    path, data = tmp_path / "m.onnx", tmp_path / "w.bin"
    model = to_model(GRAPH)
    external = {"save_as_external_data": True, "location": data.name, "size_threshold": 0}
    onnx.save_model(model, path, **external)
    before = compile(path).report
    assert before.before.size_bytes == path.stat().st_size + data.stat().st_size
    weights = np.frombuffer(data.read_bytes(), np.float32).copy()
    weights[0] += 1
    data.write_bytes(weights.tobytes())
    assert compile(path).report.digests["input"] != before.digests["input"]
