"""Options of remove-channels: what may not be asked, and which nodes and families are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.prune_groups import Family, role
from slimc.errors import SlimcError, did_you_mean
from slimc.ir.arrays import Mask
from slimc.ir.graph import Graph

_BOUND = re.compile(r"(?P<pattern>.+):(?:(?P<exact>\d+)|(?P<least>\d*)-(?P<most>\d*))", re.DOTALL)
_UNBOUNDED = 1 << 62  # no bound from above


@dataclass(frozen=True)
class WidthBounds:
    """The fewest and the most units that a family keeps."""

    least: int = 1
    most: int = _UNBOUNDED

    def within(self, other: WidthBounds) -> WidthBounds:
        """Return what holds if both do."""
        return WidthBounds(max(self.least, other.least), min(self.most, other.most))


def mask_by_name(families: Sequence[Family], names: Sequence[str], option: str) -> Mask:
    """Return which families are named: bool[families]. Raises SlimcError "unknown-family"."""
    known = [family.name for family in families]
    for name in names:
        if name not in known:
            raise SlimcError(
                "unknown-family",
                f"no family is named '{name}'",
                where=f"option {option} of pass remove-channels",
                help=did_you_mean(name, known),
            )
    return np.array([name in names for name in known], bool)


def match_nodes(graph: Graph, pattern: str, option: str) -> frozenset[str]:
    """Return the names of the nodes that a pattern matches, by their own or the user's names.

    Raises SlimcError "unknown-node" if there is none.
    """
    known: dict[str, list[str]] = {}
    for node in graph.walk():
        for name in (node.name, *node.origins):
            known.setdefault(name, []).append(node.name)
    matches = [own for name, nodes in known.items() if fnmatchcase(name, pattern) for own in nodes]
    if matches:
        return frozenset(matches)
    near = get_close_matches(pattern, known, 1)
    raise SlimcError(
        "unknown-node",
        f"no node is named '{pattern}'",
        where=f"option {option} of pass remove-channels",
        help=f"did you mean '{near[0]}'?" if near else "slimc show lists the names of nodes",
    )


def kept_nodes(graph: Graph, keep: Sequence[str]) -> frozenset[str]:
    """Return the names of the nodes that `keep` matches."""
    return frozenset(name for pattern in keep for name in match_nodes(graph, pattern, "keep"))


def parse_bounds(
    coupling: Coupling,
    families: Sequence[Family],
    steps: Sequence[int],
    widths: Sequence[str],
    least: int,
) -> tuple[WidthBounds, ...]:
    """Return the bounds of each family: `least`, and what the texts of `widths` say.

    Raises SlimcError "bad-option-value" for a text that cannot be read, that bounds nothing, or
    that leaves no width.
    """
    limits = [WidthBounds(least) for _ in families]
    for text in widths:
        pattern, bound = parse_width(text)
        nodes = match_nodes(coupling.graph, pattern, "widths")
        numbers = [i for i, family in enumerate(families) if _is_made_by(coupling, family, nodes)]
        if not numbers:
            message = f"'{pattern}' makes no channels that may leave"
            raise _widths_error(message, "slimc explain MODEL --pass prune says what pins them")
        for number in numbers:
            limits[number] = limits[number].within(bound)
            _check_bound(families[number], steps[number], limits[number])
    return tuple(limits)


def parse_width(text: str) -> tuple[str, WidthBounds]:
    """Read `conv1:8-32`: the nodes, and their bounds. Raises SlimcError "bad-option-value"."""
    match = _BOUND.fullmatch(text)
    if match is None:
        raise _widths_error(
            f"cannot read '{text}'", "write for example 'conv1:8-32', 'fc*:16-', 'head:8'"
        )
    if match["exact"]:
        return match["pattern"], WidthBounds(int(match["exact"]), int(match["exact"]))
    bound = WidthBounds(int(match["least"] or 1), int(match["most"] or _UNBOUNDED))
    if bound.least > bound.most:
        raise _widths_error(f"'{text}' allows no width", "the fewest come first: 'conv1:8-32'")
    return match["pattern"], bound


def _is_made_by(coupling: Coupling, family: Family, nodes: frozenset[str]) -> bool:
    """Tell whether a family can be narrower, and is what one of the nodes makes."""
    return family.width > 1 and any(
        m.place.node in nodes and role(coupling, m.place) != "input channels" for m in family.labels
    )


def _check_bound(family: Family, step: int, bound: WidthBounds) -> None:
    """Raise if a family that must become narrower has no allowed width."""
    if bound.most >= family.width:
        return
    if max(1, -(-bound.least // step) * step) > bound.most // step * step:
        multiple = f" that is a multiple of {step}" if step > 1 else ""
        raise _widths_error(
            f"family '{family.name}' has no width from {bound.least} to {bound.most}{multiple}",
            "widen the bounds, or set align=1",
        )


def _widths_error(message: str, help: str) -> SlimcError:
    return SlimcError(
        "bad-option-value", message, where="option widths of pass remove-channels", help=help
    )
