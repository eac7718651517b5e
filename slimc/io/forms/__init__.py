"""Changes of operators from opset to opset, with adapters up and down."""

from __future__ import annotations

from slimc.io.forms.change import Change, Site
from slimc.io.forms.decompose import DECOMPOSED
from slimc.io.forms.loops import LOOPS
from slimc.io.forms.meaning import MEANING
from slimc.io.forms.oldest import OLDEST
from slimc.io.forms.operands import OPERANDS
from slimc.io.forms.resize import RESIZE
from slimc.io.forms.shapes import SHAPES

__all__ = ["CHANGES", "Change", "Site"]


def _by_op(*groups: tuple[Change, ...]) -> dict[str, tuple[Change, ...]]:
    changes_by_op: dict[str, list[Change]] = {}
    for change in sorted((c for g in groups for c in g), key=lambda c: c.since):
        changes_by_op.setdefault(change.op, []).append(change)
    return {op: tuple(changes) for op, changes in changes_by_op.items()}


CHANGES = _by_op(
    OLDEST, OPERANDS, SHAPES, MEANING, RESIZE, LOOPS, DECOMPOSED
)  # operator -> changes, oldest first
