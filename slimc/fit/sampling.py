"""Seeded sampling of the results of weighted nodes: some positions of every sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from slimc.calib.held_out import HELD_OUT_EVERY, is_held
from slimc.fit.linear import Linear
from slimc.ir.arrays import Ints, Mask

ROWS = 16384  # sampled results, over all samples: 256 images at 64 positions
ROWS_PER_COLUMN = 8  # and at least so many per column of a least-squares problem
CHUNK_ELEMENTS = 1 << 25  # of inputs of results, in memory at once: 128 MiB


@dataclass(frozen=True)
class Rows:
    """Sampled results of one feed. rows: i64[r], numbers below `Linear.count`; held: bool[r]."""

    rows: Ints
    held: Mask

    def training_rows(self) -> Rows:
        """Return the rows that are not held out."""
        return Rows(self.rows[~self.held], self.held[~self.held])

    def chunks(self, columns: int) -> list[Rows]:
        """Split the rows so that the inputs of a chunk stay small."""
        size = max(1, CHUNK_ELEMENTS // max(1, columns))
        return [
            Rows(self.rows[i : i + size], self.held[i : i + size])
            for i in range(0, len(self.rows), size)
        ]


@dataclass(frozen=True)
class Sampler:
    """Samples the results of weighted nodes in all feeds."""

    leading: tuple[int, ...]
    """Number of samples in each feed."""
    seed: int
    """Seed of the positions."""
    row_count: int = 0
    """Results per node, over all feeds; 0: as many as a least-squares problem needs."""

    @property
    def samples(self) -> int:
        """Number of samples in all feeds."""
        return sum(self.leading)

    def first(self, feed: int) -> int:
        """Return the number of the first sample of a feed."""
        return sum(self.leading[:feed])

    def rows(self, layer: Linear, feed: int, shape: Sequence[int]) -> Rows:
        """Return the sampled results of one feed. shape: of the node's result."""
        sample_count = self.leading[feed]
        return sample_rows(
            layer,
            shape,
            feed,
            self.first(feed),
            self.samples,
            self.seed,
            sample_count,
            self.row_count,
        )

    def parts(self, layer: Linear, feed: int, shape: Sequence[int]) -> list[Rows]:
        """Return the sampled results in chunks with few inputs."""
        return self.rows(layer, feed, shape).chunks(layer.columns * layer.group_count)


def sample_rows(
    layer: Linear,
    shape: Sequence[int],
    feed: int,
    first_sample: int,
    samples: int,
    seed: int,
    sample_count: int = 0,
    row_count: int = 0,
) -> Rows:
    """Sample results of one feed; the same for any two networks whose result has this shape.

    shape: of the node's result; first_sample: number of the feed's first sample among `samples`;
    sample_count: samples of this feed, where the leading axis may count parts of them (windows);
    row_count: how many results, over all samples; 0: as many as a least-squares problem needs.
    Positions differ between samples and feeds. Every fifth sample is held out (`is_held`); of fewer
    than five samples, every fifth position.
    """
    count, leading = layer.count(shape), layer.leading(shape)
    if sample_count and leading % sample_count == 0:
        leading = sample_count
    places = count // max(1, leading)
    row_count = row_count or max(ROWS, ROWS_PER_COLUMN * layer.columns)
    per_sample = min(places, -(-row_count // max(1, samples)))
    rng = np.random.default_rng((seed, crc32(layer.node.name.encode()), feed))
    if per_sample == places:
        positions = np.broadcast_to(np.arange(places), (leading, places))
    else:
        positions = rng.integers(0, places, (leading, per_sample))
    rows = (np.arange(leading)[:, None] * places + positions).reshape(-1)
    if samples >= HELD_OUT_EVERY:
        sample = np.repeat(first_sample + np.arange(leading), per_sample)
        return Rows(rows, is_held(sample))
    return Rows(rows, np.arange(len(rows)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
