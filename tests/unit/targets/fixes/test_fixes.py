"""Every fix leaves the values as they are, and nothing for its rule to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from slimc.execute.ort import Session
from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.targets.contractions import conversions
from slimc.targets.fixes.clamps import delete_covered_clamps
from slimc.targets.fixes.file import (
    express_otherwise,
    fold_normalisations,
    name_outputs_once,
    write_older_versions,
)
from slimc.targets.fixes.scales import (
    add_zero_points,
    make_scales_scalar,
    make_signed,
    revive_dead_scales,
    spread_zero_points,
)
from slimc.targets.fixes.storage import (
    store_biases_as_floats,
    store_integers_of_constants,
    store_weights_as_floats,
    store_weights_before_q,
)
from slimc.targets.target import Mended, Subject, Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

QDQ = """graph (%x: f32[2,8]) -> (%y)
  %s = constant f32[{one}] {scale}
  %z = constant {kind}[{one}] {zero}
  %w.q = constant {kind}[8,4] random(0, {span})
  %w.s = constant f32[4] random(1, 0.01..0.02)
  %w.z = constant {kind}[4] fill({weight_zero})
  %q: {kind}[2,8] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[2,8] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[8,4] = DequantizeLinear(%w.q, %w.s, %w.z) {{axis=1}} @dqw
  %y: f32[2,4] = MatMul(%a, %w) @product"""
SIGNED = {"kind": "i8", "span": "-120..120", "weight_zero": "0", "zero": "0"}
SCALAR = {"one": "", "scale": "0.02"}
SYMMETRIC = QDQ.format(**SIGNED, **SCALAR)
UNSIGNED = QDQ.format(kind="u8", span="0..255", weight_zero="128", zero="128", **SCALAR)


def subject(text: str, target: Target = JETSON_ORIN) -> Subject:
    return Subject(parse_text(text), OPS, target, FileHeader(17, 8))


def values(graph: Graph) -> dict[str, np.ndarray]:
    """Run a graph as it stands, on numbers that reach the ends of its integers."""
    random = np.random.default_rng(0)
    feeds = {v: random.normal(0, 2, graph.types[v].shape).astype(np.float32) for v in graph.inputs}
    return Session(graph, optimize=False).run(feeds)


def mended(text: str, fix: Callable[[Subject], Mended], target: Target = JETSON_ORIN) -> Mended:
    """Apply a fix that changes the graph, and check that it changes no value."""
    before = subject(text, target)
    made = fix(before)
    assert made.subject.graph is not before.graph
    wanted, got = values(before.graph), values(made.subject.graph)
    for output in before.graph.outputs:
        if made.tolerance:
            np.testing.assert_allclose(got[output], wanted[output], atol=1e-5)
        else:
            np.testing.assert_array_equal(got[output], wanted[output])
    assert any(one.kind == "applied" for one in made.remarks)
    assert fix(made.subject).subject is made.subject
    return made


def left(text: str, fix: Callable[[Subject], Mended], reason: str) -> None:
    """Check that a fix leaves a graph, and says why."""
    before = subject(text)
    made = fix(before)
    assert made.subject is before
    assert [one.kind for one in made.remarks] == ["skipped"] * len(made.remarks)
    assert any(reason in one.message for one in made.remarks)


def test_zero_points_of_i8_are_written() -> None:
    text = SYMMETRIC.replace("(%w.q, %w.s, %w.z)", "(%w.q, %w.s)").replace(
        "(%q, %s, %z)", "(%q, %s)"
    )
    made = mended(text, add_zero_points)
    assert all(one.has_zero for one in conversions(made.subject.graph))


def test_a_q_that_says_its_type_otherwise_gets_a_zero_point() -> None:
    text = SYMMETRIC.replace("(%x, %s, %z)", "(%x, %s) {output_dtype=3}")
    made = mended(text, add_zero_points)
    assert "output_dtype" not in made.subject.graph.by_name["q"].attrs


def test_a_q_that_is_u8_by_default_is_left() -> None:
    text = UNSIGNED.replace("(%x, %s, %z)", "(%x, %s)")
    left(text, add_zero_points, "u8 by ONNX")


def test_i8_around_another_number_is_left() -> None:
    text = SYMMETRIC.replace("%z = constant i8[] 0", "%z = constant i8[] 3")
    left(text, add_zero_points, "around another number")


def test_lists_of_one_scale_become_scalars() -> None:
    text = QDQ.format(**SIGNED, one="1", scale="[0.02]").replace("[1] 0", "[1] [0]")
    made = mended(text, make_scales_scalar)
    ends = [one for one in conversions(made.subject.graph) if one.node.name != "dqw"]
    assert [(one.scale.ndim, one.zero.ndim) for one in ends] == [(0, 0), (0, 0)]


def test_one_zero_point_is_spread_over_all_scales() -> None:
    text = SYMMETRIC.replace("%w.z = constant i8[4] fill(0)", "%w.z = constant i8[] 0")
    before = subject(text)
    made = spread_zero_points(before)
    assert [one.node for one in made.remarks] == ["dqw"]
    np.testing.assert_array_equal(
        values(made.subject.graph)["y"], values(parse_text(SYMMETRIC))["y"]
    )


def test_two_zero_points_for_four_scales_are_left() -> None:
    text = SYMMETRIC.replace("%w.z = constant i8[4] fill(0)", "%w.z = constant i8[2] [0, 1]")
    left(text, spread_zero_points, "which belong together")


@pytest.mark.parametrize("scale", ["f32[4] [0.01, 0, 0.02, 0]", "f32[4] fill(0)"])
def test_weights_of_scale_0_stay_0(scale: str) -> None:
    text = SYMMETRIC.replace("f32[4] random(1, 0.01..0.02)", scale)
    made = mended(text, revive_dead_scales)
    (weights,) = [one for one in conversions(made.subject.graph) if one.node.name == "dqw"]
    assert (weights.scale > 0).all()


def test_data_of_scale_0_are_left() -> None:
    left(SYMMETRIC.replace("0.02\n", "0\n", 1), revive_dead_scales, "no one says")


def test_u8_around_128_becomes_i8() -> None:
    made = mended(UNSIGNED, make_signed)
    assert {one.integers for one in conversions(made.subject.graph)} == {DType.I8}
    assert made.subject.graph.types["q"].dtype is DType.I8


def test_u8_around_another_number_is_left() -> None:
    text = UNSIGNED.replace("%z = constant u8[] 128", "%z = constant u8[] 3")
    made = make_signed(subject(text))
    assert [(one.kind, one.node) for one in made.remarks] == [
        ("skipped", "q"),
        ("skipped", "dq"),
        ("applied", "dqw"),
    ]


def test_integers_that_others_read_are_left() -> None:
    text = UNSIGNED.replace("-> (%y)", "-> (%y, %q)").replace("128)", "7)")
    left(text, make_signed, "read as what they are")


def test_biases_of_i32_become_floats() -> None:
    text = SYMMETRIC.replace("%y: f32[2,4] = MatMul(%a, %w)", "%y: f32[2,4] = Gemm(%a, %w, %b)")
    text = text.replace(
        "  %q: i8",
        "  %b.q = constant i32[4] random(3, -9000..9000)\n"
        "  %b.s = constant f32[4] random(4, 0.0002..0.0004)\n"
        "  %b: f32[4] = DequantizeLinear(%b.q, %b.s) {axis=0} @dqb\n  %q: i8",
    )
    made = mended(text, store_biases_as_floats)
    assert "dqb" not in made.subject.graph.by_name
    assert "dqw" in made.subject.graph.by_name


def test_stored_weights_become_floats() -> None:
    made = mended(SYMMETRIC, store_weights_as_floats)
    assert [one.node.name for one in conversions(made.subject.graph)] == ["q", "dq"]


def test_blocks_of_4_bits_become_floats() -> None:
    text = """graph (%x: f32[2,8]) -> (%y)
  %w.q = constant i4[8,4] random(0, -8..7)
  %w.s = constant f32[2,4] random(1, 0.01..0.02)
  %w: f32[8,4] = DequantizeLinear(%w.q, %w.s) {axis=0, block_size=4} @dqw
  %y: f32[2,4] = MatMul(%x, %w) @product"""
    made = mended(text, store_weights_as_floats)
    assert not list(conversions(made.subject.graph))


def test_weights_are_stored_before_q() -> None:
    made = mended(SYMMETRIC, store_weights_before_q)
    (weights,) = [one for one in conversions(made.subject.graph) if one.node.name == "dqw"]
    assert weights.stored
    assert made.subject.graph.constants[weights.source].dtype is DType.F32


def test_integers_of_constants_are_stored() -> None:
    text = (
        UNSIGNED.replace("-> (%y)", "-> (%y, %t)")
        + """
  %k = constant f32[2,4] random(5, -9..9)
  %k.t: f32[4,2] = Transpose(%k) {perm=[1,0]}
  %k.u: f32[2,4] = Transpose(%k.t) {perm=[1,0]}
  %k.q: u8[2,4] = QuantizeLinear(%k.u, %s, %z) @kq
  %k.r: f32[2,4] = DequantizeLinear(%k.q, %s, %z) @kdq
  %t: f32[2,4] = Add(%k.r, %y) @sum"""
    )
    made = mended(text, store_integers_of_constants)
    assert "kq" not in made.subject.graph.by_name
    assert "q" in made.subject.graph.by_name


def test_an_output_that_stands_twice_gets_a_name_of_its_own() -> None:
    before = subject("graph (%x: f32[2,8]) -> (%y, %y)\n  %y: f32[2,8] = Relu(%x)")
    made = name_outputs_once(before)
    assert made.subject.graph.outputs == ("y", "y_1")
    assert [one.kind for one in made.remarks] == ["applied"]
    got = values(made.subject.graph)
    np.testing.assert_array_equal(got["y"], got["y_1"])


def test_versions_become_those_of_the_target() -> None:
    before = subject("graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x)", JETSON_NANO)
    made = write_older_versions(replace(before, header=FileHeader(21, 11)))
    assert made.subject.header == FileHeader(13, 8)
    assert write_older_versions(made.subject).subject is made.subject


def test_versions_that_do_not_express_the_graph_stay() -> None:
    before = subject(
        "graph (%x: f32[2,8], %g: f32[1,3,3,2]) -> (%y)\n"
        "  %i = constant f32[1,1,4,4] random(0)\n  %y: f32[1,1,3,3] = GridSample(%i, %g) @grid",
        JETSON_NANO,
    )
    before = replace(before, header=FileHeader(21, 11))
    made = write_older_versions(before)
    assert made.subject is before
    assert made.remarks[0].kind == "skipped"


def test_newer_operators_are_expressed_by_older_ones() -> None:
    text = "graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = HardSwish(%x) @swish"
    made = mended(text, express_otherwise, JETSON_NANO)
    assert "HardSwish" not in {node.op for node in made.subject.graph.nodes}


def test_normalisations_are_folded() -> None:
    text = """graph (%x: f32[1,4,5,5]) -> (%y)
  %w = constant f32[8,4,1,1] random(0)
  %s = constant f32[8] random(1, 0.5..1)
  %c: f32[1,8,5,5] = Conv(%x, %w) @conv
  %y: f32[1,8,5,5] = BatchNormalization(%c, %s, %s, %s, %s) @norm"""
    before = subject(text)
    made = fold_normalisations(before)
    assert [node.op for node in made.subject.graph.nodes] == ["Conv"]
    wanted, got = values(before.graph)["y"], values(made.subject.graph)["y"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


CLAMPED = """graph (%x: f32[2,8]) -> (%y)
  %s = constant f32[] {scale}
  %z = constant u8[] {zero}
  %low = constant f32[] {low}
  %high = constant f32[] {high}
  %r: f32[2,8] = Clip(%x, %low, %high) @clip
  %q: u8[2,8] = QuantizeLinear(%r, %s, %z) @q
  %y: f32[2,8] = DequantizeLinear(%q, %s, %z) @dq"""


@pytest.mark.parametrize(
    ("zero", "low", "high"), [(0, 0, 6), (128, -9, 9), (0, -1, 5.1), (255, -7, 0)]
)
def test_clamps_that_q_does_are_deleted(zero: int, low: float, high: float) -> None:
    text = CLAMPED.format(scale=0.02, zero=zero, low=low, high=high)
    made = mended(text, delete_covered_clamps)
    assert "clip" not in made.subject.graph.by_name


@pytest.mark.parametrize(("zero", "low", "high"), [(3, 0, 6), (128, -9, 2), (0, 0, 5)])
def test_clamps_that_do_more_than_q_stay(zero: int, low: float, high: float) -> None:
    before = subject(CLAMPED.format(scale=0.02, zero=zero, low=low, high=high))
    assert delete_covered_clamps(before).subject is before
