from __future__ import annotations

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.node_units import data_of, folds, node_units
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.target import Subject

TEXT = """graph (%x: f32[2,4,2,2]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[16,3] random(0, -64..64)
  %b = constant f32[] 1
  %three = constant i64[1] [3]
  %shape = constant i64[2] [2, 16]
  %bias: f32[3] = Expand(%b, %three)
  %q: i8[2,4,2,2] = QuantizeLinear(%x, %s, %z)
  %a: f32[2,4,2,2] = DequantizeLinear(%q, %s, %z)
  %f: f32[2,16] = Reshape(%a, %shape)
  %w: f32[16,3] = DequantizeLinear(%w.q, %s, %z)
  %p: f32[2,3] = MatMul(%f, %w) @product
  %c: f32[2,3] = Add(%p, %bias)
  %r: f32[2,3] = Relu(%c) @relu
  %d: i8[2,3] = QuantizeLinear(%r, %s, %z) @quantize
  %y: f32[2,3] = DequantizeLinear(%d, %s, %z)"""


def subject(text: str) -> Subject:
    return Subject(parse_text(text), OPS, CPU_VNNI, FileHeader(17, 8))


def test_a_unit_is_seen_through_what_the_runtime_moves_and_fuses() -> None:
    (unit,) = node_units(subject(TEXT))
    assert unit.data.node.outputs == ("a",)
    assert unit.bias == "bias"
    assert unit.result.quantizer is not None
    assert unit.result.quantizer.node.name == "quantize"
    assert [clamp.name for clamp in unit.result.clamps] == ["relu"]


def test_a_dq_with_two_readers_is_not_moved() -> None:
    assert data_of(parse_text(TEXT), "f") is not None
    assert data_of(parse_text(TEXT.replace("-> (%y)", "-> (%y, %a)")), "f") is None
    text = TEXT.replace("-> (%y)", "-> (%y, %n)") + "\n  %n: f32[2,4,2,2] = Neg(%a)"
    assert data_of(parse_text(text), "f") is None


def test_what_follows_from_constants_folds() -> None:
    graph = parse_text(
        "graph (%x: f32[4]) -> (%y)\n  %a = constant f32[4] random(0)\n  %b: f32[4] = Neg(%a)\n"
        "  %c: f32[4] = Mul(%b, %a)\n  %y: f32[4] = Add(%c, %x)"
    )
    assert [value for value in "abcyx" if folds(graph, value)] == ["a", "b", "c"]


def test_a_deep_network_is_walked_without_recursion() -> None:
    lines = ["graph (%v0: f32[4]) -> (%v2000)"]
    lines += [f"  %v{i + 1}: f32[4] = Add(%v{i}, %v{i})" for i in range(2000)]
    assert not folds(parse_text("\n".join(lines)), "v2000")
