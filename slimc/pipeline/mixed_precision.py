"""Choose the scheme of every region under a budget of bytes or predicted seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import cast

from slimc.analysis.cost import macs
from slimc.analysis.exact_precision import Option, choose_schemes
from slimc.analysis.precision import Region
from slimc.analysis.shapes import Facts, infer
from slimc.calib.loss import Loss
from slimc.errors import PromiseError, SlimcError, did_you_mean
from slimc.ir.graph import Graph, Node, Quantization
from slimc.ir.types import TensorType
from slimc.passes.assign_scales import AssignScales
from slimc.passes.context import Context
from slimc.passes.schemes import FLOAT, Scheme
from slimc.pipeline.precision import Simulation, exactly
from slimc.pipeline.promises import decibels
from slimc.pipeline.steps import Watcher
from slimc.remarks import Remark, note

_KINDS = ("size", "latency")
_BYTE = 8


@dataclass(frozen=True)
class Budget:
    """The most that the quantized model may cost, as a share of what the float one does.

    kind: "size" of the constants, or predicted "latency". An empty kind: no budget.
    """

    kind: str = ""
    ratio: float = 1.0

    def __bool__(self) -> bool:
        return bool(self.kind)

    def __str__(self) -> str:
        return f"{self.kind}={self.ratio:g}"


def budget_of(text: str, stop_after: str = "") -> Budget:
    """Read `size=0.3` or `latency=0.6`. Raises SlimcError "bad-option-value"."""
    if not text:
        return Budget()
    if stop_after:
        raise SlimcError(
            "bad-option-value",
            f"schemes under a budget are not chosen where '{stop_after}' is the last pass",
            "option budget",
            "leave out one of them",
        )
    kind, _, number = text.partition("=")
    try:
        ratio = float(number)
    except ValueError:
        ratio = 0.0
    if kind not in _KINDS or not 0 < ratio < 1:
        raise SlimcError(
            "bad-option-value",
            f"budget is '{text}'",
            "promises of the result",
            did_you_mean(text, ["size=0.3", "latency=0.6"])
            + ": a share of what the float model takes, between 0 and 1",
        )
    return Budget(kind, ratio)


def within_budget(
    budget: Budget, one: AssignScales, before: Graph, ctx: Context, loss: Loss, watcher: Watcher
) -> tuple[AssignScales, Remark]:
    """Return the pass with a scheme for every region, and what is to be said of it.

    Every scheme of the target, or the one that the pass names, is assigned once, and each of its
    regions run alone. Raises PromiseError "budget-missed" where no choice is within the budget.
    """
    if one.mixed:
        raise SlimcError(
            "bad-option-value",
            "a budget chooses the schemes of nodes, and mixed names them already",
            f"option mixed of pass {one.name}",
            "leave out one of them; keep names nodes that stay in float",
        )
    costs = _Costs.of(before, ctx, budget.kind)
    found: dict[str, list[Option]] = {}
    nodes: dict[str, set[str]] = {}
    for scheme in ctx.target.schemes if one.scheme == "auto" else (one.scheme,):
        marked = replace(one, scheme=cast("Scheme", scheme)).run(before, ctx).graph
        simulation = Simulation(marked, before, ctx, loss)
        for region in simulation.regions:
            watcher.measuring(f"{scheme} of '{region.name}'")
            option = Option(scheme, simulation.loss_of(region), costs.of_region(region, marked))
            found.setdefault(region.name, []).append(option)
            nodes.setdefault(region.name, set()).update(region.nodes)
    for name, options in found.items():
        options.append(Option(FLOAT, 0.0, costs.of_region(Region(name, (name,)), before)))
    rest = costs.total - sum(options[-1].cost for options in found.values())
    goal = budget.ratio * costs.total - rest
    chosen = choose_schemes(list(found.values()), goal) if goal > 0 else None
    if chosen is None:
        raise _missed(budget, costs.total, rest, found)
    picked = {name: options[i] for (name, options), i in zip(found.items(), chosen, strict=True)}
    return _with_schemes(one, picked, nodes, before, ctx), _told(budget, picked, rest, costs.total)


def _with_schemes(
    one: AssignScales,
    picked: Mapping[str, Option],
    nodes: Mapping[str, set[str]],
    before: Graph,
    ctx: Context,
) -> AssignScales:
    """Name the nodes whose scheme is not the one of most regions.

    Operators that hang on a region in one scheme only get the scheme of the region that has them.
    """
    most = Counter(option.scheme for option in picked.values()).most_common()
    usual = next((scheme for scheme, _ in most if scheme != FLOAT), next(iter(ctx.target.schemes)))
    of = {
        node: option.scheme
        for name, option in picked.items()
        for node in nodes[name]
        if option.scheme != usual
    }
    mixed = tuple(f"{exactly(n.name)}={of[n.name]}" for n in before.nodes if n.name in of)
    return replace(one, scheme=cast("Scheme", usual), mixed=mixed)


def _told(budget: Budget, picked: Mapping[str, Option], rest: float, total: float) -> Remark:
    counts = Counter(option.scheme for option in picked.values())
    said = ", ".join(f"{count} {scheme}" for scheme, count in counts.most_common())
    reached = (rest + sum(option.cost for option in picked.values())) / total
    noise = decibels(sum(option.noise for option in picked.values()))
    what = "of its constants' bytes" if budget.kind == "size" else "of its latency, predicted"
    return note(f"budget {budget}: {said}; {reached:.3f} {what}, {noise:.1f} dB if noise adds up")


def _missed(
    budget: Budget, total: float, rest: float, found: Mapping[str, Sequence[Option]]
) -> PromiseError:
    least = rest + sum(min(option.cost for option in options) for options in found.values())
    return PromiseError(
        "budget-missed",
        f"no choice of schemes is within {budget}; the least is {least / total:.3f}",
        "option budget; nothing was written",
        "ask for less; or for a target with other schemes (slimc targets)",
    )


@dataclass(frozen=True)
class _Costs:
    """What nodes cost: bytes of constants, or predicted seconds.

    A region costs what its contraction does; operators that hang on it are small beside that, and
    cost what they do in floats.
    """

    before: Graph
    ctx: Context
    kind: str
    facts: Facts
    macs: Mapping[str, int]

    @classmethod
    def of(cls, before: Graph, ctx: Context, kind: str) -> _Costs:
        facts = infer(before, ctx.ops, ctx.sizes_of(before))
        return cls(before, ctx, kind, facts, macs(before, ctx.ops, facts))

    @property
    def total(self) -> float:
        """What the float graph costs."""
        if self.kind == "size":
            return float(sum(c.size_bytes for c in self.before.constants.values()))
        return sum(self._seconds(node, self.before) for node in self.before.nodes)

    def of_region(self, region: Region, graph: Graph) -> float:
        """Return the cost of a region as `graph` computes it."""
        node = graph.by_name[region.name]
        if self.kind == "latency":
            return self._seconds(node, graph)
        users = {v: len(graph.users[v]) for v in node.inputs if v in graph.constants}
        return sum(_stored_bytes(graph, value) / count for value, count in users.items())

    def _seconds(self, node: Node, graph: Graph) -> float:
        """Return the roofline of a node: arithmetic, bytes moved, and a fixed time."""
        speed = self.ctx.target.speed
        rate = speed.macs * (speed.integer if node.integer else 1.0)
        moved = sum(
            self._moved_bytes(node, value, graph) for value in (*node.inputs, *node.outputs)
        )
        return self.macs.get(node.name, 0) / rate + moved / speed.bytes + speed.node_seconds

    def _moved_bytes(self, node: Node, value: str, graph: Graph) -> float:
        if value in graph.constants:
            return _stored_bytes(graph, value)
        kind, shape = self.facts.types.get(value), self.facts.shape(value)
        if shape is None or not isinstance(kind, TensorType):
            return 0.0
        record = graph.records.get(value) if node.integer else None
        bits = kind.dtype.bits if record is None else record.dtype.bits
        return prod(shape) * bits / _BYTE


def _stored_bytes(graph: Graph, value: str) -> float:
    """Return the bytes of a constant as its record stores it, scales and zero points included."""
    constant, record = graph.constants[value], graph.records.get(value)
    if record is None:
        return float(constant.size_bytes)
    return constant.array.size * record.dtype.bits / _BYTE + _parameter_bytes(record)


def _parameter_bytes(record: Quantization) -> float:
    return float(record.scale.nbytes) + record.zero_point.size * record.dtype.bits / _BYTE
