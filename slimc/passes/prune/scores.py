"""How much each unit of a family matters, told from the weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from slimc.analysis.group_view import FamilyView, Score
from slimc.ir.arrays import Floats

SliceMeasure = Callable[[np.ndarray], np.ndarray]  # slices [units, elements] -> one number per unit


def measure_units(view: FamilyView, measure: SliceMeasure) -> Floats:
    """Return the importance of every unit of a family by a measure of weight slices.

    The measure of the weights that make the unit times that of the weights that read it, each per
    weight relative to the mean over the family, and averaged over the weights on each side. The
    product, because what a unit adds to its readers scales with both.
    Source: grouped as in Fang et al., CVPR 2023, section 3.3.
    """
    produced = _mean([_relative(measure(slices)) for slices in view.made], view.width)
    consumed = _mean([_relative(measure(slices)) for slices in view.read], view.width)
    return produced * consumed


def l2_norm(slices: np.ndarray) -> Floats:
    """Return sqrt(sum of squares) per unit."""
    importance: Floats = np.sqrt(np.einsum("ij,ij->i", slices, slices, dtype=np.float64))
    return importance


def l1_norm(slices: np.ndarray) -> Floats:
    """Return the sum of absolutes per unit. Source: Li et al., ICLR 2017, section 3.1."""
    importance: Floats = np.abs(slices).sum(axis=1, dtype=np.float64)
    return importance


def distance_to_others(slices: np.ndarray) -> Floats:
    """Return the sum of the distances from a unit's slice to all others of its weight.

    It is least at the geometric median, whose slice the others can stand in for.
    Source: He et al., CVPR 2019, section 3.3.
    """
    x = slices.astype(np.float64)
    squares = np.einsum("ij,ij->i", x, x)
    apart = squares[:, None] + squares - 2 * (x @ x.T)
    np.fill_diagonal(apart, 0.0)
    importance: Floats = np.sqrt(np.maximum(apart, 0.0)).sum(axis=1)
    return importance


def random_importance(view: FamilyView) -> Floats:
    """Return numbers in 0..2, by the view's seed."""
    return np.random.default_rng(view.seed).uniform(0, 2, view.width)


SCORES: Mapping[str, Score] = {
    "magnitude": partial(measure_units, measure=l2_norm),
    "magnitude-l1": partial(measure_units, measure=l1_norm),
    "geometric-median": partial(measure_units, measure=distance_to_others),
    "random": random_importance,
}


def _mean(measures: Sequence[Floats], width: int) -> Floats:
    return np.mean(measures, axis=0) if measures else np.ones(width)


def _relative(measures: Floats) -> Floats:
    mean = float(measures.mean())
    return measures / mean if mean > 0 else np.ones_like(measures)
