from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.analysis.sparsity import largest_two
from slimc.io.read import FileHeader
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.rules.sparsity import (
    DLA_SPARSE_KERNELS,
    SPARSE_KERNELS,
    SparseWeight,
    sparse_weights,
    sparsity,
)
from slimc.targets.target import Finding, Subject
from slimc.targets.tensorrt.devices import JETSON_ORIN, JETSON_XAVIER

PLAIN = """
graph (%x: f32[1,256,4,4]) -> (%y)
  %w = constant f32[256,256,1,1] random(0)
  %v = constant f32[256,256,1,1] random(1)
  %a = Conv(%x, %w) @first
  %y = Conv(%a, %v) @second
"""
STORED = """
graph (%x: f32[1,256]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w = constant i8[256,256] random(0, -64..64)
  %ws = constant f32[256] random(1, 0.01..0.02)
  %wz = constant i8[256] fill(0)
  %q: i8[1,256] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,256] = DequantizeLinear(%q, %s, %z) @dq
  %f: f32[256,256] = DequantizeLinear(%w, %ws, %wz) {axis=0} @dqw
  %t: f32[256,256] = Transpose(%f) {perm=[1, 0]} @turn
  %y: f32[1,256] = MatMul(%a, %t) @product
"""


def subject(text: str, axes: dict[str, int]) -> Subject:
    """Return a graph in which some constants are made 2:4 along an axis."""
    graph = parse_text(text)
    made = {
        name: Constant(graph.constants[name].array * largest_two(graph.constants[name].array, axis))
        for name, axis in axes.items()
    }
    graph = replace(graph, constants={**graph.constants, **made})
    return Subject(graph, OPS, JETSON_ORIN, FileHeader(17, 8))


def found(text: str, axes: dict[str, int]) -> list[Finding]:
    return list(SPARSE_KERNELS.check(subject(text, axes)))


def test_a_dense_file_gets_no_remark() -> None:
    assert found(PLAIN, {}) == []


def test_sparse_contractions_are_counted_with_their_macs() -> None:
    (one,) = found(PLAIN, {"w": 1})
    assert one.message == "1 of 2 contractions are 2:4: 50 % of their MACs"
    assert (one.severity, one.help) == ("info", "add --sparsity=enable to the arguments of trtexec")


def test_stored_weights_are_seen_behind_dq_and_transpose() -> None:
    counted, with_integers = found(STORED, {"w": 1})  # turned, axis 1 is that of the inputs
    assert counted.message == "1 of 1 contractions are 2:4: 100 % of their MACs"
    assert with_integers.severity == "perf"
    assert "Q/DQ" in with_integers.message


@pytest.mark.parametrize(
    ("change", "axis", "why"),
    [
        (("", ""), 0, "groups of four input channels hold more than two"),
        (("256", "64"), 1, "64 input and 64 output channels are too few"),
        (("256,256,1,1", "256,16,1,1"), 1, "its 16 groups have kernels of their own"),
    ],
)
def test_weights_that_are_half_zero_for_nothing_are_named(
    change: tuple[str, str], axis: int, why: str
) -> None:
    text = PLAIN.replace(*change)
    if "256,16" in text:
        text = text.replace("%w)", "%w) {group=16}").replace("%v)", "%v) {group=16}")
    one = found(text, {"w": axis})[0]
    assert (one.severity, one.node) == ("perf", "first")
    assert why in one.message


def test_half_of_the_numbers_of_odd_channels_are_zero_for_nothing() -> None:
    text = """
graph (%x: f32[1,256]) -> (%y)
  %v = constant f32[256,258] random(0)
  %w = constant f32[258,256] random(1)
  %a = MatMul(%x, %v)
  %y = MatMul(%a, %w) @product
"""
    (one,) = found(text, {"w": 1})
    assert "its 258 input channels are no multiple of 4" in one.message


def test_what_has_no_sparse_kernels_is_named() -> None:
    text = PLAIN.replace("%y = Conv(", "%y = ConvTranspose(")
    one = found(text, {"v": 0})[0]
    assert "there are no sparse kernels of ConvTranspose" in one.message


def test_targets_without_sparse_kernels_say_nothing() -> None:
    xavier = replace(subject(PLAIN, {"w": 1}), target=JETSON_XAVIER)
    assert list(SPARSE_KERNELS.check(xavier)) == []


def test_dla_needs_more_than_64_channels() -> None:
    few, enough = (subject(PLAIN.replace("256", size), {"w": 1}) for size in ("64", "68"))
    assert [one.severity for one in DLA_SPARSE_KERNELS.check(few)] == ["perf", "info"]
    assert [one.severity for one in DLA_SPARSE_KERNELS.check(enough)] == ["info"]


def test_weights_that_pick_channels_are_not_meant() -> None:
    graph = parse_text(PLAIN)
    pick = Constant(np.eye(256, dtype=np.float32)[::-1].reshape(256, 256, 1, 1))
    graph = replace(graph, constants={**graph.constants, "w": pick})
    assert [one.is_meant for one in weights(graph)] == [False, False]


def test_weights_that_are_computed_are_left_out() -> None:
    graph = parse_text("graph (%x: f32[2,4], %w: f32[4,4]) -> (%y)\n  %y = MatMul(%x, %w)\n")
    assert weights(graph) == []
    assert str(sparsity(graph, OPS, ())) == "0 of 1 contractions are 2:4: 0 % of their MACs"


def weights(graph: Graph) -> list[SparseWeight]:
    return list(sparse_weights(graph, OPS, infer(graph, OPS)))
