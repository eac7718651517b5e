from __future__ import annotations

import numpy as np

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.index_space import AxisOf, LabelOf
from slimc.analysis.prune_groups import families, step
from slimc.analysis.shapes import default_sizes, infer
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.explanation import Explanation

RESIDUAL = """
graph (%x: f32[1,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[5,8,1,1] random(2)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @a
  %r = Relu(%a) @r
  %b = Conv(%r, %wb) {pads=[1, 1, 1, 1]} @b
  %s = Add(%b, %r) @s
  %y = Conv(%s, %wc) @c
"""


def coupled(text: str, keep: tuple[str, ...] = ()) -> Coupling:
    graph = parse_text(text)
    return couple(graph, OPS, infer(graph, OPS, default_sizes(graph)), keep)


def widths(text: str) -> dict[str, int]:
    return {f.name: f.width for f in families(coupled(text)) if f.width > 1}


def sentences(text: str, node: str) -> tuple[str, ...]:
    coupling = coupled(text)
    explanation = Explanation(coupling, families(coupling))
    return explanation.explain(coupling.graph.by_name[node])


def test_a_residual_addition_ties_both_branches() -> None:
    found = [f for f in families(coupled(RESIDUAL)) if f.width > 1]
    assert [(f.name, f.width) for f in found] == [("a", 8)]
    assert {"a", "r", "b", "s", "c"} <= set(found[0].nodes)


def test_inputs_and_outputs_are_pinned() -> None:
    coupling = coupled(RESIDUAL)
    for value in ("x", "y"):
        assert coupling.pinned[coupling.units_at(AxisOf(value, 1))].all()


def test_each_index_of_a_unit_stands_at_the_same_place_in_both_branches() -> None:
    coupling = coupled(RESIDUAL)
    a, b = (coupling.units_at(AxisOf(v, 1)).tolist() for v in ("a", "b"))
    assert a == b
    assert len(set(a)) == 8


def test_a_concatenation_keeps_its_parts_apart() -> None:
    text = """
    graph (%x: f32[1,3,4,4]) -> (%y)
      %wa = constant f32[4,3,1,1] random(0)
      %wb = constant f32[6,3,1,1] random(1)
      %wc = constant f32[2,10,1,1] random(2)
      %a = Conv(%x, %wa) @a
      %b = Conv(%x, %wb) @b
      %j = Concat(%a, %b) {axis=1} @j
      %y = Conv(%j, %wc) @c
    """
    assert widths(text) == {"a": 4, "b": 6}


def test_an_unknown_operator_pins_what_it_touches_and_says_so() -> None:
    text = RESIDUAL.replace("Relu(%a)", "my.domain.Strange(%a)").replace(
        "-> (%y)\n", "-> (%y)\n  opset my.domain 1\n"
    )
    text = text.replace("%r =", "%r: f32[1,8,8,8] =")
    assert not [f for f in families(coupled(text)) if f.width > 1]
    said = sentences(text, "b")
    assert any("'r' (my.domain.Strange)" in s and "cannot lose" in s for s in said)


def test_the_path_to_a_graph_output_is_named() -> None:
    text = """
    graph (%x: f32[2,6]) -> (%z)
      %w = constant f32[6,4] random(0)
      %y = MatMul(%x, %w) @fc
      %r = Relu(%y) @act
      %z = Neg(%r) @neg
    """
    assert sentences(text, "fc") == (
        "'fc' cannot lose output channels: axis 1 of value 'y' reaches graph output 'z' "
        "through 'act' (Relu), 'neg' (Neg)",
        "'fc' cannot lose input channels: axis 1 of value 'x' reaches graph input 'x'",
    )


