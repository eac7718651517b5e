"""What a runtime says of a file, joined with what the rules find. onnxruntime is asked for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdq_graphs import ONE_LOST

from slimc.errors import SlimcError
from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.compiler import compile
from slimc.pipeline.inspect.lint import lint
from slimc.pipeline.inspect.verify import Proof, verify
from slimc.report.lint import verdict_text
from slimc.report.text import report_text
from slimc.report.verify import proof_dict, proof_text
from slimc.targets.coreml import COREML
from slimc.targets.onnxruntime.devices import CPU_VNNI

FLOATS = """graph (%x: f32[N,32]) -> (%y)
  %w = constant f32[32,64] random(0)
  %v = constant f32[64,32] random(1)
  %h: f32[N,64] = MatMul(%x, %w) @first
  %r: f32[N,64] = Relu(%h) @relu
  %y: f32[N,32] = MatMul(%r, %v) @second"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(parse_text(ONE_LOST), tmp_path / "model.onnx", 17, 8)
    return tmp_path / "model.onnx"


def meant(proof: Proof) -> dict[str, tuple[str, bool]]:
    return {layer.node.name: (layer.meant, layer.reached) for layer in proof.layers}


def test_layers_are_told_by_name_with_the_rule_that_explains(file: Path) -> None:
    proof = verify(file, CPU_VNNI, OPS)
    assert meant(proof) == {
        "first": ("integers", True),
        "second": ("integers", False),
        "third": ("floats", False),
    }
    assert not proof.passed
    (lost,) = proof.lost
    assert lost.node.name == "second"
    assert proof.why(lost)  # Q on the output is missing: rule L26


def test_what_no_rule_explains_is_said(file: Path) -> None:
    proof = verify(file, replace(CPU_VNNI, rules=()), OPS)
    assert [layer.node.name for layer in proof.lost] == ["second"]
    assert proof.why(proof.lost[0]) == ()
    assert "no rule explains it" in proof_text(file, proof)


def test_names_that_a_file_lacks_are_made_up(file: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(file))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, str(tmp_path / "unnamed.onnx"))
    proof = verify(tmp_path / "unnamed.onnx", CPU_VNNI, OPS)
    assert [layer.reached for layer in proof.layers] == [True, False, False]
    assert [layer.node.name for layer in proof.lost] == ["c"]


@pytest.mark.parametrize(
    ("passes", "meant_as"),
    [("quant", "integers"), ("quant{scheme=int8-dynamic,min_elements=0}", "dynamic")],
)
def test_what_the_compile_reports_is_what_verify_finds(
    passes: str, meant_as: str, tmp_path: Path
) -> None:
    made = compile(parse_text(FLOATS), passes, CPU_VNNI)
    made.save(tmp_path / "made.onnx")
    proof = verify(tmp_path / "made.onnx", CPU_VNNI, OPS)
    assert {layer.meant for layer in proof.layers} == {meant_as}
    assert proof.passed
    reached = sum(layer.reached for layer in proof.layers)
    assert made.report.integer_intended == made.report.integer_achieved == reached == 2


def test_compile_verify_and_lint_count_integer_layers_alike(tmp_path: Path) -> None:
    file = tmp_path / "made.onnx"
    made = compile(parse_text(FLOATS), 'quant{keep=["second"]}', CPU_VNNI)
    made.save(file)
    told = "integer layers: 1 of 1 intended, among 2 contractions"
    assert told in report_text(made.report).splitlines()
    assert f"  {told}" in proof_text(file, verify(file, CPU_VNNI, OPS)).splitlines()
    assert f"{told}, by the rules" in verdict_text(lint(file, CPU_VNNI, OPS)).splitlines()


def test_nodes_that_are_not_as_onnx_allows_them_are_told(tmp_path: Path) -> None:
    broken = ONE_LOST.replace("MatMul(%d, %dv)", "MatMul(%d)")
    write(parse_text(broken), tmp_path / "broken.onnx", 17, 8)
    proof = verify(tmp_path / "broken.onnx", CPU_VNNI, OPS)
    assert (proof.layers, proof.lost, proof.passed) == ((), (), False)
    assert [one.node for one in proof.refused] == ["first"]
    assert "sound-nodes @first:" in proof_text(tmp_path / "broken.onnx", proof)


def test_weights_alone_are_told_apart(tmp_path: Path) -> None:
    made = compile(parse_text(FLOATS), "quant{scheme=int8-weights,min_elements=0}", CPU_VNNI)
    made.save(tmp_path / "made.onnx")
    proof = verify(tmp_path / "made.onnx", CPU_VNNI, OPS)
    assert {layer.meant for layer in proof.layers} == {"weights"}
    assert proof.passed  # nothing was meant to run in integers
    assert "weight-only quantized: 2," in proof_text(tmp_path / "made.onnx", proof)


