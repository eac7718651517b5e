"""Pairs of weights that kernels add in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.ir.graph import Quantization
from slimc.ir.pairs import MAX_PAIR_SUM, limit_pairs, pair_neighbours, sum_pairs
from slimc.ir.types import DType

CONV = (2, 3, 1)  # window, then channels


def saturated(data: np.ndarray, weight: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Sum as VPMADDUBSW does: products of neighbours in 16 bits, with its ends."""
    products = pair_neighbours(data.astype(np.int64) * weight, order).sum(-1)
    return np.clip(products, -(2**15), 2**15 - 1).sum(-1)


def test_neighbours_are_channels_at_one_place_of_the_window() -> None:
    weight = np.arange(2 * 4 * 1 * 2).reshape(2, 4, 1, 2)
    assert pair_neighbours(weight, CONV)[0].tolist() == [[0, 2], [4, 6], [1, 3], [5, 7]]


def test_the_last_of_an_odd_sum_is_alone() -> None:
    assert pair_neighbours(np.array([[1, 2, 3]]), (1,)).tolist() == [[[1, 2], [3, 0]]]


@pytest.mark.parametrize(
    ("pair", "nearest"),
    [
        ([64, 64], [64, 64]),
        ([127, 127], [64, 64]),
        ([127, 2], [126, 2]),
        ([-3, -127], [-2, -126]),
        ([-127, 127], [-127, 127]),
    ],
)
def test_too_large_a_pair_of_one_sign_gives_up_what_is_too_much(
    pair: list[int], nearest: list[int]
) -> None:
    found = limit_pairs(np.array([pair], np.int8), (1,))
    assert (found.tolist(), found.dtype) == ([nearest], np.int8)


@pytest.mark.parametrize("shape", [(8, 5, 3, 3), (8, 4, 1, 1), (6, 1, 3, 3)])
def test_no_data_saturates_what_a_record_with_pairs_makes(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    weight = draw.standard_normal(shape).astype(np.float32)
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    zero = np.zeros(shape[0], np.int8)
    whole = Quantization(DType.I8, scale, zero, -127, 127, 0)
    paired = Quantization(DType.I8, scale, zero, -127, 127, 0, pairs=CONV)
    loud = np.where(draw.random(shape) < 0.5, 255, draw.integers(0, 256, shape))

    def wrong(record: Quantization) -> int:
        integers = record.quantize(weight)
        exact = (loud.astype(np.int64) * integers).sum(axis=(1, 2, 3))
        return int((saturated(loud, integers, CONV) != exact).sum())

    assert wrong(paired) == 0
    assert wrong(whole) > 0
    assert sum_pairs(paired.quantize(weight).astype(int), CONV).max() <= MAX_PAIR_SUM


def test_integers_of_a_record_with_pairs_come_back_the_same() -> None:
    weight = np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
    scale = np.full(4, np.abs(weight).max() / 127, np.float32)
    record = Quantization(DType.I8, scale, np.zeros(4, np.int8), -127, 127, 0, pairs=(1,))
    integers = record.quantize(weight)
    assert (record.quantize(record.dequantize(integers)) == integers).all()