def test_a_depthwise_convolution_goes_along() -> None:
    text = """
    graph (%x: f32[1,3,8,8]) -> (%y)
      %wa = constant f32[8,3,1,1] random(0)
      %wb = constant f32[8,1,3,3] random(1)
      %wc = constant f32[5,8,1,1] random(2)
      %a = Conv(%x, %wa) @a
      %b = Conv(%a, %wb) {group=8} @b
      %y = Conv(%b, %wc) @c
    """
    assert widths(text) == {"a": 8}


def test_a_grouped_convolution_loses_the_same_channels_of_every_group() -> None:
    text = """
    graph (%x: f32[1,3,8,8]) -> (%y)
      %wa = constant f32[8,3,1,1] random(0)
      %wb = constant f32[12,4,3,3] random(1)
      %wc = constant f32[5,12,1,1] random(2)
      %a = Conv(%x, %wa) @a
      %b = Conv(%a, %wb) {group=2} @b
      %y = Conv(%b, %wc) @c
    """
    assert widths(text) == {"a": 4, "b": 6}
    coupling = coupled(text)
    assert (
        coupling.units_at(AxisOf("a", 1)).tolist() == [*range(4), *range(4)]
        or (coupling.units_at(AxisOf("a", 1))[:4] == coupling.units_at(AxisOf("a", 1))[4:]).all()
    )


ATTENTION = """
graph (%x: f32[1,5,16]) -> (%y)
  %wq = constant f32[16,12] random(0)
  %wk = constant f32[16,12] random(1)
  %wv = constant f32[16,12] random(2)
  %wo = constant f32[12,16] random(3)
  %split = constant i64[4] [1, 5, 3, 4]
  %join = constant i64[3] [1, 5, 12]
  %q = MatMul(%x, %wq) @q
  %k = MatMul(%x, %wk) @k
  %v = MatMul(%x, %wv) @v
  %q4 = Reshape(%q, %split) @q4
  %k4 = Reshape(%k, %split) @k4
  %v4 = Reshape(%v, %split) @v4
  %qh = Transpose(%q4) {perm=[0, 2, 1, 3]} @qh
  %kh = Transpose(%k4) {perm=[0, 2, 3, 1]} @kh
  %vh = Transpose(%v4) {perm=[0, 2, 1, 3]} @vh
  %s = MatMul(%qh, %kh) @s
  %p = Softmax(%s) {axis=-1} @p
  %o = MatMul(%p, %vh) @o
  %ot = Transpose(%o) {perm=[0, 2, 1, 3]} @ot
  %oj = Reshape(%ot, %join) @oj
  %y = MatMul(%oj, %wo) @proj
"""


def test_attention_is_cut_inside_its_heads_where_both_factors_are_free() -> None:
    assert widths(ATTENTION) == {"q": 4, "v": 4}


def test_attention_is_cut_by_heads_where_the_inside_is_pinned() -> None:
    text = ATTENTION.replace("MatMul(%qh, %kh)", "MatMul(%qn, %kh)").replace(
        "  %s =", "  %qn = Softmax(%qh) {axis=-1} @qn\n  %vn = Softmax(%vh) {axis=-1} @vn\n  %s ="
    )
    text = text.replace("MatMul(%p, %vh)", "MatMul(%p, %vn)")
    assert widths(text) == {"q": 3}


def test_matrices_read_twice_stay_shared_and_vectors_may_part() -> None:
    text = """
    graph (%x: f32[1,3,8,8], %z: f32[1,3,8,8]) -> (%y, %u)
      %w = constant f32[8,3,1,1] random(0)
      %b = constant f32[8] random(1)
      %wc = constant f32[5,8,1,1] random(2)
      %a = Conv(%x, %w, %b) @a
      %c = Conv(%z, %w, %b) @c
      %y = Conv(%a, %wc) @ya
      %u = Conv(%c, %wc) @yc
    """
    assert widths(text) == {"a": 8}
    apart = text.replace("%c = Conv(%z, %w, %b)", "%c = Conv(%z, %v, %b)")
    apart = apart.replace("      %a =", "      %v = constant f32[8,3,1,1] random(9)\n      %a =")
    apart = apart.replace("Conv(%c, %wc)", "Conv(%c, %wd)")
    apart = apart.replace("      %a =", "      %wd = constant f32[5,8,1,1] random(8)\n      %a =")
    assert widths(apart) == {"a": 8, "c": 8}


