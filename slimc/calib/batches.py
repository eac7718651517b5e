"""Small feeds of one shape, run together: a run of a small network costs more than its sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.calib.data import Data
from slimc.calib.feeds import Feed, has_sample_axis, samples_of, specs_of

TOGETHER = 8  # samples: half the time of one by one; 32 leave the caches and take longer
SMALL_BYTES = 1 << 20  # of feeds that are put together: beyond, values would leave the caches


@dataclass(frozen=True)
class Batch:
    """A feed, and the numbers of the feeds of the data that it is made of."""

    feed: Feed
    first: int
    count: int

    def where(self, data: Data) -> str:
        """Name the feeds, for people."""
        last = self.first + self.count - 1
        named = f"feed {self.first}" if self.count == 1 else f"feeds {self.first} to {last}"
        return f"{named} of {data.title}"


def single(data: Data) -> Iterator[Batch]:
    """Yield every feed alone."""
    return (Batch(feed, i, 1) for i, feed in enumerate(data))


def joined(data: Data) -> Iterator[Batch]:
    """Yield feeds, those together that follow each other, are small and differ in samples only.

    Where the graph has no axis of samples, each alone.
    """
    if not has_sample_axis(data.graph):
        yield from single(data)
        return
    held: list[Feed] = []
    first = 0
    for i, feed in enumerate(data):
        if held and not _fits(held, feed, data):
            yield _batch(held, first)
            held, first = [], i
        held.append(feed)
    if held:
        yield _batch(held, first)


def _fits(held: list[Feed], feed: Feed, data: Data) -> bool:
    every = [*held, feed]
    samples = sum(samples_of(specs_of(one), data.graph) for one in every)
    size_bytes = sum(array.nbytes for one in every for array in one.values())
    alike = all(array.shape[1:] == held[0][name].shape[1:] for name, array in feed.items())
    return alike and samples <= TOGETHER and size_bytes <= SMALL_BYTES


def _batch(held: list[Feed], first: int) -> Batch:
    if len(held) == 1:
        return Batch(held[0], first, 1)
    feed = {name: np.concatenate([one[name] for one in held]) for name in held[0]}
    return Batch(feed, first, len(held))
