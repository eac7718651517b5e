"""Stages: passes that belong together, under one name; what they share is said once.

`quant{scheme=int8}` is fuse-bias, assign-scales, round-weights and lower-float16, all of that
scheme. Passes can be written out one by one too: then `check_schemes` sees that they agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from slimc.calib.observers import Calibrator
from slimc.errors import SlimcError
from slimc.passes.base import Options, Pass
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.lower.lower_float16 import LowerFloat16
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.prune.repair_weights import RepairWeights
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.fuse_bias import FuseBias
from slimc.passes.quant.round_weights import RoundWeights
from slimc.passes.schemes import AUTO, FLOATS, Scheme
from slimc.passes.sparsify.sparsify_weights import SparsifyWeights
from slimc.targets.target import Target


def option_of(pass_: type[Pass], name: str) -> Any:
    """Declare an option of a stage as one of its passes does: its default, its help, its bounds."""
    declared = pass_.__dataclass_fields__[name]
    return dataclasses.field(default=declared.default, metadata=declared.metadata)


@dataclass(frozen=True)
class Stage(Options):
    """Passes that run one after another. An option goes to every pass that has it."""

    members: ClassVar[tuple[type[Pass], ...]]

    def __post_init__(self) -> None:
        """Raise SlimcError "bad-option-value" where a pass of the stage does."""
        self.parts()

    def parts(self) -> tuple[Pass, ...]:
        """Return the passes, with the options of the stage."""
        return tuple(member(**self._options_for(member)) for member in self.members)

    def _options_for(self, member: type[Pass]) -> dict[str, Any]:
        own = {f.name for f in dataclasses.fields(self)}
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(member) if f.name in own}


@dataclass(frozen=True)
class Fold(Stage):
    """Make the graph canonical: fold what can be folded."""

    name: ClassVar[str] = "fold"
    members: ClassVar[tuple[type[Pass], ...]] = (Canonicalize,)

    max_growth: int = option_of(Canonicalize, "max_growth")


@dataclass(frozen=True)
class Prune(Stage):
    """Remove channels, and repair the weights that read them."""

    name: ClassVar[str] = "prune"
    members: ClassVar[tuple[type[Pass], ...]] = (RemoveChannels, RepairWeights)

    ratio: float = option_of(RemoveChannels, "ratio")
    budget: Literal["macs", "parameters", "bytes", "latency", "channels"] = option_of(
        RemoveChannels, "budget"
    )
    choose: Literal["greedy", "exact"] = option_of(RemoveChannels, "choose")
    score: str = option_of(RemoveChannels, "score")
    compare: Literal["auto", "outputs", "score"] = option_of(RemoveChannels, "compare")
    steps: int = option_of(RemoveChannels, "steps")
    align: int = option_of(RemoveChannels, "align")
    keep: tuple[str, ...] = option_of(RemoveChannels, "keep")
    min_channels: int = option_of(RemoveChannels, "min_channels")
    widths: tuple[str, ...] = option_of(RemoveChannels, "widths")
    give_back: tuple[str, ...] = option_of(RemoveChannels, "give_back")
    samples: int = option_of(RepairWeights, "samples")


@dataclass(frozen=True)
class Sparsify(Stage):
    """Make weights 2:4."""

    name: ClassVar[str] = "sparsify"
    members: ClassVar[tuple[type[Pass], ...]] = (SparsifyWeights,)

    score: Literal["auto", "magnitude", "second-order"] = option_of(SparsifyWeights, "score")
    samples: int = option_of(SparsifyWeights, "samples")
    min_channels: int = option_of(SparsifyWeights, "min_channels")
    align: int = option_of(SparsifyWeights, "align")
    keep: tuple[str, ...] = option_of(SparsifyWeights, "keep")
    force: bool = option_of(SparsifyWeights, "force")


@dataclass(frozen=True)
class Quant(Stage):
    """Quantize: choose scales, round weights, and lower what is left to the target's floats."""

    name: ClassVar[str] = "quant"
    members: ClassVar[tuple[type[Pass], ...]] = (FuseBias, AssignScales, RoundWeights, LowerFloat16)

    scheme: Scheme = option_of(AssignScales, "scheme")
    mixed: tuple[str, ...] = option_of(AssignScales, "mixed")
    block: int | None = option_of(AssignScales, "block")
    min_elements: int = option_of(AssignScales, "min_elements")
    calibrator: Calibrator = option_of(AssignScales, "calibrator")
    percentile: float = option_of(AssignScales, "percentile")
    samples: int = option_of(AssignScales, "samples")
    keep: tuple[str, ...] = option_of(AssignScales, "keep")
    refit: bool = option_of(RoundWeights, "refit")
    rest: Literal["auto", "fp32", "fp16", "bf16"] = option_of(LowerFloat16, "rest")
    data_max: float = option_of(LowerFloat16, "data_max")
    depth_max: int = option_of(LowerFloat16, "depth_max")
    io: Literal["f32", "f16", "bf16"] = option_of(LowerFloat16, "io")


def expand(entries: Iterable[Options]) -> tuple[Pass, ...]:
    """Return the passes that stages, and passes in rounds, stand for."""
    return tuple(pass_ for entry in entries for pass_ in _parts(entry))


def _parts(entry: Options) -> Iterator[Pass]:
    for part in entry.parts():
        if part is entry:
            yield part
        else:
            yield from _parts(part)


def check_schemes(passes: Sequence[Pass], target: Target) -> None:
    """Raise SlimcError "schemes-disagree" where passes, written out, are given different schemes.

    assign-scales leaves floats of 16 bits to lower-float16, and fuse-bias prepares for the scheme
    that assign-scales gives. "auto" of fuse-bias agrees with any.
    """
    lowers = [pass_ for pass_ in passes if isinstance(pass_, LowerFloat16)] or [LowerFloat16()]
    for scales in (pass_ for pass_ in passes if isinstance(pass_, AssignScales)):
        for other in passes:
            if isinstance(other, (FuseBias, LowerFloat16)) and _differ(scales, other):
                raise _disagree(scales, f"{other.name} has scheme={other.scheme}")
        for float_ in _named(scales) & FLOATS.keys():
            if not any(float_ in _lowered_floats(lower, target) for lower in lowers):
                raise _disagree(scales, f"no lower-float16 computes in {float_}", float_)


def _differ(scales: AssignScales, other: FuseBias | LowerFloat16) -> bool:
    """Return whether two passes name different schemes; floats beside integers are no conflict."""
    if AUTO in (scales.scheme, other.scheme) or scales.scheme == other.scheme:
        return False
    rest = isinstance(other, LowerFloat16) and other.scheme in FLOATS
    return not (rest and scales.scheme not in FLOATS)


def _named(pass_: AssignScales | LowerFloat16) -> set[str]:
    return {pass_.scheme, *(entry.rpartition("=")[2] for entry in pass_.mixed)}


def _lowered_floats(lower: LowerFloat16, target: Target) -> set[str]:
    """Return the floats of 16 bits that lower-float16 lets some nodes compute in."""
    names = {*_named(lower), lower.rest}
    preferred = {name for name, dtype in FLOATS.items() if dtype is target.prefer}
    return names | preferred if AUTO in names else names


def _disagree(scales: AssignScales, other: str, float_: str = "") -> SlimcError:
    scheme = float_ or scales.scheme
    return SlimcError(
        "schemes-disagree",
        f"assign-scales gives nodes {scheme}, and {other}",
        f"pass {scales}",
        f"name the scheme once, for the stage: quant{{scheme={scheme}}}; or give both passes the "
        "same scheme and mixed",
    )
