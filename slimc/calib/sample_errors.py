"""Output errors of graphs, sample by sample, to tell which of two graphs is closer.

Errors of one graph differ by orders of magnitude between samples (a softmax is nearly exact where
it is confident), so a sum of squares reflects only a few samples. The ratio of the errors of two
graphs on one sample varies far less: graphs are compared by the mean of its logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimc.calib.feeds import count_samples, specs_of
from slimc.execute.ort import Feed, Session
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph

SIGNIFICANT = 2.0  # standard errors that a mean difference must exceed: one in forty by chance
LEAST_SAMPLES = 8  # samples below which a standard error means nothing
_FLOOR = 1e-12  # of the energy of the outputs: smaller errors are f32 rounding


def sample_errors(graph: Graph, others: Sequence[Graph], feeds: Sequence[Feed]) -> Floats:
    """Return ||y - y0||^2 / ||y0||^2 of every sample, summed over the floating outputs.

    graph: computes y0; others: compute y, with Q and DQ nodes unfused. Result: f64[others,
    samples]. A feed whose outputs have no sample axis counts as one sample. Infinite where shapes
    differ.
    """
    session = Session(graph)
    sessions = [Session(other, fuse_integers=False) for other in others]
    errors_by_feed: list[np.ndarray] = []
    for feed in feeds:
        expected = session.run(feed)
        results = [other.run(feed) for other in sessions]
        names = [
            v
            for v, reference in expected.items()
            if getattr(reference, "dtype", np.dtype(int)).kind == "f"
        ]
        names = [v for v in names if expected[v].size]
        leading = count_samples(specs_of(feed), graph)
        can_split = all(expected[v].ndim and len(expected[v]) == leading for v in names)
        errors = np.zeros((len(results), leading if can_split else 1))
        for name in names:
            reference = expected[name].astype(np.float64).reshape(errors.shape[1], -1)
            energy = np.maximum(np.square(reference).sum(axis=1), _FLOOR)
            for error, result in zip(errors, results, strict=True):
                if result[name].shape != expected[name].shape:
                    error += np.inf
                    continue
                difference = result[name].astype(np.float64).reshape(reference.shape) - reference
                error += np.square(difference).sum(axis=1) / energy
        errors_by_feed.append(errors)
    all_errors: Floats = np.maximum(np.concatenate(errors_by_feed, axis=1), _FLOOR)
    return all_errors


def mean_gain_db(before: Floats, after: Floats) -> tuple[float, bool]:
    """Return the mean reduction of the errors over samples in dB, and if it is significant."""
    ratios = 10 * np.log10(before / after)
    if len(ratios) < LEAST_SAMPLES or not np.isfinite(ratios).all():
        return 0.0, False
    mean, spread = float(ratios.mean()), float(ratios.std(ddof=1) / np.sqrt(len(ratios)))
    return mean, mean > SIGNIFICANT * spread


def measure_gain(
    reference: Graph, before: Graph, after: Graph, feeds: Sequence[Feed]
) -> tuple[float, bool]:
    """Return by how many dB `after` is closer to the reference than `before`, and if significantly.

    With too few samples: 0 dB and True, so that a decision made before them holds.
    """
    errors_before, errors_after = sample_errors(reference, [before, after], feeds)
    return (
        mean_gain_db(errors_before, errors_after)
        if len(errors_before) >= LEAST_SAMPLES
        else (0.0, True)
    )
