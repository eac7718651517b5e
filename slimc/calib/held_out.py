"""Every fifth sample is held out: fits are validated on samples that they have not seen."""

from __future__ import annotations

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, has_sample_axis, specs_of
from slimc.execute.ort import Feed
from slimc.ir.arrays import Ints, Mask

HELD_OUT_EVERY = 5  # every fifth sample is held out


def is_held(numbers: Ints) -> Mask:
    """Return which samples are held out. samples: numbers over all feeds."""
    mask: Mask = numbers % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return mask


def select_held_out(data: Data, samples: int) -> Data:
    """Return the held-out samples among the first `samples`.

    Whole feeds where they cannot be split; all samples where there are fewer than five.
    """
    can_split = has_sample_axis(data.graph)
    feeds: list[Feed] = []
    first = 0
    for feed in data.first_samples(samples):
        leading = count_samples(specs_of(feed), data.graph)
        mask = is_held(first + np.arange(leading))
        if can_split and mask.any():
            feeds.append({name: array[mask] for name, array in feed.items()})
        elif mask.any():
            feeds.append(feed)
        first += leading
    return Data.from_feeds(feeds, data.graph) if feeds else data
