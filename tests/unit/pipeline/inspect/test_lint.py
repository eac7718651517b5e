"""A file, whoever made it, is judged as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimc.errors import SlimcError
from slimc.io.write import to_model, write
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.inspect.lint import Verdict, lint
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.tensorrt.devices import JETSON_ORIN

TWO = """graph (%x: f32[2,32]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[32,32] random(0, -64..64)
  %v.q = constant i8[32,32] random(1, -64..64)
  %w.s = constant f32[32] random(2, 0.01..0.02)
  %w.z = constant i8[32] fill(0)
  %q: i8[2,32] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[2,32] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[32,32] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=1} @dqw
  %v: f32[32,32] = DequantizeLinear(%v.q, %w.s, %w.z) {axis=1} @dqv
  %m: f32[2,32] = MatMul(%a, %w) @first
  %y: f32[2,32] = MatMul(%m, %v) @second"""


def seen(text: str, tmp_path: Path, opset: int = 17, ir_version: int = 8) -> Verdict:
    write(parse_text(text), tmp_path / "model.onnx", opset, ir_version)
    return lint(tmp_path / "model.onnx", JETSON_ORIN, OPS)


def test_contractions_are_counted_as_the_rules_see_them(tmp_path: Path) -> None:
    verdict = seen(TWO, tmp_path)
    assert [(one.node.name, one.meant) for one in verdict.layers] == [
        ("first", "integers"),
        ("second", "weights"),
    ]
    assert verdict.lost == ()


def test_a_finding_on_the_q_of_its_data_loses_a_contraction(tmp_path: Path) -> None:
    text = TWO.replace("f32[] 0.02", "f32[1] [0.02]").replace("i8[] 0", "i8[1] [0]")
    assert [one.node.name for one in seen(text, tmp_path).lost] == ["first"]


def test_a_contraction_of_a_float_and_an_integer_is_meant_for_floats(tmp_path: Path) -> None:
    text = TWO.replace("MatMul(%a, %w)", "MatMul(%a, %a.t)").replace(
        "  %m", "  %a.t: f32[32,2] = Transpose(%x) {perm=[1,0]}\n  %m"
    )
    text = text.replace("%m: f32[2,32]", "%m: f32[2,2]").replace("%m, %v", "%x, %v")
    text = text.replace("-> (%y)", "-> (%y, %m)")
    verdict = seen(text, tmp_path)
    assert {one.meant for one in verdict.layers} == {"floats", "weights"}
    assert (verdict.lost, verdict.count("silent")) == ((), 1)


def test_integer_operators_are_integer(tmp_path: Path) -> None:
    text = """graph (%x: u8[2,8]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 3
  %w = constant i8[8,4] random(0, -64..64)
  %w.z = constant i8[] 0
  %y: u8[2,4] = QLinearMatMul(%x, %s, %z, %w, %s, %w.z, %s, %z) @product"""
    write(parse_text(text), tmp_path / "model.onnx")
    verdict = lint(tmp_path / "model.onnx", CPU_VNNI, OPS)
    assert [one.node.name for one in verdict.intended] == ["product"]
    assert verdict.lost == ()


def test_the_header_is_that_of_the_file(tmp_path: Path) -> None:
    verdict = seen("graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x)", tmp_path, 18, 16)
    assert (verdict.subject.header.opset, verdict.subject.header.ir_version) == (18, 16)
    assert [f.rule for f in verdict.findings if f.severity == "error"] == ["readable-version"]


def test_nothing_is_made_canonical_before(tmp_path: Path) -> None:
    text = "graph (%x: f32[2,8]) -> (%y)\n  %a: f32[2,8] = Identity(%x) @one\n"
    text += "  %y: f32[2,8] = Identity(%a) @two"
    assert [n.name for n in seen(text, tmp_path).subject.graph.nodes] == ["one", "two"]


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    model = to_model(parse_text("graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x)"))
    model.opset_import[0].version = 99
    (tmp_path / "late.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SlimcError, match="opset 99"):
        lint(tmp_path / "late.onnx", JETSON_ORIN, OPS)
