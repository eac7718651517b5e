from __future__ import annotations

import time

import numpy as np

from slimc.analysis.shapes import call_of, default_sizes, infer, retype
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.text import parse_text
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS

FLATTENED = """
graph (%x: f32[n,3,h,8]) -> (%y)
  %w = constant f32[4,3,3,3] random(0)
  %zero = constant i64[1] [0]
  %rest = constant i64[1] [-1]
  %c: f32[?,?,?,?] = Conv(%x, %w) {strides=[2, 2]}
  %s = Shape(%c)
  %n = Gather(%s, %zero)
  %t = Concat(%n, %rest) {axis=0}
  %y: f32[samples,?] = Reshape(%c, %t)
"""


def shown(graph: Graph, value: str, **sizes: int) -> str:
    return str(infer(graph, OPS, sizes).types[value])


def test_names_are_carried_through_shape_arithmetic() -> None:
    graph = parse_text(FLATTENED)
    assert shown(graph, "c") == "f32[n,4,(h+1)//2-1,3]"
    assert shown(graph, "y") == "f32[n,12*((h+1)//2)-12]"
    assert infer(graph, OPS).values["t"].tolist() == ["n", -1]


def test_numbers_for_names_make_everything_concrete() -> None:
    facts = infer(parse_text(FLATTENED), OPS, {"n": 2, "h": 9})
    assert facts.shape("y") == (2, 48)
    assert facts.values["s"].tolist() == [2, 4, 4, 3]
    assert facts.opaque == {}
    assert set(facts.bounds) == {"c", "s", "n", "t", "y"}


def test_retyped_outputs_keep_the_names_of_their_sizes() -> None:
    graph = retype(parse_text(FLATTENED), OPS)
    assert str(graph.types["y"]) == "f32[samples,12*((h+1)//2)-12]"
    assert str(graph.types["c"]) == "f32[n,4,(h+1)//2-1,3]"


def test_a_stale_size_gives_way_and_an_opaque_node_keeps_what_is_recorded() -> None:
    graph = parse_text("""
      graph (%x: f32[n,3]) -> (%y)
        %z: f32[n,5] = Relu(%x)
        %y: f32[n,7] = my.Swirl(%z)
    """)
    facts = infer(graph, OPS)
    assert str(facts.types["z"]) == "f32[n,3]"
    assert str(facts.types["y"]) == "f32[n,7]"
    assert facts.opaque == {"y": "operator my.Swirl is not in the operator table"}


def test_a_number_beats_a_name() -> None:
    graph = parse_text("""
      graph (%x: f32[n,3]) -> (%y)
        %y: f32[4,3] = Relu(%x)
    """)
    assert shown(graph, "y") == "f32[4,3]"


def test_branches_of_an_if_that_disagree() -> None:
    graph = parse_text("""
      graph (%c: bool[], %x: f32[n,3]) -> (%y, %z)
        %k = constant i64[1] [0]
        %y, %z = If(%c) @if
          else_branch = graph () -> (%e, %f)
            %e = Neg(%x)
            %f = Neg(%x)
          then_branch = graph () -> (%t, %u)
            %t = Abs(%x)
            %u = ReduceSum(%x, %k)
    """)
    facts = infer(graph, OPS)
    assert str(facts.types["y"]) == "f32[n,3]"
    assert str(facts.types["z"]) == "f32[?,3]"
    assert str(facts.types["u"]) == "f32[1,3]"
    assert [sorted(f.bounds) for f in facts.bodies["if"]] == [["e", "f"], ["t", "u"]]


def test_calls_see_elements_and_absent_operands() -> None:
    graph = parse_text("""
      graph (%x: f32[2,3]) -> (%y)
        %high = constant f32[] 6.0
        %y = Clip(%x, _, %high) @clip
    """)
    call = call_of(graph, infer(graph, OPS), graph.nodes[0])
    assert (call.has_operand(0), call.has_operand(1), call.has_operand(2)) == (True, False, True)
    assert call.value(2) == np.float32(6)


def test_default_sizes_tell_batches_from_sides() -> None:
    graph = parse_text("""
      graph (%x: f32[n,3,h,2*w], %ids: i64[n,length], %state: f32[1,batch_size,8]) -> (%x)
    """)
    assert default_sizes(graph) == {"n": 2, "h": 64, "w": 64, "length": 16, "batch_size": 2}


def test_inference_is_near_linear() -> None:
    def seconds(count: int) -> float:
        nodes = [
            Node("Add", (f"v{k}", "one"), (f"v{k + 1}",), f"n{k}") for k in range(count)
        ]  # fmt: skip
        graph = Graph(
            "chain",
            ("v0",),
            (f"v{count}",),
            tuple(nodes),
            {"one": Constant(np.ones((1, 8), np.float32))},
            {"v0": TensorType(DType.F32, ("n", 8))},
        )
        start = time.process_time()
        assert len(infer(graph, OPS).types) == count + 2
        return time.process_time() - start

    seconds(100)
    assert seconds(4000) < 20 * max(seconds(1000), 0.01)
