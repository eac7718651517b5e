"""Building blocks of axis signatures as text: numbered labels, marks, broadcast operands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slimc.ir import dims
from slimc.ir.types import Dim, Shape
from slimc.ops.op import Call


def labels(rank: int, letter: str = "a") -> list[str]:
    """Return `a0`, `a1`, ..."""
    return [f"{letter}{i}" for i in range(rank)]


def spell(axes: Sequence[str]) -> str:
    """Return the axes of one operand as text."""
    return " ".join(axes) if axes else "[]"


def join_operands(*texts: str) -> str:
    """Return operands or results as text."""
    return ", ".join(texts)


def blank_rest(call: Call, first: int = 1) -> str:
    """Return `,` for every operand from `first` on: their axes are not described."""
    return "," * max(0, len(call.types) - first)


def mark_axes(axes: Sequence[str], places: Iterable[int], mark: str) -> list[str]:
    """Append `!` or `~` to the axes at `places`."""
    chosen = set(places)
    return [word + mark if i in chosen else word for i, word in enumerate(axes)]


def replace_axis(axes: Sequence[str], place: int, *by: str) -> list[str]:
    """Replace the axis at `place` by others."""
    return [*axes[:place], *by, *axes[place + 1 :]]


def broadcast(shapes: Sequence[Shape | None], letter: str = "a") -> tuple[list[str], list[str]]:
    """Return the text of every operand (absent: empty), and the axes of the broadcast result.

    Axes are matched from the right; an axis of size one against another size is `1`. Where sizes
    may or may not be equal (two names), the result's is unknown and nothing is tied.
    """
    known = [s for s in shapes if s is not None]
    rank = max((len(s) for s in known), default=0)
    columns = [[s[i - rank] for s in known if len(s) >= rank - i] for i in range(rank)]
    result = [_joint_label(column, f"{letter}{i}") for i, column in enumerate(columns)]
    texts = []
    for k, shape in enumerate(shapes):
        axes = []
        for axis, size in enumerate(shape or ()):
            i = axis + rank - len(shape or ())
            if size == 1 and any(d != 1 for d in columns[i]):
                axes.append("1")
            else:
                axes.append(result[i] if result[i][-1] != "!" else f"{result[i][:-1]}_{k}!")
        texts.append("" if shape is None else spell(axes))
    return texts, result


def _joint_label(sizes: Sequence[Dim], label: str) -> str:
    """Return `label`, or `label!` if the sizes cannot be tied."""
    others = [d for d in sizes if d != 1]
    if any(isinstance(d, int) for d in others):
        return label
    return label if all(dims.are_equal(d, others[0]) for d in others[1:]) else f"{label}!"
