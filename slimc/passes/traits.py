"""What passes do that the rest of a compile is arranged by."""

from __future__ import annotations

from enum import Enum


class Trait(Enum):
    """What a pass does that matters to other passes of its compile, or to when it runs."""

    BINDS = "fixes inputs or their sizes: runs first, before samples are read"
    CUTS_CHANNELS = "removes channels"
    REPAIRS = "makes up for channels that have left"
    SPARSIFIES = "makes weights 2:4"
    QUANTIZES = "chooses the scheme and the scales of nodes"
    INTEGERS = "lets nodes compute in integers: earlier passes choose what suits those"
    REVERTS = "takes back, where a compile times it, what makes the model slower"
    ENDS = "gives the graph other outputs: runs last, after the lowering"
