from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.calib.summary import summarize_inputs
from slimc.ir.text import parse_text

GRAPH = parse_text("graph (%x: f32[N,3], %words: string[N]) -> (%y)\n  %y: f32[N,3] = Relu(%x) @r")


def test_numbers_over_all_feeds() -> None:
    arrays = [np.array([[1, 2, 3]], np.float32), np.array([[-4, np.nan, 8], [0, 0, 2]], np.float32)]
    feeds = [{"x": x, "words": np.array(["a"] * len(x), object)} for x in arrays]
    told: list[tuple[int, int]] = []
    x, words = summarize_inputs(Data.from_feeds(feeds, GRAPH), lambda *at: told.append(at))
    kept = np.concatenate([array.ravel() for array in arrays])
    kept = kept[np.isfinite(kept)]
    assert (x.low, x.high, x.bad, words.text) == (-4, 8, 1, True)
    assert (x.mean, x.deviation) == pytest.approx((kept.mean(), kept.std()))
    assert x.kinds == ("f32[1,3]", "f32[2,3]")
    assert told == [(1, 2), (2, 2)]
