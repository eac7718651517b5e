"""Classes of work, and what steps multiply and move."""

from __future__ import annotations

import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.latency import Amounts, amounts
from slimc.analysis.shapes import infer
from slimc.analysis.workload import CLASSES, Step, steps
from slimc.ir.text import parse_text
from slimc.ops import OPS

TEXT = """
graph (%x: f32[1,3,8,8]) -> (%y)
  %wa = constant f32[16,3,3,3] random(0)
  %wb = constant f32[16,1,3,3] random(1)
  %wc = constant f32[16,4,3,3] random(2)
  %wd = constant f32[8,16,1,1] random(3)
  %we = constant f32[8,8,3,3] random(4)
  %wf = constant f32[8,5] random(5)
  %shape = constant i64[2] [1, 8]
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @image
  %r = Relu(%a) @relu
  %b = Conv(%r, %wb) {group=16, pads=[1, 1, 1, 1]} @each
  %c = Conv(%b, %wc) {group=4, pads=[1, 1, 1, 1]} @groups
  %p = MaxPool(%c) {kernel_shape=[2, 2], strides=[2, 2]} @window
  %d = Conv(%p, %wd) @point
  %e = Conv(%d, %we) {pads=[1, 1, 1, 1]} @whole
  %s = Sigmoid(%e) @sigmoid
  %m = Mul(%e, %s) @gate
  %t = Transpose(%m) {perm=[0, 2, 3, 1]} @turn
  %q = Softmax(%t) @softmax
  %g = GlobalAveragePool(%m) @mean
  %f = Reshape(%g, %shape) @flat
  %z = MatMul(%f, %wf) @fc
  %k = MatMul(%q, %q2) @scores
  %q2 = Transpose(%q) {perm=[0, 1, 3, 2]} @back
  %y = Foreign(%k, %z) @foreign
"""


def made(text: str = TEXT) -> dict[str, Step]:
    lines = text.splitlines()
    scores = next(i for i, line in enumerate(lines) if "@scores" in line)
    lines[scores], lines[scores + 1] = lines[scores + 1], lines[scores]
    graph = parse_text("\n".join(lines))
    found = steps(couple(graph, OPS, infer(graph, OPS)))
    return {step.node.name: step for step in found}


def test_classes_follow_from_the_rows_of_operators() -> None:
    works = {name: step.work for name, step in made().items()}
    assert works == {
        "image": "shallow",
        "each": "depthwise",
        "groups": "grouped",
        "window": "pooling",
        "point": "pointwise",
        "whole": "convolution",
        "sigmoid": "elementwise",
        "turn": "moving",
        "softmax": "statistics",
        "mean": "statistics",
        "fc": "product",
        "scores": "activations",
        "back": "moving",
        "foreign": "unknown",
    }
    assert set(works.values()) <= set(CLASSES)


@pytest.mark.parametrize(
    ("line", "work"),
    [
        ("MatMul(%w, %x)", "product"),
        ("Gemm(%x, %x, %w)", "activations"),
        ("ReduceSum(%x, %axis) {keepdims=0}", "statistics"),
        ("ReduceL2(%x, %axis)", "statistics"),
        ("ReduceMax(%x, %axis)", "statistics"),
        ("Gather(%x, %axis) {axis=0}", "moving"),
        ("Shape(%x)", "moving"),
        ("Where(%x, %w, %w)", "elementwise"),
        ("Unsqueeze(%x, %axis)", "view"),
        ('Einsum(%x, %x) {equation="ij,kj->ik"}', "activations"),
        ('Einsum(%x, %w) {equation="ij,jk->ik"}', "product"),
        ('Einsum(%x, %x, %w) {equation="ij,jk,kl->il"}', "compound"),
    ],
)
def test_what_a_node_does_alone(line: str, work: str) -> None:
    graph = parse_text(f"""graph (%x: f32[8,8]) -> (%y)
  %w = constant f32[8,8] random(0)
  %axis = constant i64[1] [1]
  %y = {line} @one""")
    (step,) = steps(couple(graph, OPS, infer(graph, OPS)))
    assert step.work == work


def test_what_kernels_do_in_the_same_go_is_one_step() -> None:
    found = made()
    assert found["image"].members == ("image", "relu")
    assert found["mean"].members == ("mean", "flat")
    assert [m for step in found.values() for m in step.members].count("gate") == 1


def test_a_step_multiplies_moves_and_visits() -> None:
    one = amounts(made()["image"], {})
    pixels = 64
    assert one == Amounts(
        macs=16 * 27 * pixels,
        moved=4 * (3 * pixels + 16 * 27 + 16 * pixels),
        inner=4 * 16 * pixels,
        visits=9 * pixels,
    )
    assert amounts(made()["fc"], {}).visits == 0


def test_integers_move_as_many_bits_as_their_records_say() -> None:
    text = """
graph (%x: f32[1,8]) -> (%y)
  %x quantized i8 scale=0.1
  %w = constant f32[8,4] random(0)
  %w quantized i8 scale=0.1
  %y: f32[1,4] = MatMul(%x, %w) @fc integer
"""
    graph = parse_text(text)
    (step,) = steps(couple(graph, OPS, infer(graph, OPS)))
    assert step.work == "integer product"
    assert amounts(step, {}).moved == 8 + 32 + 4 * 4


def test_kinds_that_will_be_integers_count_as_such() -> None:
    lines = (x for x in TEXT.splitlines() if not x.endswith(("@scores", "@back")))
    graph = parse_text("\n".join(lines).replace("Foreign(%k, %z)", "Identity(%z)"))
    coupling = couple(graph, OPS, infer(graph, OPS))
    found = {step.node.name: step for step in steps(coupling, {"Conv"})}
    floats = {step.node.name: step for step in steps(coupling)}
    assert found["point"].work == "integer pointwise"
    assert found["fc"] == floats["fc"]
    assert amounts(found["point"], {}).moved == amounts(floats["point"], {}).moved / 4
