"""The passes, in default order: reading this is reading the compiler.

The last three of a compile are the target's lowering: lower-float16, unless it has run before,
insert-qdq, legalize.
"""

from __future__ import annotations

from collections.abc import Sequence

from slimc.passes.base import Pass
from slimc.passes.canonical.bind_inputs import BindInputs
from slimc.passes.canonical.canonicalize import CANONICAL, Canonicalize
from slimc.passes.lower.insert_qdq import InsertQdq
from slimc.passes.lower.legalize import Legalize
from slimc.passes.lower.lower_float16 import LowerFloat16
from slimc.passes.lower.suit_target import SuitTarget
from slimc.passes.nms.append_nms import AppendNms
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.prune.repair_weights import RepairWeights
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.correct_bias import CorrectBias
from slimc.passes.quant.equalize_scales import EqualizeScales
from slimc.passes.quant.fuse_bias import FuseBias
from slimc.passes.quant.round_weights import RoundWeights
from slimc.passes.quant.search_scales import SearchScales
from slimc.passes.sparsify.sparsify_weights import SparsifyWeights
from slimc.passes.stages import Fold, Prune, Quant, Sparsify, Stage

PASSES: tuple[type[Pass], ...] = (
    BindInputs,
    Canonicalize,
    *CANONICAL,
    SuitTarget,
    RemoveChannels,
    RepairWeights,
    SparsifyWeights,
    FuseBias,
    EqualizeScales,
    AssignScales,
    SearchScales,
    RoundWeights,
    CorrectBias,
    LowerFloat16,
    AppendNms,
)

# Runs of passes with a name of their own, for `--passes prune,quant`.
STAGES: dict[str, type[Stage]] = {stage.name: stage for stage in (Fold, Prune, Sparsify, Quant)}


LOWERING: tuple[Pass, ...] = (LowerFloat16(), InsertQdq(), Legalize())


def lowering(ran: Sequence[Pass]) -> tuple[Pass, ...]:
    """Return the passes that follow those that ran: the floats are not chosen a second time."""
    chosen = any(isinstance(one, LowerFloat16) for one in ran)
    return tuple(one for one in LOWERING if not (chosen and isinstance(one, LowerFloat16)))
