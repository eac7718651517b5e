from __future__ import annotations

import numpy as np
import pytest

from slimc.ir.editor import Editor, collect_names, remove_dead_code
from slimc.ir.graph import Graph, Node, Origin
from slimc.ir.text import parse_text
from slimc.ir.types import DType, TensorType

F = TensorType(DType.F32, ("n", 4))


def chain(*ops: str) -> Graph:
    """x -> ops[0] -> v0 -> ops[1] -> v1 ...; the last value is the output."""
    values = ["x", *(f"v{i}" for i in range(len(ops)))]
    nodes = tuple(
        Node(op, (a,), (b,), f"n{i}")
        for i, (op, a, b) in enumerate(zip(ops, values, values[1:], strict=False))
    )
    return Graph("g", ("x",), (values[-1],), nodes, types=dict.fromkeys(values, F))


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def with_body() -> Graph:
    """An If whose branches read `v0` of the outer graph."""
    branch = Graph("then", (), ("t",), (Node("Relu", ("v0",), ("t",), "inner"),), types={"t": F})
    other = Graph("else", (), ("e",), (Node("Neg", ("v0",), ("e",), "inner2"),), types={"e": F})
    nodes = (
        Node("Abs", ("x",), ("v0",), "n0"),
        Node("If", ("c",), ("y",), "n1", {"then_branch": branch, "else_branch": other}),
    )
    return Graph("g", ("x", "c"), ("y",), nodes, types={"x": F, "v0": F, "y": F})


def test_nothing_is_written_to_the_old_graph() -> None:
    graph = chain("Abs", "Neg", "Relu")
    edit = Editor(graph)
    edit.redirect("v0", "x")
    edit.finish()
    assert ops(graph) == ["Abs", "Neg", "Relu"]
    with pytest.raises(TypeError):
        graph.types["x"] = F  # type: ignore[index]


def test_redirect_skips_a_node_and_done_drops_it() -> None:
    edit = Editor(chain("Abs", "Neg", "Relu"))
    edit.redirect("v1", "v0")
    after = edit.finish()
    assert ops(after) == ["Abs", "Relu"]
    assert "v1" not in after.types


def test_redirect_of_a_graph_output_keeps_its_name() -> None:
    edit = Editor(chain("Abs", "Neg", "Relu"))
    edit.redirect("v2", "v1")
    after = edit.finish()
    assert after.outputs == ("v2",)
    assert ops(after) == ["Abs", "Neg"]
    assert after.producers["v2"].op == "Neg"


def test_redirect_of_a_graph_output_to_an_input_makes_an_identity() -> None:
    edit = Editor(chain("Relu"))
    edit.redirect("v0", "x")
    after = edit.finish()
    assert (after.inputs, after.outputs, ops(after)) == (("x",), ("v0",), ["Identity"])


def test_insert_behind_a_graph_output() -> None:
    edit = Editor(chain("Abs", "Relu"), made_by="test-pass")
    (new,) = edit.add("Neg", ["v1"], types=[F], near="n1")
    edit.redirect("v1", new, keep=[edit.producer(new).name])
    after = edit.finish()
    assert ops(after) == ["Abs", "Relu", "Neg"]
    assert after.outputs == ("v1",)
    assert after.nodes[-1].origin == Origin("test-pass", ("n1",))


def test_redirect_reaches_into_bodies() -> None:
    edit = Editor(with_body())
    edit.redirect("v0", "x")
    after = edit.finish()
    assert ops(after) == ["If"]
    assert after.nodes[0].reads == ("c", "x")


def test_users_and_captures_see_bodies() -> None:
    graph = with_body()
    assert [n.name for n in graph.users["v0"]] == ["n1"]
    assert graph.nodes[1].bodies[0].captured == ("v0",)
    assert "inner2" in collect_names(graph)


def test_constants_are_copy_on_write() -> None:
    array = np.zeros(4, np.float32)
    graph = Graph("g", ("x",), ("y",), (), constants={}, types={"x": F})
    edit = Editor(graph)
    name = edit.add_constant(array, "w")
    edit.add("Add", ["x", name], outputs=["y"])
    first = edit.finish()
    second_edit = Editor(first)
    second_edit.set_constant(name, array + 1)
    second = second_edit.finish()
    assert first.array(name)[0] == 0
    assert second.array(name)[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        first.array(name)[0] = 3


def test_names_stay_unique_also_against_bodies() -> None:
    edit = Editor(with_body())
    assert edit.fresh_name("t") == "t_1"
    assert edit.fresh_name("t") == "t_2"


def test_dead_nodes_go_and_can_be_kept() -> None:
    graph = chain("Abs", "Neg")
    edit = Editor(graph)
    edit.add("Relu", ["x"])
    assert ops(edit.finish(keep_dead=True)) == ["Abs", "Neg", "Relu"]
    assert ops(edit.finish()) == ["Abs", "Neg"]


def test_a_cycle_is_refused() -> None:
    edit = Editor(chain("Abs", "Neg"))
    edit.set_input("n0", 0, "v1")
    with pytest.raises(ValueError, match="cycle"):
        edit.finish()


def test_order_follows_need_and_stays_stable() -> None:
    edit = Editor(chain("Abs", "Neg", "Relu"))
    (new,) = edit.add("Exp", ["x"], near="n2")
    edit.set_input("n0", 0, new)
    assert ops(edit.finish()) == ["Exp", "Abs", "Neg", "Relu"]


def test_what_nothing_reads_goes_and_else_the_graph_stays() -> None:
    graph = parse_text("""graph (%x: f32[4], %c: bool[]) -> (%y)
  %unused = constant f32[4] fill(1)
  %a: f32[4] = Neg(%x) @only_in_a_dead_node
  %y: f32[4] = If(%c) @if
    then_branch = graph () -> (%t)
      %d: f32[4] = Add(%x, %a) @dead
      %t: f32[4] = Relu(%x) @relu
    else_branch = graph () -> (%e)
      %e: f32[4] = Abs(%x) @abs""")
    made = remove_dead_code(graph)
    assert [node.name for node in made.walk()] == ["if", "abs", "relu"]
    assert not made.constants
    assert remove_dead_code(made) is made
