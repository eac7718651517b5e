"""What a feed holds and costs."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.feeds import macs_of
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.ops import OPS

PRODUCT = """graph (%x: f32[N,T,4], %mask: f32[N,T]) -> (%y)
  %w = constant f32[4,8] random(0)
  %y: f32[N,T,8] = MatMul(%x, %w)"""


def test_the_cost_of_a_feed_is_that_of_its_samples() -> None:
    feed = {"x": np.zeros((3, 5, 4), np.float32), "mask": np.zeros((3, 5), np.float32)}
    assert macs_of(feed, parse_text(PRODUCT), OPS, {"N": 7, "T": 7}) == (3 * 5 * 4 * 8, 3)
    fixed = parse_text(PRODUCT.replace("N,T", "3,5"))
    assert macs_of(feed, fixed, OPS, {}) == (3 * 5 * 4 * 8, 3)


def test_a_feed_that_does_not_fit_has_no_cost() -> None:
    feed = {"x": np.zeros((3, 5, 3), np.float32), "mask": np.zeros((3, 5), np.float32)}
    with pytest.raises(SlimcError, match="first feed"):
        macs_of(feed, parse_text(PRODUCT), OPS, {})
