"""Scales of channels by the error that 8 bits cause in what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.held_out import HELD_OUT_EVERY, is_held
from slimc.calib.observers import TINY
from slimc.calib.table import ValueRange
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.linear import Linear
from slimc.fit.sampling import Sampler
from slimc.ir.arrays import Floats, Mask
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.axes import labels_of
from slimc.passes.context import Context
from slimc.passes.quant.range_search import squared_row_norms, sum_halves
from slimc.passes.quant.scalable_channels import ScalableChannels, spread_over_inputs
from slimc.passes.quant.scales import activation_record, weight_record
from slimc.targets.target import Grid

MAX_ROWS = 1024  # results of a product that are looked at, all samples together
POWERS = ((0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.0),
          (0.5, 0.5), (0.65, 0.35), (0.8, 0.2))  # fmt: skip  # of ranges of values, of weights
SHRINKS = (1.0, 0.8, 0.6, 0.45)  # of the range of a value, the best of which calibration would find
MAX_FACTOR = 64.0  # a channel is scaled by no more: tiny ones hold noise
SURE_RATIO = 0.97  # of the error before: what is gained less is luck
_W8 = Grid(DType.I8, -127, 127, symmetric=True, per_channel=True)


@dataclass(frozen=True, eq=False)
class ScalingChoice:
    """Scales of a site's channels, and the errors on results held out without and with them."""

    site: ScalableChannels
    s: Floats
    is_new: bool
    before: float
    after: float


@dataclass(eq=False)
class _ReadInputs:
    """What a product reads: rows [r, g, p], which are held out; extremes of its channels."""

    linear: Linear
    w: np.ndarray
    rows: list[np.ndarray]
    held: list[np.ndarray]
    low: Floats
    high: Floats


def choose_scalings(
    graph: Graph, ctx: Context, sites: Sequence[ScalableChannels], samples: int
) -> list[ScalingChoice]:
    """Choose scales for all sites in one walk over the samples."""
    feeds = list(ctx.data.first_samples(samples)) if sites else []
    if not feeds:
        return []
    waiting = {reader.node.name: site for site in sites for reader in site.readers}
    readers = {reader.node.name: reader for site in sites for reader in site.readers}
    stops = [node.name for node in graph.nodes if node.name in waiting]
    leading = tuple(count_samples(specs_of(feed), graph) for feed in feeds)
    sampler = Sampler(leading, ctx.seed, MAX_ROWS)
    observations: dict[str, _ReadInputs] = {}
    choices: list[ScalingChoice] = []
    with Store() as store:
        walk = Walk(graph, feeds, stops, store)
        walk.advance()
        for name in stops:
            contraction, site = readers[name], waiting[name]
            read = [walk.value(contraction.data, feed) for feed in range(len(feeds))]
            walk.advance(also=[contraction.result])
            shapes = [walk.value(contraction.result, feed).shape for feed in range(len(feeds))]
            observations[name] = _observe(graph, contraction, read, shapes, sampler)
            own = [observations.get(reader.node.name) for reader in site.readers]
            if None not in own:
                choices.append(
                    _choose_scaling(site, [reads for reads in own if reads is not None], ctx)
                )
                for reader in site.readers:
                    del observations[reader.node.name]
    return choices


def _observe(
    graph: Graph,
    contraction: Linear,
    read: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    sampler: Sampler,
) -> _ReadInputs:
    w = contraction.matrix(graph.constants[contraction.weight].array.astype(np.float32))
    channels = contraction.group_count * contraction.columns // contraction.taps
    observation = _ReadInputs(contraction, w, [], [], np.zeros(channels), np.zeros(channels))
    for feed, (x, shape) in enumerate(zip(read, shapes, strict=True)):
        fitted = _samples_to_fit(contraction, x, sampler, feed)
        if len(fitted):
            channels_read = contraction.inputs(fitted).reshape(-1, channels)
            observation.low = np.minimum(observation.low, channels_read.min(axis=0, initial=0))
            observation.high = np.maximum(observation.high, channels_read.max(axis=0, initial=0))
        rows = sampler.rows(contraction, feed, shape)
        observation.rows.append(contraction.reads(x, shape, rows.rows))
        observation.held.append(rows.held)
    return observation


