from __future__ import annotations

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.target import Subject
from slimc.targets.tensorrt.devices import JETSON_ORIN

HEADER = FileHeader(17, 8)
BRANCHES = """graph (%x: f32[4,32], %c: bool[]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] {zero}
  %w.q = constant i8[32,32] random(0, -64..64)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %y: f32[4,32] = If(%c) @if
    then_branch = graph () -> (%t)
      %w.z = constant i8[32] fill(0)
      %q: i8[4,32] = QuantizeLinear(%x, %s, %z) @q
      %a: f32[4,32] = DequantizeLinear(%q, %s, %z) @dq
      %w: f32[32,32] = DequantizeLinear(%w.q, %w.s, %w.z) {{axis=1}} @dqw
      %r: f32[4,32] = Tanh(%a) @curve
      %t: f32[4,32] = MatMul({data}, %w) @inner
    else_branch = graph () -> (%f)
      %f: f32[4,32] = Relu(%x) @act"""


def found(zero: int = 0, data: str = "%a") -> list[tuple[str, str]]:
    subject = Subject(
        parse_text(BRANCHES.format(zero=zero, data=data)), OPS, JETSON_ORIN, FileHeader(17, 8)
    )
    return [(one.code, one.node) for one in check(subject) if one.severity in ("error", "silent")]


def test_integers_in_bodies_are_held_to_the_rules_with_constants_from_outside() -> None:
    assert found() == []
    assert found(zero=3) == [("L01", "q"), ("L01", "dq")]


def test_contractions_in_bodies_are_told_of() -> None:
    assert found(data="%r") == [("L11", "inner")]


def test_a_node_that_onnx_does_not_allow_is_all_that_is_told() -> None:
    text = (
        "graph (%x: f32[1,2,3]) -> (%y)\n  opset own 1\n  %q: u8[1,2,3] = QuantizeLinear(%x) @q\n"
    )
    text += "  %y: f32[1,2,3] = own.DequantizeLinear(%q) @dq"
    subject = Subject(parse_text(text), OPS, JETSON_ORIN, FileHeader(17, 8))
    assert [(one.code, one.rule, one.node) for one in check(subject)] == [
        ("L40", "sound-nodes", "q"),
        ("L40", "sound-nodes", "dq"),
    ]


def test_what_rules_share_is_worked_out_once() -> None:
    subject = Subject(parse_text(BRANCHES.format(zero=0, data="%a")), OPS, JETSON_ORIN, HEADER)
    seen: list[Subject] = []

    def names(of: Subject) -> tuple[str, ...]:
        seen.append(of)
        return tuple(node.name for node in of.graph.nodes)

    assert subject.once(names) == subject.once(names) == ("if",)
    assert seen == [subject]
