"""Choose the scheme of every region under a budget of bytes or predicted seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slimc.analysis.coupling import couple
from slimc.analysis.latency import amounts, multiples
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.analysis.workload import steps
from slimc.calib.output_loss import Loss
from slimc.errors import PromiseError, SlimcError, did_you_mean
from slimc.ir.graph import Graph, Quantization
from slimc.passes.base import Pass
from slimc.passes.context import Context
from slimc.passes.quant.marked_regions import exactly
from slimc.passes.schemes import AUTO, FLOAT
from slimc.pipeline.accuracy_criteria import decibels
from slimc.pipeline.region_losses import Simulation
from slimc.pipeline.runner import Watcher, apply
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
    budget: Budget, pass_: Pass, before: Graph, ctx: Context, loss: Loss, watcher: Watcher
) -> tuple[Pass, Remark]:
    """Return the pass with a scheme for every region, and what is to be said of it.

    Every scheme of the target, or the one that the pass names, is assigned once, and each of its
    regions run alone. Raises PromiseError "budget-missed" where no choice is within the budget.
    """
    named, mixed = pass_.schemes
    if mixed:
        raise SlimcError(
            "bad-option-value",
            "a budget chooses the schemes of nodes, and mixed names them already",
            f"option mixed of pass {pass_.name}",
            "leave out one of them; keep names nodes that stay in float",
        )
    placement = ctx.target.placement
    if budget.kind == "size" and placement is not None and placement.beside:
        raise SlimcError(
            "bad-option-value",
            f"a file for {ctx.target.name} holds weights as floats, whatever scheme they have",
            "option budget",
            "--budget latency=0.6, or none",
        )
    floats = _costs(before, ctx, budget.kind)
    total = sum(floats.values() if budget.kind == "latency" else _sizes(before))
    found: dict[str, list[Option]] = {}
    nodes: dict[str, set[str]] = {}
    for scheme in ctx.target.schemes if named == AUTO else (named,):
        marked = apply([pass_.with_schemes(scheme, ())], before, ctx)
        simulation = Simulation(marked, before, ctx, loss)
        costs = _costs(marked, ctx, budget.kind)
        for region in simulation.regions:
            watcher.measuring(f"{scheme} of '{region.name}'")
            option = Option(scheme, simulation.loss_of(region), costs[region.name])
            found.setdefault(region.name, []).append(option)
            nodes.setdefault(region.name, set()).update(region.nodes)
    for name, options in found.items():
        options.append(Option(FLOAT, 0.0, floats[name]))
    rest = total - sum(options[-1].cost for options in found.values())
    goal = budget.ratio * total - rest
    chosen = choose_schemes(list(found.values()), goal) if goal > 0 else None
    if chosen is None:
        raise _missed(budget, total, rest, found)
    picked = {name: options[i] for (name, options), i in zip(found.items(), chosen, strict=True)}
    return _with_schemes(pass_, picked, nodes, before, ctx), _told(budget, picked, rest, total)


def _with_schemes(
    pass_: Pass,
    picked: Mapping[str, Option],
    nodes: Mapping[str, set[str]],
    before: Graph,
    ctx: Context,
) -> Pass:
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
    return pass_.with_schemes(usual, mixed)


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


def _costs(graph: Graph, ctx: Context, kind: str) -> Mapping[str, float]:
    """Return what every node costs: bytes of constants, or predicted seconds.

    A constant that several nodes read is shared out. Nodes that kernels do in the same go as
    another cost nothing. A region costs what its contraction does: operators that hang on it are
    small beside that, and cost what they do in floats.
    """
    if kind == "latency":
        coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))
        rounded = multiples(coupling, families(coupling), ctx.align)
        seconds = {
            step.node.name: amounts(step, rounded).seconds(ctx.target.speed.rates(step.work))
            for step in steps(coupling)
        }
        return {node.name: seconds.get(node.name, 0.0) for node in graph.nodes}
    return {
        node.name: sum(
            _stored_bytes(graph, value) / len(graph.users[value])
            for value in dict.fromkeys(node.inputs)
            if value in graph.constants
        )
        for node in graph.nodes
    }


def _sizes(graph: Graph) -> list[float]:
    return [float(constant.size_bytes) for constant in graph.constants.values()]


def _stored_bytes(graph: Graph, value: str) -> float:
    """Return the bytes of a constant as its record stores it, scales and zero points included."""
    constant, record = graph.constants[value], graph.records.get(value)
    if record is None:
        return float(constant.size_bytes)
    return constant.array.size * record.dtype.bits / _BYTE + _parameter_bytes(record)


def _parameter_bytes(record: Quantization) -> float:
    return float(record.scale.nbytes) + record.zero_point.size * record.dtype.bits / _BYTE


NODES = 2_000  # of the search tree: a limit that does not depend on the machine
_SLACK = 2e-6  # HiGHS takes constraints as met within 1e-6


@dataclass(frozen=True)
class Option:
    """A scheme for a region: the noise of it alone, and what it costs."""

    scheme: str
    noise: float
    cost: float


def choose_schemes(regions: Sequence[Sequence[Option]], budget: float) -> list[int] | None:
    """Return the number of the option that each region gets; None where no choice costs so little.

    budget: more than 0. An option is left out where another is as good and costs less.
    """
    least = [min(range(len(one)), key=lambda i: (one[i].cost, one[i].noise)) for one in regions]
    if sum(one[i].cost for one, i in zip(regions, least, strict=True)) > budget:
        return None
    from scipy.optimize import Bounds, milp
    from scipy.sparse import coo_array

    first = np.cumsum([0, *(len(one) for one in regions)])
    noise = np.array([option.noise for one in regions for option in one])
    cost = np.array([option.cost for one in regions for option in one]) / budget
    scale = float(noise.max(initial=0.0)) or 1.0
    rows = np.repeat(np.arange(len(regions)), np.diff(first))
    once = coo_array((np.ones(len(rows)), (rows, np.arange(len(rows)))))
    found = milp(
        noise / scale,
        integrality=np.ones(len(noise), int),
        bounds=Bounds(0, [float(_is_best(o, one)) for one in regions for o in one]),
        constraints=[(once.tocsc(), 1, 1), (cost[None], -np.inf, 1 - _SLACK)],
        options={"node_limit": NODES, "mip_rel_gap": 0.0},
    )
    if found.x is None:
        return least
    return [int(np.argmax(found.x[a:b])) for a, b in pairwise(first.tolist())]


def _is_best(option: Option, options: Sequence[Option]) -> bool:
    """Tell whether no other option is as good in one respect and better in the other."""
    mine = (option.noise, option.cost)
    others = [(one.noise, one.cost) for one in options]
    return not any(a <= mine[0] and b <= mine[1] and (a, b) != mine for a, b in others)
