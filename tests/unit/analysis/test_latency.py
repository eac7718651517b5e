from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.cost import size_bytes
from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.latency import Rates, Speed, latency
from slimc.analysis.prune_groups import families, step
from slimc.analysis.removal_cost import Cost, Tally, cost
from slimc.analysis.shapes import infer
from slimc.analysis.workload import ANY
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.slice_axes import slice_axes

MACS, BYTES, NODES = Speed(1, 1e30, 0), Speed(1e30, 1, 0), Speed(1e30, 1e30, 1)
TEXT = """
graph (%x: f32[1,3,8,8]) -> (%y)
  %wa = constant f32[16,3,3,3] random(0)
  %wd = constant f32[16,1,3,3] random(1)
  %wb = constant f32[16,16,1,1] random(2)
  %wc = constant f32[5,16,1,1] random(3)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @a
  %r = Relu(%a) @r
  %d = Conv(%r, %wd) {group=16, pads=[1, 1, 1, 1]} @d
  %b = Conv(%r, %wb) @b
  %s = Add(%d, %b) @s
  %y = Conv(%s, %wc) @c
"""


def coupled(text: str = TEXT) -> Coupling:
    graph = parse_text(text)
    return couple(graph, OPS, infer(graph, OPS))


def of(speed: Speed, multiple: int = 1, text: str = TEXT) -> Cost:
    coupling = coupled(text)
    return latency(coupling, families(coupling), speed, multiple)


def whole(cost: Cost) -> float:
    return cost.of(np.zeros(cost.usage.shape[1], np.int64))


def lost(count: int) -> np.ndarray:
    (width,) = [i for i, f in enumerate(families(coupled())) if f.width == 16]
    found = np.zeros(len(families(coupled())), np.int64)
    found[width] = count
    return found


def test_arithmetic_is_multiply_accumulates_over_the_rate() -> None:
    coupling = coupled()
    macs = cost(coupling, families(coupling), "macs")
    for count in (0, 5, 12):
        assert of(MACS).of(lost(count)) == pytest.approx(macs.of(lost(count)))


def test_what_kernels_fuse_is_not_moved() -> None:
    pixels, c = 64, 16
    moved = 3 * pixels + 3 * pixels * c + pixels * c + pixels * c + pixels * c + 5 * pixels
    # x; r written and read by d and b; b written and read by s (d is fused into it); s is written
    moved += pixels * c  # and read by c
    weights = 16 * 27 + 16 * 9 + 256 + 80
    assert whole(of(BYTES)) == pytest.approx(4 * (moved + weights))


def test_a_fused_node_takes_no_time_of_its_own() -> None:
    assert whole(of(NODES)) == pytest.approx(4)  # six nodes, of which r and s are fused


def test_a_width_in_between_costs_as_much_as_the_next_multiple() -> None:
    for speed in (MACS, BYTES):
        rounded, plain = of(speed, 8), of(speed)
        assert rounded.of(lost(0)) == plain.of(lost(0))
        assert rounded.of(lost(8)) == plain.of(lost(8))
        for count in range(1, 8):
            assert rounded.of(lost(count)) == rounded.of(lost(0)) > rounded.of(lost(8))


def test_channels_narrower_than_the_multiple_are_not_rounded() -> None:
    rounded, plain = of(MACS, 32), of(MACS)
    for count in range(16):
        assert rounded.of(lost(count)) == plain.of(lost(count))


def test_channels_of_groups_are_rounded_as_one_axis() -> None:
    text = """
graph (%x: f32[1,3,4,4]) -> (%y)
  %wa = constant f32[16,3,1,1] random(0)
  %wg = constant f32[16,4,1,1] random(1)
  %wc = constant f32[5,16,1,1] random(2)
  %a = Conv(%x, %wa) @a
  %g = Conv(%a, %wg) {group=4} @g
  %y = Conv(%g, %wc) @c
"""
    coupling = coupled(text)
    found = families(coupling)
    cost = latency(coupling, found, MACS, 8)
    (number,) = [i for i, f in enumerate(found) if f.width == 4]
    one, two = np.zeros((2, len(found)), np.int64)
    one[number], two[number] = 1, 2
    assert cost.of(one) == whole(cost) > cost.of(two)  # four channels a unit: 16, 12, 8


def test_heads_are_not_rounded_as_if_they_were_channels() -> None:
    text = """
graph (%x: f32[1,4,8]) -> (%y)
  %w = constant f32[8,96] random(0)
  %p = constant f32[96,8] random(1)
  %shape = constant i64[4] [1, 4, 12, 8]
  %flat = constant i64[3] [1, 4, 96]
  %h = MatMul(%x, %w) @h
  %s = Reshape(%h, %shape) @s
  %q = Transpose(%s) {perm=[0, 2, 1, 3]} @q
  %k = Transpose(%s) {perm=[0, 2, 3, 1]} @k
  %a = MatMul(%q, %k) @scores
  %o = MatMul(%a, %q) @mixed
  %t = Transpose(%o) {perm=[0, 2, 1, 3]} @t
  %f = Reshape(%t, %flat) @f
  %y = MatMul(%f, %p) @project
"""
    assert whole(of(MACS, 8, text)) == pytest.approx(whole(of(MACS, 1, text)))
    coupling = coupled(text)
    (heads,) = [f for f in families(coupling) if f.width == 12]
    assert step(coupling, heads, 8) == 1


def test_a_tally_follows_rounded_sizes() -> None:
    cost = of(Speed(1e9, 1e8, 1e-6), 8)
    tally = Tally(cost)
    (number,) = np.flatnonzero(lost(1))
    gone = 0
    for count in (1, 3, 4, 2):
        saved = cost.of(lost(gone)) - cost.of(lost(gone + count))
        assert tally.saved(number, count) == pytest.approx(saved, abs=1e-18)
        tally.take(number, count)
        gone += count
        assert tally.total == pytest.approx(cost.of(lost(gone)))
    assert tally.saved(number, 1) == 0


def test_bytes_are_those_of_the_constants_left() -> None:
    coupling = coupled()
    found = families(coupling)
    removed = np.zeros(len(coupling.pinned), bool)
    (number,) = np.flatnonzero(lost(1))
    removed[found[number].units[:6]] = True
    left = slice_axes(coupling, removed, "test").graph
    assert cost(coupling, found, "bytes").of(lost(6)) == size_bytes(left)


def test_a_width_that_is_no_multiple_counts_as_the_next_one_and_no_more() -> None:
    text = TEXT.replace("16,", "58,").replace("group=16", "group=58")
    assert whole(of(MACS, 16, text)) == pytest.approx(whole(of(MACS, 16, text.replace("58", "64"))))


def test_a_measured_class_has_rates_of_its_own() -> None:
    rates = {"pointwise": Rates(0, 0, fixed=1.0), ANY: Rates(0, 0, visit=1.0)}
    speed = Speed(1, 1, 1, measured=rates)
    assert whole(of(speed)) == pytest.approx(2 + 9 * 64 + 9 * 64)  # b, c; a and d have nine taps


def test_integers_that_were_not_measured_multiply_faster_than_floats() -> None:
    speed = Speed(1, 1, 1, 4.0, {"product": Rates(8.0, 1.0, fixed=3.0)})
    assert speed.rates("integer product") == Rates(2.0, 1.0, fixed=3.0)
