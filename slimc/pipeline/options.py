"""What a compile takes besides model, passes, target and data: each option is said once, here.

`slimc.compile` takes the fields of `CompileOptions` as keywords, and the command line makes its
flags of them; a recipe file holds some of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from textwrap import fill, indent
from typing import Any, TypedDict, TypeVar

from slimc.analysis.profile import Profile
from slimc.analysis.sensitivity_curves import Curves
from slimc.calib.output_loss import Metric
from slimc.errors import SlimcError, did_you_mean
from slimc.execute.ort import time_rounds
from slimc.pipeline.accuracy_criteria import Promise, promised
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.latency import Timer
from slimc.pipeline.mixed_precision import Budget, budget_of
from slimc.pipeline.runner import Watcher

F = TypeVar("F", bound=Callable[..., Any])
_WIDTH = 88  # of a sentence in the docstring


@dataclass(frozen=True)
class Flag:
    """How an option is given outside of Python."""

    name: str
    """On the command line: `--min-sqnr`."""
    metavar: str = ""
    """What stands for its value in the help."""


def setting(help: str, default: Any = None, flag: Flag | None = None) -> Any:
    """Declare an option: one sentence on what and why, its default, its flag (None: Python only).

    A mapping is the default of options that are mappings.
    """
    metadata = {"help": help, "flag": flag}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class CompileOptions:
    """The options of a compile."""

    bind: Mapping[str, str] | None = setting(
        "Make an input a constant: --bind sr=16000",
        flag=Flag("--bind", "NAME=VALUE"),
    )
    shape: Mapping[str, str] | None = setting(
        "Fix a shape: --shape x=1x3x224x224",
        flag=Flag("--shape", "NAME=SIZES"),
    )
    curves: Curves | str | Path | None = setting(
        "Let prune choose widths by the curves that slimc sensitivity measured and wrote.",
        flag=Flag("--sensitivity", "FILE"),
    )
    measure: bool = setting(
        "Time what channel removal gains on this machine, and give back families whose removal "
        "does not pay; the recipe in the report then names them.",
        default=False,
        flag=Flag("--measure"),
    )
    require: str = setting(
        "Time the result and the original; write nothing and exit with status 1 unless it is "
        "faster, or X times as fast: --require faster=1.2",
        default="",
        flag=Flag("--require", "faster[=X]"),
    )
    min_sqnr: float | None = setting(
        "Give the worst regions back to floats until signal over noise at the outputs is as much, "
        "on samples that calibration has not seen: --min-sqnr 30. Where floats alone do not reach "
        "it, nothing is written and the status is 1.",
        flag=Flag("--min-sqnr", "DB"),
    )
    max_drop: str = setting(
        "The same until --score loses no more than 1% of the original's, or 0.01 of the score "
        "itself: --max-drop 1% --score scorer.py",
        default="",
        flag=Flag("--max-drop", "LOSS"),
    )
    score: str | Path | Metric | None = setting(
        "For --max-drop: a Python file with score(run) -> float, where run(feed) gives the list "
        "of outputs and higher is better.",
        flag=Flag("--score", "FILE"),
    )
    budget: str = setting(
        "Choose the scheme of every region (float too) so that noise at the outputs is least and "
        "constants take at most so much of their bytes, or the model of its predicted latency: "
        "--budget size=0.3, --budget latency=0.6",
        default="",
        flag=Flag("--budget", "SHARE"),
    )
    profile: Profile | str | Path | None = setting(
        "Predict latency (prune{budget=latency}, --budget latency=0.6, what removal gains) by the "
        "rates of a device that slimc profile measured, not by those of the target's table.",
        flag=Flag("--profile", "FILE"),
    )
    calib_cache: str | Path | None = setting(
        "Where to keep calibrated ranges, and to take them from where model, samples and "
        "options are the same: a .json file, or a folder that keeps those of many compiles.",
        flag=Flag("--calib-cache", "PLACE"),
    )
    seed: int = setting(
        "Seed of all that is random. Default: 0.",
        default=0,
        flag=Flag("--seed"),
    )
    dump: str | Path | None = setting(
        "Where to leave the graph if a pass fails.", flag=Flag("--dump", "DIR")
    )
    stop_after: str = setting(
        "Stop after a pass: no lowering.", default="", flag=Flag("--stop-after", "PASS")
    )
    names: Catalogue | None = setting("Passes, operators, targets and scores to know; default: all")
    watcher: Watcher | None = setting("Is told of every step.")
    timer: Timer = setting(
        "Takes the seconds for measure and require, here or on a device.", default=time_rounds
    )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> CompileOptions:
        """Return options by name. Raises SlimcError "unknown-option"."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                help = did_you_mean(name, known)
                raise SlimcError("unknown-option", f"compile has no option '{name}'", help=help)
        return cls(**options)

    @cached_property
    def promise(self) -> Promise:
        """What the result must keep. Raises SlimcError: bad-option-value, -metric, -plugin."""
        return promised(self.min_sqnr, self.max_drop, self.score, self.stop_after)

    @cached_property
    def spending(self) -> Budget:
        """The most that the result may cost. Raises SlimcError "bad-option-value"."""
        return budget_of(self.budget, self.stop_after)

    def files(self) -> dict[str, object]:
        """Return the files that are read, by what they are."""
        return {
            "the table of curves": self.curves,
            "the profile": self.profile,
            "the scorer": self.score,
            "the calibration cache": self.calib_cache,
        }


class CompileKeywords(TypedDict, total=False):
    """The fields of `CompileOptions`, for type checkers: keywords of `slimc.compile`."""

    bind: Mapping[str, str] | None
    shape: Mapping[str, str] | None
    curves: Curves | str | Path | None
    measure: bool
    require: str
    min_sqnr: float | None
    max_drop: str
    score: str | Path | Metric | None
    budget: str
    profile: Profile | str | Path | None
    calib_cache: str | Path | None
    seed: int
    dump: str | Path | None
    stop_after: str
    names: Catalogue | None
    watcher: Watcher | None
    timer: Timer


def option_field(name: str) -> dataclasses.Field[Any]:
    """Return the declaration of an option."""
    return CompileOptions.__dataclass_fields__[name]


def documented(function: F) -> F:
    """Add every option, with its sentence under it, to the docstring of a function."""
    lines = [function.__doc__ or "", "\n    Options:\n"]
    for f in dataclasses.fields(CompileOptions):
        help = fill(f.metadata["help"], _WIDTH, break_on_hyphens=False)
        lines.append(f"\n    {f.name}: {f.type}\n{indent(help, 8 * ' ')}\n")
    function.__doc__ = "".join(lines)
    return function
