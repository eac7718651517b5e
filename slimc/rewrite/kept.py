"""Indices that stay when channels leave: of one removal after another, and as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

Kept = tuple[tuple[int, ...] | None, ...]  # per axis, the indices that stay; None: all of them


def compose(removals: Iterable[Mapping[str, Kept]]) -> dict[str, Kept]:
    """Return what stays of every value after several removals, as indices before the first.

    removals: of each, value -> per axis the indices that stay of the value as it was just before;
    a value that loses nothing may be missing.
    """
    found: dict[str, Kept] = {}
    for kept in removals:
        for value, then in kept.items():
            first = found.get(value, (None,) * len(then))
            found[value] = tuple(_after(f, t) for f, t in zip(first, then, strict=True))
    return found


def _after(first: tuple[int, ...] | None, then: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if first is None or then is None:
        return first if then is None else then
    return tuple(first[i] for i in then)


def ranges(indices: Sequence[int]) -> str:
    """Write ascending indices as ranges: `0-3,5`."""
    runs: list[str] = []
    for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        members = [index for _, index in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return ",".join(runs)


def indices(text: str) -> tuple[int, ...]:
    """Read what `ranges` wrote. Raises ValueError."""
    found: list[int] = []
    for run in text.split(",") if text else ():
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def take(array: np.ndarray, kept: Kept) -> np.ndarray:
    """Return the indices of an array that stay."""
    for axis, indices in enumerate(kept):
        if indices is not None:
            array = np.take(array, indices, axis=axis)
    return array


def staying(shape: Sequence[int], kept: Kept) -> np.ndarray:
    """Return which elements of an array of a shape stay: bool, of that shape."""
    found = np.zeros(shape, bool)
    found[np.ix_(*(range(n) if k is None else k for k, n in zip(kept, shape, strict=True)))] = True
    return found
