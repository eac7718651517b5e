"""DLA's rules find what does not build, what falls back to the GPU, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slimc.io.read import FileHeader
from slimc.ir.graph import Graph, Node
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.dla.devices import JETSON_ORIN_DLA
from slimc.targets.dla.rules import subgraphs
from slimc.targets.target import Finding, Subject

SOUND = """graph (%x: f32[1,3,8,8]) -> (%y)
  %w = constant f32[4,3,3,3] random(0)
  %c: f32[1,4,6,6] = Conv(%x, %w) @conv
  %y: f32[1,4,6,6] = Relu(%c) @relu"""
FALLS_BACK = """graph (%x: f32[1,4,6,6]) -> (%y)
  %w = constant f32[4,4,1,1] random(0)
  %a: f32[1,4,6,6] = Conv(%x, %w) @first
  %b: f32[1,4,6,6] = Erf(%a) @erf
  %c: f32[1,4,6,6] = Conv(%b, %w) @second
  %y: f32[1,4,6,6] = Add(%a, %c) @sum"""


def found(text: str) -> list[Finding]:
    graph = parse_text(text)
    return list(check(Subject(graph, OPS, JETSON_ORIN_DLA, FileHeader(17, 8))))


def test_a_sound_graph_gets_a_count_only() -> None:
    (one,) = found(SOUND)
    assert (one.severity, one.code, one.rule) == ("info", "L39", "few-subgraphs")
    assert one.message == "DLA runs 2 of 2 layers, in one subgraph"


def test_layers_that_fall_back() -> None:
    first, count = found(FALLS_BACK)
    assert (first.severity, first.node, first.code) == ("silent", "erf", "L39")
    assert first.message == "falls back to the GPU: DLA has no Erf"
    assert "--allowGPUFallback" in first.help
    assert count.message == "DLA runs 3 of 4 layers, in 2 subgraphs; the GPU runs 1"


def test_too_many_subgraphs() -> None:
    lines = ["graph (%x: f32[1,1,4,4]) -> (%y)"]
    value = "x"
    for i in range(17):
        lines.append(f"  %r{i}: f32[1,1,4,4] = Relu(%{value})")
        lines.append(f"  %{'y' if i == 16 else f'e{i}'}: f32[1,1,4,4] = Erf(%r{i})")
        value = f"e{i}"
    last = found("\n".join(lines))[-1]
    assert last.severity == "silent"
    assert "in 17 subgraphs" in last.message
    assert "holds 16" in last.message


def test_nothing_runs_on_dla() -> None:
    text = "graph (%x: f32[1,1,4,4]) -> (%y)\n  %y: f32[1,1,4,4] = Erf(%x) @erf"
    assert found(text)[-1].message == "DLA runs none of its layers"


def test_branches_that_meet_are_one_subgraph() -> None:
    text = """graph (%x: f32[1,1,4,4]) -> (%y)
  %a: f32[1,1,4,4] = Relu(%x) @a
  %b: f32[1,1,4,4] = Tanh(%x) @b
  %y: f32[1,1,4,4] = Add(%a, %b) @y"""
    assert subgraphs(parse_text(text), {"a", "b", "y"}) == 1
    assert subgraphs(parse_text(text), {"a", "b"}) == 2


ERRORS = {
    "no-conversions": """graph (%x: f32[1,1,4,4]) -> (%y)
  %s = constant f32[] 0.1
  %z = constant i8[] 0
  %q: i8[1,1,4,4] = QuantizeLinear(%x, %s, %z) @q
  %y: f32[1,1,4,4] = DequantizeLinear(%q, %s, %z) @dq""",
    "open-sizes": SOUND.replace("f32[1,3,8,8]", "f32[N,3,8,8]"),
}


@pytest.mark.parametrize("rule", ERRORS)
def test_what_does_not_build(rule: str) -> None:
    errors = [one for one in found(ERRORS[rule]) if one.severity == "error"]
    assert {one.rule for one in errors} == {rule}
    assert {one.code for one in errors} == {"L20" if rule == "no-conversions" else "L39"}


def test_what_cannot_be_known_is_not_told() -> None:
    (one,) = found(ERRORS["open-sizes"])
    assert one.rule == "open-sizes"
    text = """graph (%x: f32[1,1,4,4]) -> (%y)
  %a = my.Unknown(%x) @own
  %y = Relu(%a) @relu"""
    assert "relu" not in {one.node for one in found(text)}


def recorded(*names: str) -> Graph:
    records = "".join(f"\n  %{name} quantized i8 scale=0.1" for name in names)
    text = f"{SOUND}{records}".replace("\n", "\n  form quantized\n", 1)
    return parse_text(text)


def of(graph: Graph, rule: str) -> list[Finding]:
    subject = Subject(graph, OPS, JETSON_ORIN_DLA, FileHeader(17, 8))
    return [one for one in check(subject) if one.rule == rule]


def test_every_result_has_a_range() -> None:
    assert of(recorded("x", "c", "y"), "every-range") == []
    (one,) = of(recorded("x", "y"), "every-range")
    assert (one.severity, one.node) == ("info", "conv")


def test_names_that_trtexec_cannot_list() -> None:
    graph = recorded("x", "c", "y")
    nodes = (replace(graph.nodes[0], name="a,b"), graph.nodes[1])
    (one,) = of(replace(graph, nodes=nodes), "plain-names")
    assert (one.severity, one.node) == ("silent", "a,b")


def test_constants_have_lines_in_the_cache_too() -> None:
    graph = recorded("x", "c", "y")
    three = parse_text("graph () -> (%k)\n  %k = constant f32[] 3").constants["k"]
    nodes = (*graph.nodes, Node("Add", ("y", "a\nx: 7f800000"), ("z",), name="more"))
    odd = replace(graph, nodes=nodes, constants={**graph.constants, "a\nx: 7f800000": three})
    (one,) = of(odd, "plain-names")
    assert (one.severity, one.message.split(" has")[0]) == ("error", r"tensor 'a\nx: 7f800000'")
