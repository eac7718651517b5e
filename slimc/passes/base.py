"""The form of a pass and of a stage: a frozen dataclass whose fields are its options."""

from __future__ import annotations

import dataclasses
import json
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Literal

from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.remarks import Remark
from slimc.rewrite.result import PassResult

__all__ = [
    "BARE",
    "Options",
    "Pass",
    "PassResult",
    "Promise",
    "allowed_range",
    "first_with",
    "option",
    "traits_of",
]

BARE = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)  # texts that need no quotes in the text of a pass
Promise = Literal["same", "approximate", "integers"]
_LARGEST = 2**63  # whole numbers beyond it overflow in arrays
_BOUNDS = {  # keyword of `option` -> its words, and whether a value is within
    "least": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "most": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def option(
    default: Any,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare an option of a pass: its default, one sentence on what and why, and its range.

    least, most: the smallest and the largest allowed value; above, below: bounds that are not
    allowed themselves. A value outside fails when the pass is constructed; floats are finite.
    """
    if isinstance(default, (list, dict, set)):
        raise TypeError("the default of an option must be immutable")
    bounds = {"least": least, "above": above, "most": most, "below": below}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return field(default=default, metadata={"help": help, "bounds": given})


def allowed_range(bounds: Mapping[str, float]) -> str:
    """Write the bounds of an option: `above 0 and below 1`; empty where it has none."""
    return " and ".join(f"{_BOUNDS[name][0]} {bound}" for name, bound in bounds.items())


@dataclass(frozen=True)
class Options(ABC):
    """A frozen dataclass whose fields are options: a pass, or a stage of passes.

    The fields are of types int, float, bool, str, tuple[str, ...] or Literal[...], each optionally
    `| None`.
    """

    name: ClassVar[str]
    """Kebab-case; of a pass verb first, and the file is named alike."""

    def __post_init__(self) -> None:
        """Raise SlimcError "bad-option-value" where an option is outside its range.

        A pass with rules of its own on options extends it: what needs no graph is checked here.
        """
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            for number in value if isinstance(value, tuple) else (value,):
                self._check_number(f, number)

    def _check_number(self, f: dataclasses.Field[Any], number: object) -> None:
        if not isinstance(number, (int, float)):
            return
        bounds = f.metadata.get("bounds", {})
        finite = isfinite(number) if isinstance(number, float) else abs(number) < _LARGEST
        if finite and all(_BOUNDS[name][1](number, bound) for name, bound in bounds.items()):
            return
        kind = "" if finite else "a number of 64 bits "
        raise self.bad_option(
            f"{f.name} is {number}, it must be {kind}{allowed_range(bounds)}".rstrip(),
            f"{f.name}: {f.metadata.get('help', '')} (default {_text(f.default)})",
        )

    def bad_option(self, message: str, help: str = "") -> SlimcError:
        """Return the error for an option value that this pass cannot take."""
        return SlimcError("bad-option-value", message, f"pass {self.name}", help)

    @abstractmethod
    def parts(self) -> tuple[Pass, ...]:
        """Return the passes that this stands for."""

    def __str__(self) -> str:
        """Return the text of it, with the options that differ from their defaults."""
        given = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                given.append(f"{f.name}={_text(value)}")
        return self.name + (f"{{{','.join(given)}}}" if given else "")


@dataclass(frozen=True)
class Pass(Options):
    """A pure function from graph to graph; its fields are its options."""

    promise: ClassVar[Promise] = "same"
    """What becomes of the outputs' values: "same" up to `tolerance`, "approximate" (reported, not
    enforced), "integers" (simulated integer arithmetic; reported)."""
    tolerance: ClassVar[float] = (
        1e-4  # f32 sums in another order; ORT kernels differ by as much between themselves
    )
    """Relative to the largest magnitude of an output."""
    traits: ClassVar[frozenset[Trait]] = frozenset()
    """What it does that the rest of a compile is arranged by."""

    @abstractmethod
    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Return the next graph, and a remark for every node changed or left alone."""

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say what the pass would do to each node, and why; by default, what `run` remarks."""
        return self.run(graph, ctx).remarks

    def parts(self) -> tuple[Pass, ...]:
        """Return the passes that this one stands for: itself, unless it goes in rounds."""
        return (self,)

    def own_traits(self) -> frozenset[Trait]:
        """Return the traits that it has with these options; by default, those of its class."""
        return self.traits

    def revert_slow(
        self, before: Graph, result: PassResult, ctx: Context, timing: Timing
    ) -> tuple[Pass, PassResult]:
        """Time what it made, and take back what is slower; by default, nothing.

        Return the pass that makes the same without measuring, and its result. Called of passes with
        `Trait.REVERTS`.
        """
        return self, result

    def in_float(self, nodes: Sequence[str]) -> Pass:
        """Return the pass with more nodes left in float (patterns); itself if it quantizes none."""
        return self

    def with_schemes(self, scheme: str, mixed: Sequence[str]) -> Pass:
        """Return the pass with other schemes; itself if it quantizes nothing."""
        return self

    @property
    def schemes(self) -> tuple[str, tuple[str, ...]]:
        """The scheme of most nodes, and "pattern=scheme" of others."""
        return "", ()

    @property
    def ignores_curves(self) -> str:
        """Why measured curves of sensitivity do not change what it does; empty: they do."""
        return f"{self.name} removes no channels"


def traits_of(passes: Iterable[Pass]) -> frozenset[Trait]:
    """Return what passes do together."""
    return frozenset(trait for pass_ in passes for trait in pass_.own_traits())


def first_with(trait: Trait, passes: Sequence[Pass]) -> int | None:
    """Return the place of the first pass that has a trait; None: no pass has it."""
    return next((i for i, pass_ in enumerate(passes) if trait in pass_.own_traits()), None)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_text(v) for v in value) + "]"
    if isinstance(value, str):
        return value if BARE.fullmatch(value) and value != "none" else json.dumps(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value)
