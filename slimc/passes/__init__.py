"""The passes, in default order: reading this is reading the compiler.

The target's lowering follows (targets/lowering.py): lower-float16, unless it has run, insert-qdq,
legalize.
"""

from __future__ import annotations

from slimc.passes.append_nms import AppendNms
from slimc.passes.assign_scales import AssignScales
from slimc.passes.base import Pass
from slimc.passes.bind_inputs import BindInputs
from slimc.passes.canonicalize import CANONICAL, Canonicalize
from slimc.passes.correct_bias import CorrectBias
from slimc.passes.equalize_scales import EqualizeScales
from slimc.passes.fuse_bias import FuseBias
from slimc.passes.lower_float16 import LowerFloat16
from slimc.passes.remove_channels import RemoveChannels
from slimc.passes.repair_weights import RepairWeights
from slimc.passes.round_weights import RoundWeights
from slimc.passes.search_scales import SearchScales
from slimc.passes.sparsify_weights import SparsifyWeights
from slimc.passes.suit_target import SuitTarget

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
STAGES: dict[str, tuple[type[Pass], ...]] = {
    "fold": (Canonicalize,),
    "prune": (RemoveChannels, RepairWeights),
    "sparsify": (SparsifyWeights,),
    "quant": (FuseBias, AssignScales, RoundWeights, LowerFloat16),
}
