"""Row-major refactoring of shapes: which factors of the old axes make the new ones.

(2, 12) -> (6, 4)   is   r0 (r1 r2) -> (r0 r1) r2   with r0 = 2, r1 = 3, r2 = 4
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from slimc.ir import dims
from slimc.ir.types import Dim, Shape

Run = tuple[range, range]  # axes of the old and of the new shape that hold the same elements


@lru_cache(maxsize=4096)
def refactor(old: Shape, new: Shape) -> tuple[list[str], list[str], dict[str, Dim]]:
    """Return the words of the old and the new axes, and the sizes of their labels.

    No size may be None (use placeholder names). Axes that share no factors are pinned.
    """
    old_words, new_words = ["1"] * len(old), ["1"] * len(new)
    sizes: dict[str, Dim] = {}
    for a, b in _split_runs(old, new):
        factors = _common_factors([old[i] for i in a], [new[j] for j in b])
        if factors is None:
            for i in a:
                old_words[i] = f"x{i}!"
            for j in b:
                new_words[j], sizes[f"y{j}"] = f"y{j}!", new[j]
            continue
        old_labels: dict[int, list[str]] = {}
        new_labels: dict[int, list[str]] = {}
        for i, j, size in factors:
            name = f"r{len(sizes)}"
            sizes[name] = size
            old_labels.setdefault(a[i], []).append(name)
            new_labels.setdefault(b[j], []).append(name)
        for labels_by_axis, words in ((old_labels, old_words), (new_labels, new_words)):
            for axis, names in labels_by_axis.items():
                words[axis] = names[0] if len(names) == 1 else f"({' '.join(names)})"
    return old_words, new_words, sizes


def _split_runs(old: Shape, new: Shape) -> Iterator[Run]:
    """Cut both shapes where the products of the axes so far are equal."""
    i = j = start = begin = 0
    while i < len(old) or j < len(new):
        a = dims.multiply(*old[start:i]) if i > start else None
        b = dims.multiply(*new[begin:j]) if j > begin else None
        if a is not None and dims.are_equal(a, b):
            yield range(start, i), range(begin, j)
            start, begin = i, j
        elif i < len(old) and (a is None or j == len(new) or dims.divide(b, a) is not None):
            i += 1
        elif j < len(new) and (b is None or i == len(old) or dims.divide(a, b) is not None):
            j += 1
        else:
            i, j = i + 1, j + 1
    if i > start or j > begin:
        yield range(start, i), range(begin, j)


def _common_factors(old: Sequence[Dim], new: Sequence[Dim]) -> list[tuple[int, int, Dim]] | None:
    """Return (old axis, new axis, size) of the common factors in order, or None if they clash."""
    if not dims.are_equal(dims.multiply(*old), dims.multiply(*new)) or 0 in old:
        return None
    factors: list[tuple[int, int, Dim]] = []
    i = j = 0
    a: Dim = old[0] if old else 1
    b: Dim = new[0] if new else 1
    while i < len(old) and j < len(new):
        if (a == 1) != (b == 1):  # an axis of size one, or one that is used up, has no counterpart
            i, j = (i + 1, j) if a == 1 else (i, j + 1)
            a, b = (
                (old[i] if i < len(old) else 1, b) if a == 1 else (a, new[j] if j < len(new) else 1)
            )
            continue
        size = a if dims.divide(b, a) is not None else b
        rest_a, rest_b = dims.divide(a, size), dims.divide(b, size)
        if rest_a is None or rest_b is None:
            return None
        factors.append((i, j, size))
        a, b = rest_a, rest_b
        if a == 1:
            i += 1
            a = old[i] if i < len(old) else 1
        if b == 1:
            j += 1
            b = new[j] if j < len(new) else 1
    return factors