def test_a_target_without_an_oracle_says_what_is_shown(tmp_path: Path) -> None:
    write(parse_text(FLOATS.replace("[N,", "[1,")), tmp_path / "float.onnx", 17, 8)
    proof = verify(tmp_path / "float.onnx", COREML, OPS)
    assert (proof.shown, proof.answer.built, proof.passed) == (False, True, True)
    assert proof.stated[0].startswith("no runtime here stands for coreml")
    assert proof_dict(Path("f"), proof)["integer"] == {"intended": 0, "reached": None}


def test_without_an_oracle_layers_are_told_by_the_rules(file: Path) -> None:
    proof = verify(file, replace(CPU_VNNI, oracle=""), OPS)
    assert [layer.node.name for layer in proof.lost] == ["second"]
    told = "  integer layers: 1 of 2 intended, among 3 contractions, by the rules"
    assert told in proof_text(file, proof).splitlines()


def test_what_a_rule_refuses_does_not_pass(file: Path) -> None:
    proof = verify(file, replace(CPU_VNNI, forbids={"HardSwish": "there is none"}), OPS)
    assert proof.answer.built
    assert "HardSwish" in {word for one in proof.refused for word in one.message.split(":")}
    assert not proof.passed


def test_outputs_are_compared_with_the_original(tmp_path: Path) -> None:
    write(parse_text(FLOATS), tmp_path / "model.onnx", 17, 8)
    compile(tmp_path / "model.onnx", "quant", CPU_VNNI).save(tmp_path / "made.onnx")
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((4, 32), np.float32)}]
    proof = verify(
        tmp_path / "made.onnx", CPU_VNNI, OPS, against=tmp_path / "model.onnx", data=feeds
    )
    assert 20 < proof.agreement[0].sqnr_db < 80
    other = FLOATS.replace("%x", "%z")
    write(parse_text(other), tmp_path / "other.onnx", 17, 8)
    with pytest.raises(SlimcError, match="other inputs") as caught:
        verify(tmp_path / "made.onnx", CPU_VNNI, OPS, against=tmp_path / "other.onnx")
    assert caught.value.name == "inputs-differ"


def test_sizes_are_checked(file: Path) -> None:
    assert verify(file, CPU_VNNI, OPS, shape={"x": "4x32"}).answer.built
    for shape, name in (({"z": "4x32"}, "unknown-input"), ({"x": "4x32x1"}, "bad-binding")):
        with pytest.raises(SlimcError) as caught:
            verify(file, CPU_VNNI, OPS, shape=shape)
        assert caught.value.name == name


def test_a_runtime_is_asked_up_to_plugins(tmp_path: Path) -> None:
    text = ONE_LOST.replace("(%y)", "(%found)") + "\n  %found: i32[N,4] = Detect_TRT(%y) @detect"
    write(parse_text(text), tmp_path / "plugin.onnx", 17, 8)
    target = replace(CPU_VNNI, plugins=frozenset({"Detect_TRT"}))
    proof = verify(tmp_path / "plugin.onnx", target, OPS)
    assert proof.answer.built
    assert len(proof.layers) == 3
    assert proof.stated[-1] == "asked up to its plug-ins (Detect_TRT): no one looks at them here"


def test_what_suppression_took_the_place_of_is_compared(tmp_path: Path) -> None:
    given = parse_text("""\
graph (%x: f32[N,7,9]) -> (%y)
  %y: f32[N,7,9] = Sigmoid(%x) @head
""")
    write(given, tmp_path / "given.onnx", 17, 8)
    made = compile(given, "append-nms", CPU_VNNI)
    made.save(tmp_path / "made.onnx")
    proof = verify(tmp_path / "made.onnx", CPU_VNNI, OPS, against=tmp_path / "given.onnx")
    assert [(one.output, one.max_abs) for one in proof.agreement] == [("y", 0)]


def test_sizes_given_leave_the_branches_of_the_file(tmp_path: Path) -> None:
    text = """graph (%x: f32[N,3]) -> (%y)
  %at = constant i64[] 0
  %two = constant i64[] 2
  %sizes: i64[2] = Shape(%x)
  %size: i64[] = Gather(%sizes, %at)
  %c: bool[] = Equal(%size, %two)
  %y: f32[N,3] = If(%c) @if
    then_branch = graph () -> (%t)
      %t: f32[N,3] = Abs(%x) @abs
    else_branch = graph () -> (%e)
      %e: f32[N,3] = Neg(%x) @neg"""
    write(parse_text(text), tmp_path / "branches.onnx", 17, 8)
    proof = verify(tmp_path / "branches.onnx", CPU_VNNI, OPS, shape={"x": "2x3"})
    assert str(proof.subject.graph.types["x"]) == "f32[2,3]"
    assert [node.op for node in proof.subject.graph.nodes][-1] == "If"
