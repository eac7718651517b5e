"""How far two results, or the results of two graphs on the same feeds, are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from slimc.execute.ort import Session
from slimc.ir.arrays import Floats
from slimc.ir.graph import Graph

# Outputs smaller than this are compared as if they were of this size: onnxruntime 1.32 computes
# Sigmoid with an absolute error of 1.4e-7, also where the result is 1e-6.
_SMALL = 4e-3


def difference(wanted: object, got: object) -> float:
    """Return the largest |wanted - got| relative to the largest |wanted|, if that is not tiny.

    0 where both are equal, NaN and infinities included; infinite where shapes differ or numbers
    stand where others are not finite. Of integers, booleans and texts: the share of unequal
    elements. Of sequences: the largest difference of any element.
    """
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(wanted) != len(got):
            return float("inf")
        return max(map(difference, wanted, got), default=0.0)
    if isinstance(wanted, dict) or isinstance(got, dict) or wanted is None or got is None:
        return 0.0 if wanted == got else float("inf")
    a, b = np.asarray(wanted), np.asarray(got)
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    if a.dtype.kind in "iubOUS":
        return float(np.mean(a != b))
    return _relative(_wide(a), _wide(b))


def _wide(array: np.ndarray) -> Floats:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _relative(a: Floats, b: Floats) -> float:
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if not (np.isfinite(a[~same]).all() and np.isfinite(b[~same]).all()):
        return float("inf")
    largest = float(np.abs(a[np.isfinite(a)]).max())
    return float(np.abs(a[~same] - b[~same]).max()) / max(largest, _SMALL)


def differences(
    wanted: Graph, got: Graph, feeds: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, float]:
    """Run two graphs on the same feeds; return the largest difference of every output."""
    first, second = Session(wanted), Session(got)
    worst = dict.fromkeys(wanted.outputs, 0.0)
    for feed in feeds:
        a, b = first.run(feed), second.run(feed)
        for output in worst:
            worst[output] = max(worst[output], difference(a[output], b[output]))
    return worst
