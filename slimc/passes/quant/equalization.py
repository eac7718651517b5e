"""Scales of channels by the error that 8 bits cause in what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimc.calib.feeds import samples_of, specs_of
from slimc.calib.held_out import HELD, is_held
from slimc.calib.observers import TINY
from slimc.calib.table import Range
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.linear import Linear
from slimc.fit.sampling import Sampler
from slimc.ir.arrays import Floats, Mask
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.axes import labels_of
from slimc.passes.context import Context
from slimc.passes.quant.range_search import halves, per_row
from slimc.passes.quant.scalable_channels import Site, spread
from slimc.passes.quant.scales import activation_record, weight_record
from slimc.targets.target import Grid

ROWS = 1024  # results of a product that are looked at, all samples together
POWERS = ((0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0),
          (0.5, 0.5), (0.65, 0.35), (0.8, 0.2))  # fmt: skip  # of ranges of values, of weights
SHRUNK = (1.0, 0.8, 0.6, 0.45)  # of the range of a value, the best of which calibration would find
WIDEST = 64.0  # a channel is scaled by no more: tiny ones hold noise
SURELY = 0.97  # of the error before: what is gained less is luck
_W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)


@dataclass(frozen=True, eq=False)
class Choice:
    """Scales of a site's channels, and the errors on results held out without and with them."""

    site: Site
    s: Floats
    is_new: bool
    before: float
    after: float


@dataclass(eq=False)
class _Seen:
    """What a product reads: rows [r, g, p], which are held out; extremes of its channels."""

    one: Linear
    w: np.ndarray
    rows: list[np.ndarray]
    held: list[np.ndarray]
    low: Floats
    high: Floats


def choose(graph: Graph, ctx: Context, sites: Sequence[Site], samples: int) -> list[Choice]:
    """Choose scales for all sites in one walk over the samples."""
    feeds = list(ctx.data.first_samples(samples)) if sites else []
    if not feeds:
        return []
    waiting = {reader.node.name: site for site in sites for reader in site.readers}
    readers = {reader.node.name: reader for site in sites for reader in site.readers}
    stops = [node.name for node in graph.nodes if node.name in waiting]
    leading = tuple(samples_of(specs_of(feed), graph) for feed in feeds)
    sampler = Sampler(leading, ctx.seed, ROWS)
    seen: dict[str, _Seen] = {}
    found: list[Choice] = []
    with Store() as store:
        walk = Walk(graph, feeds, stops, store)
        walk.advance()
        for name in stops:
            one, site = readers[name], waiting[name]
            read = [walk.value(one.data, feed) for feed in range(len(feeds))]
            walk.advance(also=[one.result])
            shapes = [walk.value(one.result, feed).shape for feed in range(len(feeds))]
            seen[name] = _see(graph, one, read, shapes, sampler)
            mine = [seen.get(reader.node.name) for reader in site.readers]
            if None not in mine:
                found.append(_best(site, [one for one in mine if one is not None], ctx))
                for reader in site.readers:
                    del seen[reader.node.name]
    return found


def _see(
    graph: Graph,
    one: Linear,
    read: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    sampler: Sampler,
) -> _Seen:
    w = one.matrix(graph.constants[one.weight].array.astype(np.float32))
    channels = one.group_count * one.columns // one.taps
    seen = _Seen(one, w, [], [], np.zeros(channels), np.zeros(channels))
    for feed, (x, shape) in enumerate(zip(read, shapes, strict=True)):
        fitted = _fitted(one, x, sampler, feed)
        if len(fitted):
            every = one.inputs(fitted).reshape(-1, channels)
            seen.low = np.minimum(seen.low, every.min(axis=0, initial=0))
            seen.high = np.maximum(seen.high, every.max(axis=0, initial=0))
        rows = sampler.rows(one, feed, shape)
        seen.rows.append(one.reads(x, shape, rows.rows))
        seen.held.append(rows.held)
    return seen


def _fitted(one: Linear, x: np.ndarray, sampler: Sampler, feed: int) -> np.ndarray:
    """Return the samples of a feed that are not held out: what is clipped shows on the others.

    All where samples do not part the array, or are fewer than five.
    """
    inner = labels_of((one.data_axes[0],)) & {*one.groups, *one.ins}
    leading, first = sampler.leading[feed], sampler.first(feed)
    if sampler.samples < HELD or not leading or len(x) % leading or (inner and leading > 1):
        return x
    return x[~np.repeat(is_held(first + np.arange(leading)), len(x) // leading)]


def _best(site: Site, seen: Sequence[_Seen], ctx: Context) -> Choice:
    """Choose on rows to choose by, accept on rows held out."""
    rows = [np.concatenate(one.rows).transpose(1, 0, 2) for one in seen]
    held = [np.concatenate(one.held) for one in seen]
    largest = np.maximum.reduce([np.maximum(-one.low, one.high) for one in seen])
    weights = np.maximum.reduce([_largest_read(one) for one in seen])
    tried = [np.ones(site.channels)]
    tried += [_scales(largest, weights, *powers) for powers in POWERS]
    errors = np.array([
        np.sum([_errors(s, *one, ctx) for one in zip(seen, rows, held, strict=True)], axis=0)
        for s in tried
    ])  # fmt: skip  # [tried, half]
    best = int(np.argmin(errors[:, 0]))
    sure = np.isfinite(errors).all() and errors[best, 1] < SURELY * errors[0, 1]
    best = best if sure else 0
    return Choice(site, tried[best], best > 0, float(errors[0, 1]), float(errors[best, 1]))


def _largest_read(one: _Seen) -> np.ndarray:
    """Return the largest weight that reads each input channel."""
    groups, outs, columns = one.w.shape
    taps = np.abs(one.w).reshape(groups, outs, columns // one.one.taps, -1)
    largest: np.ndarray = taps.max(axis=(1, 3)).reshape(-1)
    return largest


def _scales(values: Floats, weights: np.ndarray, a: float, b: float) -> Floats:
    """Return values^a / weights^b with a geometric mean of 1; 1 where either is zero."""
    alive = (values > 0) & (weights > 0)
    s = np.ones(len(values))
    if alive.any():
        logs = a * np.log(values[alive]) - b * np.log(weights[alive])
        s[alive] = np.exp(np.clip(logs - logs.mean(), -np.log(WIDEST), np.log(WIDEST)))
    return s


def _errors(s: Floats, one: _Seen, rows: np.ndarray, held: Mask, ctx: Context) -> Floats:
    """Return the relative squared errors with scales s, on rows to choose by and held out."""
    wish = ctx.target.quantize.get(one.one.node.kind)
    grid = wish.activations if wish is not None and wish.activations is not None else _U8
    factor = spread(one.one, s).astype(np.float32)
    x, w = rows / factor, one.w * factor
    matrix = w.transpose(0, 2, 1)
    flat = w.reshape(-1, w.shape[2])
    record = weight_record(_W8, flat, 0)
    rounded = record.nearest(flat).reshape(w.shape).transpose(0, 2, 1)
    energy = halves(per_row(x @ matrix), held)
    of_weights = halves(per_row(x @ (rounded - matrix)), held)
    best = np.full(2, np.inf)
    for shrunk in SHRUNK:
        low, high = float((one.low / s).min()) * shrunk, float((one.high / s).max()) * shrunk
        laid = activation_record(grid, Range(low, high))
        off = halves(per_row((laid.nearest(x) - x) @ matrix), held)
        best = off if off[0] < best[0] else best
    return (best + of_weights) / np.maximum(energy, TINY)


_U8 = Grid(DType.U8, 0, 255, symmetric=False)
