from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.table import ValueRange
from slimc.ir.types import DType
from slimc.passes.quant.scales import activation_record, weight_record
from slimc.targets.target import Grid

U8 = Grid(DType.U8, 0, 255, symmetric=False)
S8 = Grid(DType.I8, -128, 127, symmetric=True)
S8_FREE = Grid(DType.I8, -128, 127, symmetric=False)
W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)
W7 = Grid(DType.I8, -64, 64, symmetric=True, per_channel=True)
RANGES = [
    ValueRange(-1, 1), ValueRange(0, 6), ValueRange(-0.278, 12), ValueRange(-7, -1),
    ValueRange(2, 3), ValueRange(0, 0),
    ValueRange(-1e-45, 0), ValueRange(-3e38, 3e38), ValueRange(-0.1, 1e6),
]  # fmt: skip


@pytest.mark.parametrize("grid", [U8, S8, S8_FREE], ids=["u8", "s8", "s8-free"])
@pytest.mark.parametrize("span", RANGES, ids=str)
def test_grid_covers_the_range_and_holds_zero(grid: Grid, span: ValueRange) -> None:
    record = activation_record(grid, span)
    assert record.scale.dtype == np.float32
    assert record.scale.shape == record.zero_point.shape == ()
    assert record.scale > 0
    assert record.zero_point == 0 or not grid.symmetric
    assert record.nearest(np.zeros(1, np.float32)) == 0
    inside = np.linspace(span.low, span.high, 50, dtype=np.float32)
    # half a step of rounding, and half a step because the zero point is rounded too
    assert np.abs(record.nearest(inside) - inside).max() <= 1.001 * float(record.scale)


def test_rectified_values_use_every_integer() -> None:
    record = activation_record(U8, ValueRange(0, 6))
    assert record.zero_point == 0
    assert record.scale == np.float32(6 / 255)
    assert activation_record(S8_FREE, ValueRange(0, 6)).zero_point == -128
    assert activation_record(S8, ValueRange(-3, 6)).scale == np.float32(6 / 127)


@pytest.mark.parametrize("grid", [W8, W7], ids=["8-bit", "7-bit"])
@pytest.mark.parametrize("axis", [0, 1, 3])
def test_weights_have_a_scale_per_channel(grid: Grid, axis: int) -> None:
    random = np.random.default_rng(0)
    weight = random.standard_normal((4, 5, 3, 2)).astype(np.float32)
    weight *= 10.0 ** random.integers(
        -6, 6, [n if i == axis else 1 for i, n in enumerate(weight.shape)]
    )
    record = weight_record(grid, weight, axis)
    others = tuple(i for i in range(4) if i != axis)
    assert record.axis == axis
    assert record.scale == pytest.approx(np.abs(weight).max(axis=others) / grid.high, rel=1e-6)
    integers = record.quantize(weight)
    assert (np.abs(integers.astype(int)).max(axis=others) == grid.high).all()
    step = np.expand_dims(record.scale, others)
    assert (np.abs(record.nearest(weight) - weight) <= 0.501 * step).all()  # rounding, in f32


def test_dead_channels_take_the_scale_of_the_others() -> None:
    weight = np.zeros((3, 2), np.float32)
    assert weight_record(W8, weight, 0).scale == pytest.approx([1 / 127] * 3)
    weight[1] = 2.0
    assert weight_record(W8, weight, 0).scale == pytest.approx([2 / 127] * 3)
    assert (weight_record(W8, weight, 0).nearest(weight) == weight).all()


def test_one_scale_where_the_target_has_no_more() -> None:
    tensor = Grid(DType.I8, -127, 127, symmetric=True)
    record = weight_record(tensor, np.array([[1.0, -4.0]], np.float32), 1)
    assert record.axis is None
    assert record.scale == np.float32(4 / 127)


def test_a_paired_grid_leaves_each_channel_the_bits_that_its_pairs_allow() -> None:
    weight = np.array([[1, 1, 0, 0], [1, -1, 0.5, 0.1], [0, 0, 0, 2]], np.float32)
    paired = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True, paired=True)
    record = weight_record(paired, weight, 0, (1,))
    assert record.scale == pytest.approx([2 / 128, 1 / 127, 2 / 127])
    assert record.quantize(weight)[0].tolist() == [64, 64, 0, 0]
    assert weight_record(paired, weight, 0).scale == pytest.approx([1 / 127, 1 / 127, 2 / 127])


@pytest.mark.parametrize("symmetric", [True, False])
def test_few_bits_clip_where_that_loses_less(symmetric: bool) -> None:
    dtype = DType.I4 if symmetric else DType.U4
    grid = Grid(dtype, *dtype.span, symmetric=symmetric, per_channel=True, block=32)
    weight = np.random.default_rng(0).standard_t(4, (64, 8)).astype(np.float32)

    def error(ratios: int | None) -> float:
        record = weight_record(grid, weight, 0, ratios=ratios)
        assert record.scale.shape == (2, 8)
        return float(np.square(record.nearest(weight) - weight).sum())

    assert error(None) == error(40) < 0.95 * error(1)


def test_one_ratio_keeps_the_largest_number_of_each_block() -> None:
    grid = Grid(DType.U4, 0, 15, symmetric=False, per_channel=True, block=2)
    weight = np.array([[1.0], [4.0], [-2.0], [1.0]], np.float32)
    record = weight_record(grid, weight, 0, ratios=1)
    assert record.scale.ravel() == pytest.approx([4 / 15, 3 / 15])
    assert record.zero_point.astype(int).ravel().tolist() == [0, 10]
