"""What brings a graph from passes to a file: the target's float type, Q/DQ, its rules."""

from __future__ import annotations

from collections.abc import Sequence

from slimc.passes.base import Pass
from slimc.passes.insert_qdq import InsertQdq
from slimc.passes.lower_float16 import LowerFloat16
from slimc.targets.legalize import Legalize

LOWERING: tuple[Pass, ...] = (LowerFloat16(), InsertQdq(), Legalize())


def lowering(ran: Sequence[Pass]) -> tuple[Pass, ...]:
    """Return the passes that follow those that ran: the floats are not chosen a second time."""
    chosen = any(isinstance(one, LowerFloat16) for one in ran)
    return tuple(one for one in LOWERING if not (chosen and isinstance(one, LowerFloat16)))
