"""Which results of a weighted node are looked at: some places of every sample, by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from slimc.calib.held_out import HELD, is_held
from slimc.fit.linear import Linear
from slimc.ir.arrays import Ints, Mask

ROWS = 16384  # results looked at, all samples together: 256 images at 64 places
ROWS_PER_COLUMN = 8  # and at least so many for every column of a least-squares problem
CHUNK_ELEMENTS = 1 << 25  # of what results read, in memory at once: 128 MiB


@dataclass(frozen=True)
class Rows:
    """Results of one feed. rows: i64[r], numbers as `Linear.count` counts; held: bool[r]."""

    rows: Ints
    held: Mask

    def seen(self) -> Rows:
        """Return the results that are not held out."""
        return Rows(self.rows[~self.held], self.held[~self.held])

    def chunks(self, columns: int) -> list[Rows]:
        """Split so that what a chunk reads stays small."""
        size = max(1, CHUNK_ELEMENTS // max(1, columns))
        return [
            Rows(self.rows[i : i + size], self.held[i : i + size])
            for i in range(0, len(self.rows), size)
        ]


@dataclass(frozen=True)
class Sampler:
    """Chooses results of weighted nodes in all feeds. leading: samples of each feed.

    wanted: results of a node, all feeds together; 0: as many as a least-squares problem takes.
    """

    leading: tuple[int, ...]
    seed: int
    wanted: int = 0

    @property
    def samples(self) -> int:
        """Return how many samples all feeds hold."""
        return sum(self.leading)

    def first(self, feed: int) -> int:
        """Return the number of the first sample of a feed."""
        return sum(self.leading[:feed])

    def rows(self, one: Linear, feed: int, shape: Sequence[int]) -> Rows:
        """Return the results of one feed that are looked at. shape: of the node's result."""
        own = self.leading[feed]
        return sample_rows(
            one, shape, feed, self.first(feed), self.samples, self.seed, own, self.wanted
        )

    def parts(self, one: Linear, feed: int, shape: Sequence[int]) -> list[Rows]:
        """Return them in chunks that are small where they are read."""
        return self.rows(one, feed, shape).chunks(one.columns * one.group_count)


def sample_rows(
    one: Linear,
    shape: Sequence[int],
    feed: int,
    first_sample: int,
    samples: int,
    seed: int,
    own: int = 0,
    wanted: int = 0,
) -> Rows:
    """Choose results of one feed; the same for any two networks whose result has this shape.

    shape: of the node's result; first_sample: number of the feed's first sample among `samples`;
    own: samples of this feed, where the leading axis may count parts of them (windows); wanted: how
    many results, all samples together; 0: as many as a least-squares problem takes.
    Places differ between samples and feeds. Every fifth sample is held out (`is_held`); of fewer
    than five samples, every fifth place.
    """
    count, leading = one.count(shape), one.leading(shape)
    if own and leading % own == 0:
        leading = own
    places = count // max(1, leading)
    wanted = wanted or max(ROWS, ROWS_PER_COLUMN * one.columns)
    each = min(places, -(-wanted // max(1, samples)))
    rng = np.random.default_rng((seed, crc32(one.node.name.encode()), feed))
    if each == places:
        at = np.broadcast_to(np.arange(places), (leading, places))
    else:
        at = rng.integers(0, places, (leading, each))
    rows = (np.arange(leading)[:, None] * places + at).reshape(-1)
    if samples >= HELD:
        sample = np.repeat(first_sample + np.arange(leading), each)
        return Rows(rows, is_held(sample))
    return Rows(rows, np.arange(len(rows)) % HELD == HELD - 1)
