from __future__ import annotations

from slimc.analysis.bodies import open_bodies, open_facts
from slimc.analysis.cost import macs
from slimc.analysis.shapes import infer
from slimc.ir.editor import Editor
from slimc.ir.text import parse_text, to_text
from slimc.ops import OPS

TEXT = """
graph (%x: f32[2,8], %c: bool[]) -> (%y)
  %n = constant i64[] 3
  %h = Relu(%x) @before
  %s: f32[2,8] = If(%c) @if
    else_branch = graph () -> (%e)
      %k = constant f32[8] random(0)
      %e = Add(%h, %k) @else
    then_branch = graph () -> (%t)
      %t = Loop(%n, _, %h) @loop
        body = graph (%i: i64[], %go: bool[], %v: f32[2,8]) -> (%on, %next)
          %on = Identity(%go) @on
          %next = Neg(%v) @step
  %y = Sigmoid(%s) @after
"""


def test_the_nodes_of_bodies_stand_before_the_node_that_has_them() -> None:
    opened = open_bodies(parse_text(TEXT), OPS)
    assert [n.name for n in opened.graph.nodes] == [
        *("before", "else", "on", "step", "loop", "if", "after")
    ]
    results = opened.graph.by_name
    assert results["if"].inputs == ("c", "e", "t")
    assert results["loop"].inputs == ("n", "", "h", "i", "go", "v", "on", "next")
    assert {"k", "n"} == set(opened.graph.constants)


def test_what_is_opened_and_not_edited_closes_to_itself() -> None:
    graph = parse_text(TEXT)
    opened = open_bodies(graph, OPS)
    assert to_text(opened.closed(opened.graph)) == to_text(graph)


def test_edits_go_where_their_nodes_stand() -> None:
    opened = open_bodies(parse_text(TEXT), OPS)
    editor = Editor(opened.graph)
    (made,) = editor.add("Abs", ["v"], name="abs", near="step")
    editor.set_input("step", 0, made)
    editor.set_input("loop", 2, editor.add_constant(opened.graph.constants["k"], "start"))
    graph = opened.closed(editor.finish())
    loop = graph.by_name["if"].bodies[1].by_name["loop"]
    assert loop.inputs == ("n", "", "start")
    assert [n.name for n in loop.bodies[0].nodes] == ["on", "abs", "step"]
    assert "start" in graph.constants


def test_facts_hold_for_the_nodes_of_bodies() -> None:
    graph = parse_text(TEXT)
    opened = open_bodies(graph, OPS)
    facts = open_facts(opened, infer(graph, OPS))
    assert {"else", "step", "before", "after"} <= set(facts.bounds)


def test_both_forms_have_costs_by_the_same_facts() -> None:
    text = TEXT.replace("%e = Add(%h, %k) @else", "%e = MatMul(%h, %k) @else")
    graph = parse_text(text.replace("f32[8] random(0)", "f32[8,8] random(0)"))
    opened = open_bodies(graph, OPS)
    facts = open_facts(opened, infer(graph, OPS))
    assert macs(graph, OPS, facts) == {"if": 2 * 8 * 8}
    assert macs(opened.graph, OPS, facts) == {"else": 2 * 8 * 8}


def test_a_graph_without_bodies_is_its_own_open_form() -> None:
    graph = parse_text("graph (%x: f32[2]) -> (%y)\n  %y = Relu(%x) @r\n")
    opened = open_bodies(graph, OPS)
    assert opened.graph is graph
    assert opened.closed(graph) is graph


def test_bodies_of_unknown_flow_stay_closed() -> None:
    text = """
    graph (%s: seq<f32[2]>) -> (%y)
      %y = SequenceMap(%s) @map
        body = graph (%a: f32[2]) -> (%b)
          %b = Neg(%a) @neg
    """
    graph = parse_text(text)
    assert open_bodies(graph, OPS).graph is graph
