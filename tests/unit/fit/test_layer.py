from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer, retype
from slimc.execute import ort
from slimc.fit.layer import LayerPair, find_changed_values, pair_layers
from slimc.fit.moments import Fit
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.slice_axes import slice_axes
from slimc.remarks import Remark

RNG = np.random.default_rng(0)


def changed(graph: Graph, *constants: str) -> Graph:
    """Return the graph with other numbers in some constants."""
    editor = Editor(graph)
    for name in constants:
        editor.set_constant(name, graph.constants[name].array + np.float32(0.5))
    return editor.finish()


def layers(graph: Graph, *constants: str) -> tuple[list[LayerPair], list[Remark], Graph]:
    student = changed(graph, *constants)
    facts = infer(graph, OPS), infer(student, OPS)
    return (*pair_layers(graph, student, OPS, facts, find_changed_values(graph, student)), student)


def two(second: str, constants: str = "", shape: str = "2,5,6") -> Graph:
    """Return product `a`, and what follows it."""
    return parse_text(f"""
graph (%x: f32[{shape}]) -> (%y)
  %w = constant f32[6,8] random(0)
  %v = constant f32[8,4] random(1)
{constants}
  %h = MatMul(%x, %w) @a
{second}
""")


BIAS = "  %c = constant f32[4] random(2)"
BIASES = {
    "behind": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%t, %c) @add", BIAS, "2,5,6"),
    "before": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%c, %t) @add", BIAS, "2,5,6"),
    "of rank 3": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%t, %c) @add",
                  "  %c = constant f32[1,1,4] random(2)", "2,5,6"),
    "inside": ("  %y = Gemm(%h, %v, %c) @b", BIAS, "5,6"),
    "inside, a row": ("  %y = Gemm(%h, %v, %c) @b", "  %c = constant f32[1,4] random(2)", "5,6"),
    "inside, one number": ("  %y = Gemm(%h, %v, %c) @b", "  %c = constant f32[1] [3.0]", "5,6"),
    "inside, a scalar": ("  %y = Gemm(%h, %v, %c) @b", "  %c = constant f32[] 3.0", "5,6"),
    "inside, none": ("  %y = Gemm(%h, %v) @b", "", "5,6"),
    "weights first": ("  %t = Transpose(%h) {perm=[1,0]} @t\n  %u = Transpose(%v) {perm=[1,0]} @u\n"
                      "  %y = Gemm(%q, %t) @b", "  %q = constant f32[3,8] random(2)", "5,6"),
    "weights first, a column": ("  %t = Transpose(%h) {perm=[1,0]} @t\n  %y = Gemm(%q, %t, %c) @b",
                                "  %q = constant f32[5,8] random(2)\n"
                                "  %c = constant f32[5,1] random(3)", "5,6"),
}  # fmt: skip
NO_BIASES = {
    "none behind": ("  %y = MatMul(%h, %v) @b", "", "2,5,6"),
    "of more axes than the result": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%t, %c) @add",
                                     "  %c = constant f32[1,1,1,4] random(2)", "2,5,6"),
    "of another axis": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%t, %c) @add",
                        "  %c = constant f32[5,1] random(2)", "2,5,6"),
    "a number behind": ("  %t = MatMul(%h, %v) @b\n  %y = Add(%t, %c) @add",
                        "  %c = constant f32[1] random(2)", "2,5,6"),
    "a matrix inside": ("  %y = Gemm(%h, %v, %c) @b", "  %c = constant f32[5,4] random(2)", "5,6"),
    "weights first, a row": ("  %t = Transpose(%h) {perm=[1,0]} @t\n  %y = Gemm(%q, %t, %c) @b",
                             "  %q = constant f32[5,8] random(2)\n"
                             "  %c = constant f32[5] random(3)", "5,6"),
}  # fmt: skip


@pytest.mark.parametrize("name", BIASES)
def test_a_bias_of_the_layer_is_what_is_added_to_its_channels(name: str) -> None:
    graph = two(*BIASES[name])
    (one,), said, student = layers(graph, "w")
    assert not said
    assert one.bias is not None
    editor = Editor(student)
    one.prepare(editor)
    ready = editor.finish()
    x = RNG.standard_normal(infer(graph, OPS).shape("x")).astype(np.float32)
    np.testing.assert_array_equal(ort.run(ready, {"x": x})["y"], ort.run(student, {"x": x})["y"])
    w, b = one.weights(ready)
    more = RNG.standard_normal(b.shape)
    editor = Editor(student)
    one.apply(editor, Fit(2 * w, b + more, 1e-3, 1.0, 0.0))
    made = editor.finish()
    h, y = (ort.run(made, {"x": x}, [v])[v] for v in (one.student.data, one.biased))
    rows = np.arange(one.student.count(y.shape))
    wanted = np.einsum("rgp,gop->rgo", one.student.reads(h, y.shape, rows), 2 * w) + b + more
    np.testing.assert_allclose(one.student.channels(y, rows), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NO_BIASES)
