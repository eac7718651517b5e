from __future__ import annotations

from slimc.analysis.coupling import couple
from slimc.analysis.index_space import LabelOf
from slimc.analysis.prune_groups import channel_labels, families
from slimc.analysis.shapes import default_sizes, infer
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.explanation import Explanation
from slimc.remarks import join_names


def explained(text: str) -> Explanation:
    graph = parse_text(text)
    coupling = couple(graph, OPS, infer(graph, OPS, default_sizes(graph)))
    return Explanation(coupling, families(coupling))


def said(text: str, node: str) -> tuple[str, ...]:
    explanation = explained(text)
    return explanation.explain(explanation.coupling.graph.by_name[node])


CHAIN = """
graph (%x: f32[2,6]) -> (%y)
  %wa = constant f32[6,8] random(0)
  %wb = constant f32[8,8] random(1)
  %wc = constant f32[8,3] random(2)
  %a = MatMul(%x, %wa) @a
  %b = MatMul(%a, %wb) @b
  %s = Add(%a, %b) @sum
  %y = MatMul(%s, %wc) @c
"""


def test_what_may_leave_is_told_with_its_company_and_its_family() -> None:
    assert said(CHAIN, "a") == (
        "'a' can lose output channels together with 'b', 'c', as family 'a' (8 wide)",
        "'a' cannot lose input channels: axis 1 of value 'x' reaches graph input 'x'",
    )


def test_a_pin_at_hand_needs_no_way() -> None:
    assert said(CHAIN, "c")[0] == (
        "'c' cannot lose output channels: axis 1 of value 'y' reaches graph output 'y'"
    )


def test_the_way_to_a_pin_lists_the_nodes_between() -> None:
    text = CHAIN.replace("Add(%a, %b) @sum", "Add(%a, %b) @sum\n  %t = Softmax(%s) @soft")
    assert said(text, "b")[0] == (
        "'b' cannot lose output channels: axis 1 of value 'b' reaches 'soft' (Softmax), "
        "which needs every index of it through 'sum' (Add)"
    )


def test_one_channel_cannot_leave() -> None:
    text = """
    graph (%x: f32[2,6]) -> (%y)
      %wa = constant f32[6,1] random(0)
      %wb = constant f32[1,3] random(1)
      %a = MatMul(%x, %wa) @a
      %y = MatMul(%a, %wb) @b
    """
    assert said(text, "a")[0] == "'a' cannot lose output channels: there is but one"


def test_some_of_the_channels_may_be_pinned() -> None:
    text = """
    graph (%x: f32[2,6]) -> (%y, %p)
      %wa = constant f32[6,8] random(0)
      %wb = constant f32[8,3] random(1)
      %parts = constant i64[2] [3, 5]
      %a = MatMul(%x, %wa) @a
      %p, %q = Split(%a, %parts) {axis=1} @split
      %y = MatMul(%a, %wb) @b
    """
    assert said(text, "a")[0].startswith("'a' can lose 5 of its 8 output channels")


def test_an_opaque_node_says_why_it_is_not_understood() -> None:
    text = CHAIN.replace("%b = MatMul(%a, %wb) @b", "%b: f32[2,8] = my.domain.Mix(%a, %wb) @b")
    text = text.replace("-> (%y)\n", "-> (%y)\n  opset my.domain 1\n")
    explanation = explained(text)
    node = explanation.coupling.graph.by_name["b"]
    assert explanation.explain(node) == (
        "'b' cannot lose channels: operator my.domain.Mix is not in the operator table",
    )
    assert "'b' (my.domain.Mix), whose axes are not understood" in said(text, "a")[0]


def test_weighted_are_nodes_whose_weights_are_constants_or_computed_from_such() -> None:
    text = """
    graph (%x: f32[2,6], %z: f32[8,3]) -> (%y)
      %w = constant f32[8,6] random(0)
      %t = Transpose(%w) @turn
      %a = MatMul(%x, %t) @turned
      %y = MatMul(%a, %z) @computed
    """
    assert [node.name for node in explained(text).weighted] == ["turned"]


def test_groups_of_a_depthwise_convolution_are_its_channels() -> None:
    text = """
    graph (%x: f32[1,3,8,8]) -> (%y)
      %wa = constant f32[8,3,1,1] random(0)
      %wb = constant f32[8,1,3,3] random(1)
      %wc = constant f32[5,8,1,1] random(2)
      %a = Conv(%x, %wa) @a
      %b = Conv(%a, %wb) {group=8} @b
      %y = Conv(%b, %wc) @c
    """
    explanation = explained(text)
    labels = channel_labels(explanation.coupling, explanation.coupling.graph.by_name["b"])
    assert LabelOf("b", "g") in labels
    assert "'b' can lose groups together with 'a', 'c', as family 'a' (8 wide)" in said(text, "b")


def test_what_is_approximate_says_why() -> None:
    text = CHAIN.replace(
        "%y = MatMul(%s, %wc)",
        "%g = constant f32[8] random(3)\n  %n = LayerNormalization(%s, %g) {axis=-1} @norm\n"
        "  %y = MatMul(%n, %wc)",
    )
    assert said(text, "a")[0].endswith(
        "approximate: axis 1 of value 'a' reaches 'norm' (LayerNormalization), "
        "whose statistics run over it through 'sum' (Add)"
    )


def test_weighted_members_of_a_family_stand_in_graph_order() -> None:
    explanation = explained(CHAIN)
    (family,) = explanation.families
    assert explanation.weighted_in(family) == ("a", "b", "c")
    assert "sum" in family.nodes


def test_long_lists_are_cut_short() -> None:
    assert join_names(["a", "b"]) == "'a', 'b'"
    assert join_names([*"abcdef"]) == "'a', 'b', 'c', 'd' and 2 more"
    assert join_names(["'a' (Conv)"], quoted=True) == "'a' (Conv)"
