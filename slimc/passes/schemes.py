"""Which scheme each node gets, and what the target then wants of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from slimc.errors import SlimcError, did_you_mean
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.rewrite.rule import names_matching
from slimc.targets.target import Quantize, Target

# int8, int16-act, fp8: ranges are fixed ahead. int8-dynamic: those of data are measured in each
# run. *-weights: only weights are stored small; uint4 has a zero point. fp16, bf16: floats of 16
# bits (lower-float16). auto: the target's best.
Scheme = Literal[
    "auto",
    "int8",
    "int8-dynamic",
    "int8-weights",
    "int4-weights",
    "uint4-weights",
    "int16-act",
    "fp8",
    "fp16",
    "bf16",
]
FLOATS = {"fp16": DType.F16, "bf16": DType.BF16}  # schemes that are no integers
STORED = ("int8-weights", "int4-weights", "uint4-weights")  # schemes that compute in floats
FLOAT = "float"  # of a node that does not run in integers
FP32 = "fp32"  # of one that stays in f32 where others compute in 16 bits
AUTO = "auto"


@dataclass(frozen=True)
class Schemes:
    """The scheme of every node: `most`, but for those in `of`.

    block: replaces the target's number of elements that share a scale, where it wants blocks.
    """

    target: Target
    most: str
    of: Mapping[str, str]
    block: int | None = None

    def of_node(self, node: Node) -> str:
        """Return the name of the scheme of a node."""
        return self.of.get(node.name, self.most)

    def wish(self, node: Node) -> Quantize | None:
        """Return what the target wants of a node; None where it runs in float."""
        found = self.target.schemes.get(self.of_node(node), {}).get(node.kind)
        grid = found.weights if found is not None else None
        if found is None or grid is None or self.block is None or not grid.block:
            return found
        return replace(found, weights=replace(grid, block=self.block))

    def refusal(self, node: Node) -> str:
        """Say why a node without a wish stays in float."""
        scheme = self.of_node(node)
        if scheme == FLOAT:
            return "it is kept"
        if scheme in FLOATS:
            return f"it is to compute in {scheme}"
        if scheme == "int8":
            return f"{self.target.name} runs {node.kind} in float"
        return f"{self.target.name} has no {scheme} for {node.kind}"

    def is_static(self, node: Node) -> bool:
        """Tell whether a node's scheme fixes ranges of activations ahead."""
        return fixes_ranges(self.target, self.of_node(node))


def fixes_ranges(target: Target, scheme: str) -> bool:
    """Tell whether a scheme of a target fixes ranges of activations ahead."""
    wishes = target.schemes.get(_best(target) if scheme == AUTO else scheme, {})
    return any(wish.activations is not None for wish in wishes.values())


def schemes_of(
    graph: Graph,
    target: Target,
    most: str,
    mixed: Sequence[str],
    keep: Sequence[str],
    block: int | None,
    owner: str,
) -> Schemes:
    """Read the options of a pass: `mixed` are "pattern=scheme", the last that matches counts.

    Raises SlimcError: scheme-unsupported, bad-option-value, unknown-node.
    """
    of = _overrides(graph, mixed, owner)
    of = {name: _known(target, scheme, owner) for name, scheme in of.items()}
    of |= dict.fromkeys(names_matching(graph, keep, f"option keep of pass {owner}"), FLOAT)
    found = Schemes(target, _known(target, most, owner), of, block)
    if block is not None and not _has_blocks(found):
        raise SlimcError(
            "bad-option-value",
            f"block is {block}, but no scheme in use has weights in blocks",
            f"pass {owner}",
            "scheme=int4-weights and scheme=uint4-weights have",
        )
    return found


def _has_blocks(schemes: Schemes) -> bool:
    wishes = [
        wish
        for scheme in (schemes.most, *schemes.of.values())
        for wish in schemes.target.schemes.get(scheme, {}).values()
    ]
    return any(wish.weights is not None and wish.weights.block for wish in wishes)


def scheme_names(target: Target) -> tuple[str, ...]:
    """Return all schemes that a target has: of integers, best first, then of 16-bit floats."""
    floats = (name for name, dtype in FLOATS.items() if dtype in target.floats)
    return (*target.schemes, *floats)


def float_types(
    graph: Graph,
    target: Target,
    most: str,
    rest: str,
    mixed: Sequence[str],
    keep: Sequence[str],
    owner: str,
) -> dict[str, DType]:
    """Return the 16-bit float of every node that is to compute in one; the others are f32.

    Nodes that run in integers have one too: that of their operands before Q and behind DQ. Raises
    SlimcError: scheme-unsupported, bad-option-value, unknown-node.
    """
    chosen = most if most in FLOATS else rest
    if chosen in FLOATS:
        _known(target, chosen, owner)
    base = target.prefer if chosen == AUTO else FLOATS.get(chosen, DType.F32)
    found = dict.fromkeys((node.name for node in graph.nodes), base)
    for name, scheme in _overrides(graph, mixed, owner).items():
        if _known(target, scheme, owner) in FLOATS:
            found[name] = FLOATS[scheme]
        elif scheme == FP32:
            found[name] = DType.F32
    for name in names_matching(graph, keep, f"option keep of pass {owner}"):
        found[name] = DType.F32
    return {name: dtype for name, dtype in found.items() if dtype is not DType.F32}


def check_mixed(mixed: Sequence[str], owner: str) -> None:
    """Raise SlimcError "bad-option-value" where an entry of `mixed` is not "pattern=scheme"."""
    for entry in mixed:
        pattern, equals, scheme = entry.rpartition("=")
        if not (pattern and equals and scheme):
            raise SlimcError(
                "bad-option-value",
                f"'{entry}' in mixed is no pattern=scheme",
                f"pass {owner}",
                'for example mixed=["head/*=int8-weights", "*/fc2=float"]',
            )


def _overrides(graph: Graph, mixed: Sequence[str], owner: str) -> dict[str, str]:
    of: dict[str, str] = {}
    for entry in mixed:
        pattern, _, scheme = entry.rpartition("=")
        of |= dict.fromkeys(names_matching(graph, (pattern,), f"option mixed of {owner}"), scheme)
    return of


def _known(target: Target, scheme: str, owner: str) -> str:
    """Return the name of a scheme that the target has: what is meant by others."""
    if scheme == AUTO:
        return _best(target)
    if scheme in (FLOAT, FP32):
        return FLOAT
    names = scheme_names(target)
    if scheme not in names:
        runs = ", ".join(names)
        near = did_you_mean(scheme, [*names, FLOAT])
        raise SlimcError(
            "scheme-unsupported",
            f"target {target.name} has no scheme '{scheme}'; it has {runs or 'none'}",
            f"pass {owner}",
            near or "slimc targets lists the schemes of each target",
        )
    return scheme


def _best(target: Target) -> str:
    return next(iter(target.schemes), "")
