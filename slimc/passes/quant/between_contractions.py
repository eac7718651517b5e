"""Operators run in integers only between contractions that do: others are taken back."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slimc.ir.graph import Graph
from slimc.ops.op import Quant
from slimc.passes.context import Context
from slimc.passes.quant.quantizable_node import Site, is_sole_reader


def remove_isolated(
    graph: Graph, ctx: Context, sites: dict[str, Site], clamps: Collection[str]
) -> dict[str, str]:
    """Take back sites that do not stand between contractions, until none is left; say why."""
    reasons: dict[str, str] = {}
    while isolated := _find_unfed(graph, ctx, sites, clamps) | _find_unread(graph, sites, clamps):
        for name, reason in isolated.items():
            site = sites.pop(name)
            if site.row.weighted is not None:
                reason = f"its sums are short, and {reason}"
            if site.row.quant is not Quant.PASS_THROUGH:
                reasons[name] = reason
    return reasons


def _find_unfed(
    graph: Graph, ctx: Context, sites: Mapping[str, Site], clamps: Collection[str]
) -> dict[str, str]:
    """Find sites whose operands do not come from integer nodes as the target wants it."""
    placement = ctx.target.placement
    skips = placement is not None and placement.residual == "skip"
    produced: set[str] = set()
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        site = sites.get(node.name)
        if site is None:
            if node.name in clamps and node.inputs[0] in produced:
                produced.update(node.outputs)
            continue
        if site.config.between and not any(v in produced for v in site.operands):
            reasons[node.name] = "no integer node makes an operand"
        elif skips and site.row.quant is Quant.POINTWISE and not _is_fusable(graph, sites, site):
            reasons[node.name] = "no contraction makes an operand for it alone"
        else:
            produced.update(node.outputs)
    return reasons


def _is_fusable(graph: Graph, sites: Mapping[str, Site], site: Site) -> bool:
    """Tell whether a contraction makes one operand for a node alone, and something else another."""
    if site.adds_bias_of:
        return True
    computed = [v for v in site.operands if v not in graph.constants]
    return len(computed) > 1 and any(is_sole_reader(graph, sites, v, site.node) for v in computed)


def _find_unread(
    graph: Graph, sites: Mapping[str, Site], clamps: Collection[str]
) -> dict[str, str]:
    """Find sites from whose result no integer nodes lead to a contraction, itself perhaps."""
    consumed: set[str] = set()
    reasons: dict[str, str] = {}
    for node in reversed(graph.nodes):
        site = sites.get(node.name)
        if site is None:
            if node.name in clamps and node.outputs[0] in consumed:
                consumed.add(node.inputs[0])
        elif (
            (site.row.weighted is not None and not site.config.between)
            or site.adds_bias_of
            or site.config.anywhere
            or any(v in consumed for v in node.outputs)
        ):
            consumed.update(site.operands)
        else:
            reasons[node.name] = "no contraction in integers reads its result"
    return reasons
