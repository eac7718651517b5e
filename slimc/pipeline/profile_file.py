"""The file of a device profile, and the target that predicts latencies by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slimc.analysis.profile import Profile, parse_profile, profile_text
from slimc.errors import SlimcError
from slimc.io.json_file import read_text
from slimc.io.write import replace_file
from slimc.passes.base import Pass, first_with
from slimc.passes.traits import Trait
from slimc.pipeline.mixed_precision import Budget
from slimc.targets.target import Target

MAX_BYTES = 1 << 20  # of a profile: its classes take some 10 kB


def load_profile(path: str | Path) -> Profile:
    """Read a profile. Raises SlimcError "bad-profile"."""
    path = Path(path)
    try:
        text = read_text(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        what = f"the file cannot be read: {error.strerror}" if isinstance(error, OSError) else error
        help = "slimc profile MODEL -o machine.json writes one"
        raise SlimcError("bad-profile", str(what), f"'{path}'", help) from error
    return parse_profile(text, f"'{path}'")


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile; the file is there whole or as it was."""
    with replace_file(path) as file:
        file.write(profile_text(profile).encode())


def profile_for(
    source: Profile | str | Path, target: Target, passes: Sequence[Pass], budget: Budget
) -> Profile:
    """Return the profile that a compile predicts latencies by.

    Raises SlimcError "profile-mismatch" where it is of another target, and "bad-option-value" where
    nothing predicts a latency.
    """
    if budget.kind != "latency" and first_with(Trait.CUTS_CHANNELS, passes) is None:
        raise SlimcError(
            "bad-option-value",
            "nothing in this compile predicts a latency",
            "option --profile",
            "leave it out, or predict by it: --passes 'prune{budget=latency}', "
            "--passes quant --budget latency=0.6",
        )
    found = source if isinstance(source, Profile) else load_profile(source)
    if found.target != target.name or target.runtime not in (found.runtime, "any"):
        raise SlimcError(
            "profile-mismatch",
            f"the profile is of {found.target} on {found.runtime}, and the compile for "
            f"{target.name} on {target.runtime}",
            f"profile of {found.device}",
            f"measure again: slimc profile MODEL --target {target.name} -o other.json; "
            f"or compile with --target {found.target}",
        )
    return found


def predicting(target: Target, profile: Profile) -> Target:
    """Return the target with the rates of a profile."""
    return replace(target, speed=profile.speed(target.speed))
