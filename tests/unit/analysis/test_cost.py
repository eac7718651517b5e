from __future__ import annotations

from slimc.analysis.cost import macs, measure, parameters, size_bytes
from slimc.analysis.shapes import infer
from slimc.ir.text import parse_text
from slimc.ops import OPS

NET = parse_text("""
  graph (%x: f32[n,4,6,6]) -> (%y)
    %w = constant f32[8,2,3,3] random(0)
    %b = constant f32[8] random(1)
    %v = constant f32[128,10] random(2)
    %shape = constant i64[2] [0, -1]
    %half = constant f32[] 0.5
    %c = Conv(%x, %w, %b) {group=2} @conv
    %s = Mul(%c, %half) @scale
    %f = Reshape(%s, %shape) @flat
    %y = MatMul(%f, %v) @head
""")


def test_macs_are_the_textbook_numbers() -> None:
    facts = infer(NET, OPS, {"n": 3})
    assert macs(NET, OPS, facts) == {"conv": 3 * 8 * 4 * 4 * 2 * 9, "head": 3 * 128 * 10}


def test_nodes_of_unknown_sizes_are_left_out() -> None:
    assert macs(NET, OPS, infer(NET, OPS)) == {}


def test_parameters_are_trained_numbers() -> None:
    assert parameters(NET) == 8 * 2 * 9 + 8 + 128 * 10
    assert size_bytes(NET) == 4 * (parameters(NET) + 1) + 16


def test_a_node_with_branches_costs_as_much_as_the_dearest() -> None:
    graph = parse_text("""
      graph (%c: bool[], %x: f32[2,3]) -> (%y)
        %y = If(%c) @if
          else_branch = graph () -> (%e)
            %e = Neg(%x)
          then_branch = graph () -> (%t)
            %k = constant f32[3,3] random(0)
            %t = MatMul(%x, %k)
    """)
    found = measure(graph, OPS, {})
    assert (found.macs, found.parameters, found.nodes) == (18, 9, 3)


def test_a_product_of_three_is_one_of_two_and_then_another() -> None:
    graph = parse_text("""
      graph (%a: f32[2,3,5], %b: f32[2,5,7], %c: f32[2,7,11]) -> (%y)
        %y = Einsum(%a, %b, %c) {equation="bij,bjk,bkl->bil"} @chain
    """)
    found = macs(graph, OPS, infer(graph, OPS))
    assert found == {"chain": 2 * 3 * 5 * 7 + 2 * 3 * 7 * 11}


def test_an_index_that_stands_in_three_terms_counts_in_both_products() -> None:
    graph = parse_text("""
      graph (%a: f32[2,3], %b: f32[2,3], %c: f32[3,4]) -> (%y)
        %y = Einsum(%a, %b, %c) {equation="ij,ij,jk->k"} @all
    """)
    assert macs(graph, OPS, infer(graph, OPS)) == {"all": 2 * 3 + 3 * 4}