def test_a_size_that_is_computed_with_is_pinned() -> None:
    text = """
    graph (%x: f32[2,6]) -> (%y)
      %w = constant f32[6,4] random(0)
      %v = constant f32[4,3] random(1)
      %one = constant i64[] [1]
      %h = MatMul(%x, %w) @fc
      %s = Shape(%h) @shape
      %n = Gather(%s, %one) @width
      %f = Cast(%n) {to=1} @float
      %q = Sqrt(%f) @root
      %d = Div(%h, %q) @scaled
      %y = MatMul(%d, %v) @out
    """
    assert widths(text) == {}
    assert "which computes with its size" in sentences(text, "fc")[0]


def test_a_size_that_only_a_reshape_reads_is_free() -> None:
    text = """
    graph (%x: f32[N,6,1,1]) -> (%y)
      %w = constant f32[4,6,1,1] random(0)
      %v = constant f32[4,3] random(1)
      %zero = constant i64[] [0]
      %one = constant i64[] [1]
      %axes = constant i64[1] [0]
      %h = Conv(%x, %w) @conv
      %s = Shape(%h) @shape
      %n = Gather(%s, %zero) @batch
      %c = Gather(%s, %one) @width
      %nu = Unsqueeze(%n, %axes) @nu
      %cu = Unsqueeze(%c, %axes) @cu
      %t = Concat(%nu, %cu) {axis=0} @target
      %f = Reshape(%h, %t) @flat
      %y = MatMul(%f, %v) @out
    """
    assert widths(text) == {"conv": 4}


def test_axes_of_named_size_are_pinned() -> None:
    text = """
    graph (%x: f32[2,S,4]) -> (%y)
      %w = constant f32[4,6] random(0)
      %v = constant f32[6,3] random(1)
      %h = MatMul(%x, %w) @fc
      %y = MatMul(%h, %v) @out
    """
    coupling = coupled(text)
    assert coupling.pinned[coupling.units_at(AxisOf("h", 1))].all()
    assert widths(text) == {"fc": 6}


def test_kept_nodes_are_pinned() -> None:
    coupling = coupled(RESIDUAL, keep=("c",))
    assert not [f for f in families(coupling) if f.width > 1]
    said = Explanation(coupling, ()).explain(coupling.graph.by_name["a"])
    assert "'c' (Conv), which is kept" in said[0]


def test_statistics_over_channels_are_soft() -> None:
    text = """
    graph (%x: f32[2,5,4]) -> (%y)
      %w = constant f32[4,6] random(0)
      %g = constant f32[6] random(1)
      %v = constant f32[6,3] random(2)
      %h = MatMul(%x, %w) @fc
      %n = LayerNormalization(%h, %g) {axis=-1} @ln
      %y = MatMul(%n, %v) @out
    """
    (family,) = [f for f in families(coupled(text)) if f.width > 1]
    assert family.soft
    assert "approximate" in sentences(text, "fc")[0]


def test_a_step_makes_a_multiple_of_channels_on_every_axis() -> None:
    coupling = coupled(ATTENTION)
    (q, _) = [f for f in families(coupling) if f.width > 1]
    assert step(coupling, q, 1) == 1
    assert step(coupling, q, 2) == 2
    assert step(coupling, q, 16) == 2, "narrower than the multiple: a part of it that leaves steps"


def test_units_are_numbered_alike_every_time() -> None:
    one, two = coupled(ATTENTION), coupled(ATTENTION)
    assert np.array_equal(one.unit, two.unit)
    assert list(one.space.start) == list(two.space.start)
    assert LabelOf("q", "n") in one.space.start or one.space.start
