"""How far the outputs of graphs are off, sample by sample: which of two graphs is nearer.

Errors of one graph differ by orders of magnitude between samples (a softmax is all but exact where
it is sure), so sums of squares are those of a few samples. The ratio of the errors of two graphs on
one sample does not: graphs are compared by the mean of its logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimc.calib.feeds import samples_of, specs_of
from slimc.execute.ort import Feed, Session
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph

SURE = 2.0  # standard errors of the mean that a difference must exceed: one in forty by chance
LEAST = 8  # samples, below which a standard error says nothing
_FLOOR = 1e-12  # of the energy of the outputs: errors below are rounding of f32


def sample_errors(graph: Graph, others: Sequence[Graph], feeds: Sequence[Feed]) -> Floats:
    """Return ||y - y0||^2 / ||y0||^2 of every sample, summed over the floating outputs.

    graph: makes y0; others: make y, with Q and DQ as they stand. f64[others, samples]; a feed whose
    outputs have no leading axis of samples counts as one sample. Infinite where shapes differ.
    """
    session = Session(graph)
    sessions = [Session(other, fuse_integers=False) for other in others]
    found: list[np.ndarray] = []
    for feed in feeds:
        wanted = session.run(feed)
        made = [other.run(feed) for other in sessions]
        names = [v for v, y in wanted.items() if getattr(y, "dtype", np.dtype(int)).kind == "f"]
        names = [v for v in names if wanted[v].size]
        leading = samples_of(specs_of(feed), graph)
        apart = all(wanted[v].ndim and len(wanted[v]) == leading for v in names)
        errors = np.zeros((len(made), leading if apart else 1))
        for name in names:
            y = wanted[name].astype(np.float64).reshape(errors.shape[1], -1)
            energy = np.maximum(np.square(y).sum(axis=1), _FLOOR)
            for error, one in zip(errors, made, strict=True):
                if one[name].shape != wanted[name].shape:
                    error += np.inf
                    continue
                off = one[name].astype(np.float64).reshape(y.shape) - y
                error += np.square(off).sum(axis=1) / energy
        found.append(errors)
    every: Floats = np.maximum(np.concatenate(found, axis=1), _FLOOR)
    return every


def gain(before: Floats, after: Floats) -> tuple[float, bool]:
    """Return by how many dB errors shrink, in the mean over samples, and whether that is sure."""
    ratios = 10 * np.log10(before / after)
    if len(ratios) < LEAST or not np.isfinite(ratios).all():
        return 0.0, False
    mean, spread = float(ratios.mean()), float(ratios.std(ddof=1) / np.sqrt(len(ratios)))
    return mean, mean > SURE * spread


def surely_nearer(
    wanted: Graph, before: Graph, after: Graph, feeds: Sequence[Feed]
) -> tuple[float, bool]:
    """Return by how many dB the outputs of a graph are nearer than another's, and if surely so.

    Too few samples tell nothing: 0 dB, taken as sure, so that what judged them before holds.
    """
    first, second = sample_errors(wanted, [before, after], feeds)
    return gain(first, second) if len(first) >= LEAST else (0.0, True)
