from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.observers import (
    Calibrator,
    LeastError,
    MinMax,
    Observer,
    clip_range,
    make_observer,
    step_size,
)
from slimc.calib.table import ValueRange

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.standard_normal(100_000).astype(np.float32)
RECTIFIED = np.maximum(NORMAL, 0)
OUTLIER = np.append(NORMAL, np.float32(60))


def seen(which: Observer, array: np.ndarray, feeds: int = 5) -> ValueRange:
    for part in np.array_split(array, feeds):
        which.observe(part)
    found = which.range()
    assert found is not None
    return found


def of(name: Calibrator, symmetric: bool = False) -> Observer:
    return make_observer(name, 99.9, 255 if symmetric else 256, symmetric)


@pytest.mark.parametrize(
    "name", ["minmax", "moving-average", "percentile", "entropy", "mse", "auto"]
)
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_range_lies_within_the_extremes(name: Calibrator, symmetric: bool) -> None:
    assert of(name).range() is None
    for array in (NORMAL, RECTIFIED, OUTLIER, np.zeros(10), np.full(10, 3.0)):
        found = seen(of(name, symmetric), array)
        assert float(array.min()) <= found.low <= found.high <= float(array.max())


def test_minmax_is_exact_and_needs_only_extremes() -> None:
    whole, extremes = MinMax(), MinMax()
    for part in np.array_split(OUTLIER, 5):
        whole.observe(part)
        extremes.observe_extremes(ValueRange(float(part.min()), float(part.max())))
    assert whole.range() == extremes.range() == ValueRange(float(OUTLIER.min()), 60.0)


def test_moving_average_follows_the_feeds() -> None:
    which = of("moving-average")
    which.observe(np.array([0.0, 1.0]))
    which.observe(np.array([-1.0, 11.0]))
    assert which.range() == ValueRange(pytest.approx(-0.1), pytest.approx(2.0))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    "array", [NORMAL, RECTIFIED, NORMAL**3], ids=["two-sided", "one-sided", "tails"]
)
def test_auto_loses_hardly_more_than_the_best_of_the_others(
    array: np.ndarray, symmetric: bool
) -> None:
    levels = 255 if symmetric else 256
    unseen = np.random.default_rng(1).permutation(array)[: array.size // 2]

    def error(found: ValueRange) -> float:
        step = step_size(found, levels, symmetric)
        rounded = np.rint(np.clip(unseen, found.low, found.high) / step) * step
        return float(np.square(unseen - rounded).mean())

    others = [of(name, symmetric) for name in ("minmax", "percentile", "entropy", "mse")]
    # a fifth: the largest elements, which decide, are few, and stand in one half or the other
    assert error(seen(of("auto", symmetric), array)) <= 1.2 * min(
        error(seen(other, array)) for other in others
    )


def test_percentile_cuts_both_tails() -> None:
    found = seen(of("percentile"), OUTLIER)
    assert found.high == pytest.approx(float(np.quantile(OUTLIER, 0.999)), rel=0.02)
    assert found.low == pytest.approx(float(np.quantile(OUTLIER, 0.001)), rel=0.02)
    assert seen(of("percentile"), RECTIFIED).low == 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("array", [NORMAL, RECTIFIED, OUTLIER], ids=["normal", "relu", "outlier"])
def test_least_error_is_that_of_a_search_over_the_elements(
    array: np.ndarray, symmetric: bool
) -> None:
    levels = 255 if symmetric else 256
    extremes = ValueRange(float(array.min()), float(array.max()))

    def error(part: ValueRange) -> float:
        step = step_size(part, levels, symmetric)
        rounded = np.rint(np.clip(array, part.low, part.high) / step) * step
        return float(np.square(array - rounded).mean())

    shares = np.linspace(1, LeastError.LEAST, LeastError.CANDIDATES)
    least = min(error(clip_range(extremes, share * extremes.magnitude)) for share in shares)
    assert error(seen(of("mse", symmetric), array)) == pytest.approx(least, rel=0.02)


def test_entropy_drops_what_is_rare() -> None:
    assert seen(of("entropy", True), OUTLIER).high < 15
    # nothing to gain where no element is rare
    even = np.linspace(0, 4, 100_000, dtype=np.float32)
    assert seen(of("entropy"), even).high > 3.9
