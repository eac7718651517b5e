"""What brings a graph from passes to a file: Q/DQ, the target's float type, its rules."""

from __future__ import annotations

from slimc.passes.base import Pass
from slimc.passes.insert_qdq import InsertQdq
from slimc.passes.lower_float16 import LowerFloat16
from slimc.targets.legalize import Legalize

LOWERING: tuple[Pass, ...] = (InsertQdq(), LowerFloat16(preferred=True), Legalize())
