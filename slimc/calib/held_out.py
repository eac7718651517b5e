"""Every fifth sample is held out: fits are judged on samples that they have not seen."""

from __future__ import annotations

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import has_sample_axis, samples_of, specs_of
from slimc.execute.ort import Feed
from slimc.ir.arrays import Ints, Mask

HELD = 5  # every fifth sample is held out


def is_held(samples: Ints) -> Mask:
    """Tell which samples, counted over all feeds, are held out."""
    held: Mask = samples % HELD == HELD - 1
    return held


def held_out(data: Data, samples: int) -> Data:
    """Return the first `samples` samples without those that moments are summed of.

    Whole feeds where they cannot be cut; all samples where there are fewer than five.
    """
    apart = has_sample_axis(data.graph)
    feeds: list[Feed] = []
    first = 0
    for feed in data.first_samples(samples):
        leading = samples_of(specs_of(feed), data.graph)
        held = is_held(first + np.arange(leading))
        if apart and held.any():
            feeds.append({name: array[held] for name, array in feed.items()})
        elif held.any():
            feeds.append(feed)
        first += leading
    return Data.from_feeds(feeds, data.graph) if feeds else data
