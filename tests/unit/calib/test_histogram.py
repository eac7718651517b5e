from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.histogram import BINS, Histogram
from slimc.calib.table import ValueRange


def of(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(np.asarray(array, np.float32))
    return histogram


def test_a_limit_that_grew_counts_as_one_that_was_large_at_once() -> None:
    random = np.random.default_rng(0)
    small, large = random.standard_normal(5000), 100 * random.standard_normal(5000)
    grown, at_once = of(small, large), of(large, small)
    assert grown.width == at_once.width
    assert grown.points()[1].sum() == at_once.points()[1].sum() == 10000
    for share in np.linspace(0.01, 0.99, 50):  # an element at an edge may round into the next bin
        apart = grown.quantile(share) - at_once.quantile(share)
        assert abs(apart) <= grown.width


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99, 0.9999])
def test_quantiles_are_those_of_the_elements(share: float) -> None:
    array = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    found = of(*np.split(array, 4)).quantile(share)
    below = float((array < found).mean())
    assert below == pytest.approx(share, abs=1e-3, rel=0.1)  # what one bin holds


def test_quantiles_of_a_rectified_value() -> None:
    array = np.maximum(np.linspace(-1, 1, 1001), 0)
    histogram = of(array)
    assert histogram.quantile(0.001) == histogram.quantile(0.5) == 0
    assert histogram.quantile(0.75) == pytest.approx(0.5, abs=0.003)


def test_extremes_are_exact() -> None:
    histogram = of(np.array([-3.25, 0, 7.5]), np.array([8.0]))
    assert histogram.extremes == ValueRange(-3.25, 8.0)
    assert histogram.quantile(0) == -3.25
    assert histogram.quantile(1) == 8.0


def test_zeros_are_counted_apart() -> None:
    positions, counts = of(np.array([0.0, -0.0, 0.0, 2.0])).points()
    assert counts.tolist() == [1]
    assert positions == pytest.approx([2.0], abs=4 / BINS)


def test_inside_and_outside_of_a_range() -> None:
    histogram = of(np.array([-5.0, -1.0, 1.0, 2.0, 3.0, 9.0]))
    inside, outside = histogram.count_bins(ValueRange(-2, 4))
    assert inside.sum() == 4
    assert outside == (1, 1)


@pytest.mark.parametrize("value", [1e-45, 1e-30, 1.0, 3.4e38])
def test_any_magnitude_has_a_place(value: float) -> None:
    histogram = of(np.array([value, value, -value]))
    assert histogram.points()[1].sum() == 3


def test_joined_counts_the_elements_of_both() -> None:
    small, large, whole = Histogram(), Histogram(), Histogram()
    for array, one in ((np.array([0, 0.5, -0.25]), small), (np.array([0, 100.0]), large)):
        one.add(array)
        whole.add(array)
    both = small.merge(large)
    assert both.extremes == whole.extremes
    for made, expected in zip(both.points(), whole.points(), strict=True):
        assert made.tolist() == expected.tolist()
    assert both.quantile(0.4) == whole.quantile(0.4)
    assert small.merge(Histogram()).points()[0].tolist() == small.points()[0].tolist()
