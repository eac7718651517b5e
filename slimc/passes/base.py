"""The form of a pass: a frozen dataclass whose fields are its options."""

from __future__ import annotations

import dataclasses
import json
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar, Literal

from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.remarks import Remark
from slimc.rewrite.result import PassResult

__all__ = ["BARE", "Pass", "PassResult", "Promise", "allowed_range", "option", "quantizes"]

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
class Pass(ABC):
    """A pure function from graph to graph.

    Subclasses are frozen dataclasses; their fields are the options, of types int, float, bool, str,
    tuple[str, ...] or Literal[...], each optionally `| None`.

    name: kebab-case, verb first; the file is named alike. promise: what becomes of the outputs'
    values: "same" up to `tolerance` (relative to the largest magnitude of an output), "approximate"
    (reported, not enforced), "integers" (simulated integer arithmetic; reported). repairs: whether
    it makes up for channels that have left. ends: it stands behind what is lowered, and gives the
    graph other outputs. sparsifies: whether it makes weights 2:4.
    """

    name: ClassVar[str]
    repairs: ClassVar[bool] = False
    ends: ClassVar[bool] = False
    sparsifies: ClassVar[bool] = False
    promise: ClassVar[Promise] = "same"
    tolerance: ClassVar[float] = (
        1e-4  # f32 sums in another order; ORT kernels differ by as much between themselves
    )

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

    @property
    def integers(self) -> bool:
        """Tell whether it chooses nodes that compute in integers."""
        return False

    @abstractmethod
    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Return the next graph, and a remark for every node changed or left alone."""

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say what the pass would do to each node, and why; by default, what `run` remarks."""
        return self.run(graph, ctx).remarks

    def parts(self) -> tuple[Pass, ...]:
        """Return the passes that this one stands for: itself, unless it goes in rounds."""
        return (self,)

    def __str__(self) -> str:
        """Return the pass as text, with the options that differ from their defaults."""
        given = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                given.append(f"{f.name}={_text(value)}")
        return self.name + (f"{{{','.join(given)}}}" if given else "")


def quantizes(passes: Iterable[Pass]) -> bool:
    """Tell whether a pass chooses nodes that compute in integers."""
    return any(one.integers for one in passes)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_text(v) for v in value) + "]"
    if isinstance(value, str):
        return value if BARE.fullmatch(value) and value != "none" else json.dumps(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return repr(value)