def _samples_to_fit(contraction: Linear, x: np.ndarray, sampler: Sampler, feed: int) -> np.ndarray:
    """Return the samples of a feed that are not held out: what is clipped shows on the others.

    All where samples do not part the array, or are fewer than five.
    """
    inner = labels_of((contraction.data_axes[0],)) & {*contraction.groups, *contraction.ins}
    leading, first = sampler.leading[feed], sampler.first(feed)
    if (
        sampler.samples < HELD_OUT_EVERY
        or not leading
        or len(x) % leading
        or (inner and leading > 1)
    ):
        return x
    return x[~np.repeat(is_held(first + np.arange(leading)), len(x) // leading)]


def _choose_scaling(
    site: ScalableChannels, inputs: Sequence[_ReadInputs], ctx: Context
) -> ScalingChoice:
    """Choose on rows to choose by, accept on rows held out."""
    rows = [np.concatenate(part.rows).transpose(1, 0, 2) for part in inputs]
    held = [np.concatenate(part.held) for part in inputs]
    largest = np.maximum.reduce([np.maximum(-part.low, part.high) for part in inputs])
    weights = np.maximum.reduce([_largest_weights(part) for part in inputs])
    scalings = [np.ones(site.channels)]
    scalings += [_scales(largest, weights, *powers) for powers in POWERS]
    errors = np.array([
        np.sum([_errors(s, *part, ctx) for part in zip(inputs, rows, held, strict=True)], axis=0)
        for s in scalings
    ])  # fmt: skip  # [tried, half]
    best = int(np.argmin(errors[:, 0]))
    sure = np.isfinite(errors).all() and errors[best, 1] < SURE_RATIO * errors[0, 1]
    best = best if sure else 0
    return ScalingChoice(
        site, scalings[best], best > 0, float(errors[0, 1]), float(errors[best, 1])
    )


def _largest_weights(observation: _ReadInputs) -> np.ndarray:
    """Return the largest weight that reads each input channel."""
    groups, outs, columns = observation.w.shape
    taps = np.abs(observation.w).reshape(groups, outs, columns // observation.linear.taps, -1)
    largest: np.ndarray = taps.max(axis=(1, 3)).reshape(-1)
    return largest


def _scales(values: Floats, weights: np.ndarray, a: float, b: float) -> Floats:
    """Return values^a / weights^b with a geometric mean of 1; 1 where either is zero."""
    alive = (values > 0) & (weights > 0)
    s = np.ones(len(values))
    if alive.any():
        logs = a * np.log(values[alive]) - b * np.log(weights[alive])
        s[alive] = np.exp(np.clip(logs - logs.mean(), -np.log(MAX_FACTOR), np.log(MAX_FACTOR)))
    return s


def _errors(
    s: Floats, observation: _ReadInputs, rows: np.ndarray, held: Mask, ctx: Context
) -> Floats:
    """Return the relative squared errors with scales s, on rows to choose by and held out."""
    wish = ctx.target.quantize.get(observation.linear.node.kind)
    grid = wish.activations if wish is not None and wish.activations is not None else _U8
    factor = spread_over_inputs(observation.linear, s).astype(np.float32)
    x, w = rows / factor, observation.w * factor
    matrix = w.transpose(0, 2, 1)
    flat = w.reshape(-1, w.shape[2])
    record = weight_record(_W8, flat, 0)
    rounded = record.nearest(flat).reshape(w.shape).transpose(0, 2, 1)
    energy = sum_halves(squared_row_norms(x @ matrix), held)
    of_weights = sum_halves(squared_row_norms(x @ (rounded - matrix)), held)
    best = np.full(2, np.inf)
    for shrunk in SHRINKS:
        low, high = (
            float((observation.low / s).min()) * shrunk,
            float((observation.high / s).max()) * shrunk,
        )
        rounding = activation_record(grid, ValueRange(low, high))
        error = sum_halves(squared_row_norms((rounding.nearest(x) - x) @ matrix), held)
        best = error if error[0] < best[0] else best
    return (best + of_weights) / np.maximum(energy, TINY)


_U8 = Grid(DType.U8, 0, 255, symmetric=False)