def test_what_is_added_otherwise_is_no_bias(name: str) -> None:
    (one,), _, _ = layers(two(*NO_BIASES[name]), "w")
    assert one.bias is None


def test_a_bias_that_two_layers_share_becomes_two() -> None:
    graph = two(
        "  %s = Gemm(%h, %v, %c) @b\n  %t = Gemm(%h, %u, %c) @d\n  %y = Sub(%s, %t) @sub",
        f"{BIAS}\n  %u = constant f32[8,4] random(3)",
        "5,6",
    )
    found, _, student = layers(graph, "w")
    editor = Editor(student)
    for i, one in enumerate(found):
        w, b = one.weights(student)
        one.apply(editor, Fit(w, b + i + 1, 0.0, 1.0, 0.0))
    made = editor.finish()
    bias = [made.constants[made.by_name[name].inputs[2]].array for name in ("b", "d")]
    old = graph.constants["c"].array
    np.testing.assert_allclose(bias, [old + 1, old + 2], rtol=1e-6)


def test_a_layer_knows_the_sum_that_it_alone_goes_into() -> None:
    residual = "  %t = MatMul(%h, %q) @b\n  %s = Add(%t, %c) @bias\n  %y = Add(%h, %s) @sum"
    constants = "  %q = constant f32[8,8] random(2)\n  %c = constant f32[8] random(3)"
    graph = two(residual, constants)
    (one,), _, _ = layers(retype(graph, OPS), "w")
    assert (one.result, one.biased, one.sum, one.other) == ("t", "s", "y", "h")


def test_a_sum_that_is_broadcast_is_none() -> None:
    graph = two(
        "  %t = MatMul(%h, %v) @b\n  %m = ReduceMean(%t, %k) {keepdims=1} @mean\n"
        "  %q = MatMul(%h, %v2) @d\n  %y = Add(%m, %q) @sum",
        "  %k = constant i64[1] [1]\n  %v2 = constant f32[8,4] random(2)",
    )
    found, _, _ = layers(graph, "w")
    assert [one.sum for one in found] == ["", ""]


def test_layers_that_cannot_be_repaired_are_named() -> None:
    graph = parse_text("""
graph (%x: f32[1,8,6,6]) -> (%y)
  %wi = constant f32[8,8,1,1] random(0)
  %w = constant f32[8,8,3,3] random(1)
  %i = Conv(%x, %wi) @in
  %a = Conv(%i, %w) @once
  %y = Conv(%a, %w) @twice
""")
    found, said, _ = layers(graph, "wi")
    assert not found
    assert [remark.node for remark in said] == ["once", "twice"]


INNER = """
graph (%x: f32[5,6], %go: bool[]) -> (%y)
  %v = constant f32[4,3] random(1)
  %h: f32[5,4] = If(%go) @if
    then_branch = graph () -> (%p)
      %w = constant f32[6,8] random(2)
      %z = constant f32[8,4] random(3)
      %i = MatMul(%x, %w) @up
      %p = MatMul(%i, %z) @down
    else_branch = graph () -> (%q)
      %u = constant f32[6,4] random(4)
      %q = MatMul(%x, %u) @other
  %y = MatMul(%h, %v) @out
"""


def test_layers_in_bodies_are_named_and_those_behind_are_found() -> None:
    graph = parse_text(INNER)
    coupling = couple(graph, OPS, infer(graph, OPS))
    removed = np.zeros(len(coupling.pinned), bool)
    (family,) = [f for f in families(coupling) if f.width == 8]
    removed[family.units[:4]] = True
    student = slice_axes(coupling, removed, "test").graph
    facts = infer(graph, OPS), infer(student, OPS)
    found, said = pair_layers(graph, student, OPS, facts, find_changed_values(graph, student))
    assert [one.node.name for one in found] == ["out"]
    assert {remark.node: remark.message for remark in said} == dict.fromkeys(
        ("up", "down"), "not repaired: it is in a body of 'if'"
    )
