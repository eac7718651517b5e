"""Which values need a record, and which of them share one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slimc.calib.table import ValueRange
from slimc.ir.graph import Graph, Node, is_f32
from slimc.ops.op import OpTable, Quant
from slimc.passes.quant.integer_nodes import IntegerChoice
from slimc.passes.quant.quantizable_node import Site, is_sole_reader
from slimc.rewrite.summed import has_bias_shape, sole_sum
from slimc.targets.target import Grid, Placement


@dataclass(frozen=True)
class ScaleGroup:
    """Values with one record on `grid`.

    sources: those of them whose ranges cover all (the others hold elements of these); settings:
    constants that an operator mixes in (the value that Pad fills with). fixed: sources whose ranges
    kernels take for granted, and these.
    """

    grid: Grid
    values: tuple[str, ...]
    sources: tuple[str, ...]
    settings: tuple[str, ...] = ()
    fixed: tuple[tuple[str, ValueRange], ...] = ()


def make_scale_groups(
    graph: Graph, ops: OpTable, placement: Placement, choice: IntegerChoice
) -> tuple[ScaleGroup, ...]:
    """Return the groups of activations (of constants too that are no weights), in graph order."""
    grids: dict[str, Grid] = {}
    for site in choice.sites.values():
        for value in _quantized_operands(graph, placement, choice, site):
            grids.setdefault(value, site.activations)
        if placement.output:
            for value in _quantized_results(graph, ops, choice, site):
                grids.setdefault(value, site.activations)
    leader = {value: value for value in grids}
    for site in choice.sites.values():
        if site.shares_scale:
            _unite(leader, [v for v in (*site.operands, *site.node.outputs) if v in grids])
        elif site.config.scales == "operands":
            _unite(leader, [v for v in site.operands if v in grids])
    members_of: dict[str, list[str]] = {}
    for value in grids:
        members_of.setdefault(_find_root(leader, value), []).append(value)
    return tuple(_make_group(graph, choice, grids, members) for members in members_of.values())


def _quantized_operands(
    graph: Graph, placement: Placement, choice: IntegerChoice, site: Site
) -> Iterator[str]:
    """Yield the operands that need a record of an activation."""
    weighted = site.row.weighted
    alone = [v for v in site.operands if is_sole_reader(graph, choice.sites, v, site.node)]
    fused = alone if placement.residual == "skip" and len(alone) == 1 else []
    for i, value in zip(site.takes, site.operands, strict=True):
        if weighted is None:
            if value not in fused or site.row.quant is not Quant.POINTWISE:
                yield value
        elif i == weighted.data or value not in graph.constants or site.config.weights is None:
            yield value


def _quantized_results(
    graph: Graph, ops: OpTable, choice: IntegerChoice, site: Site
) -> Iterator[str]:
    """Yield the results that need a record, or what a clamp makes of them for all readers.

    Where a contraction could give floats, its result needs one too if a clamp or a computed summand
    follows: runtimes fuse the two in floats, unless Q stands between or does the work of the clamp.
    """
    for result in site.node.outputs:
        if not result or not _is_float(graph, result):
            continue
        clamp = None if site.shares_scale else _sole_reader(graph, result)
        clamped = clamp is not None and clamp.name in choice.clamps
        value = clamp.outputs[0] if clamp is not None and clamped else result
        read = any(
            reader.name in choice.sites and value in choice.sites[reader.name].operands
            for reader in graph.users.get(value, ())
        )
        summed = clamped or _is_fused_sum(graph, ops, choice, site)
        fused = site.row.weighted is not None and summed
        if read or not site.config.free_result or fused:
            yield value


def _is_fused_sum(graph: Graph, ops: OpTable, choice: IntegerChoice, site: Site) -> bool:
    """Return whether a product has a computed summand that a runtime takes for a bias."""
    weighted, result = site.row.weighted, site.node.outputs[0]
    if weighted is None or weighted.bias is not None:
        return False
    summed = sole_sum(graph, ops, result)
    if summed is None or summed.node.name in choice.sites:
        return False  # a site that adds it is its bias, or has integers of its own
    summand, product = map(graph.shape_of, (summed.other, result))
    return summand is not None and product is not None and has_bias_shape(summand, product)


def _sole_reader(graph: Graph, value: str) -> Node | None:
    readers = graph.users.get(value, ())
    return readers[0] if len(readers) == 1 and value not in graph.outputs else None


def _is_float(graph: Graph, value: str) -> bool:
    dtype = graph.dtype_of(value)
    return dtype is None or dtype.is_float


def _make_group(
    graph: Graph, choice: IntegerChoice, grids: Mapping[str, Grid], members: list[str]
) -> ScaleGroup:
    sources, settings, fixed = [], [], []
    for value in members:
        maker = graph.producers.get(value)
        site = choice.sites.get(maker.name) if maker is not None else None
        if site is None or not site.shares_scale:
            sources.append(value)
            if site is not None and site.config.result is not None:
                fixed.append((value, ValueRange(*site.config.result)))
        elif site.row.quant is Quant.PASS_THROUGH:
            others = [v for i, v in enumerate(site.node.inputs) if v and i not in site.takes]
            settings += [v for v in others if v in graph.constants and _is_float(graph, v)]
    lists = (tuple(members), tuple(sources), tuple(settings), tuple(fixed))
    return ScaleGroup(grids[members[0]], *lists)


def _unite(leader: dict[str, str], members: list[str]) -> None:
    roots = [_find_root(leader, value) for value in members]
    for root in roots[1:]:
        leader[_find_root(leader, root)] = _find_root(leader, roots[0])


def _find_root(leader: dict[str, str], value: str) -> str:
    while leader[value] != value:
        leader[value] = value = leader[leader[value]]
    return value


def cover_all_values(
    graph: Graph, shared: Sequence[ScaleGroup], choice: IntegerChoice
) -> tuple[ScaleGroup, ...]:
    """Return scale groups in which every value that is computed in floats has its place.

    What a clamp alone reads has the scale of the clamp's result: the kernel that makes it clamps.
    """
    group_of = {value: i for i, group in enumerate(shared) for value in group.values}
    members = [list(group.values) for group in shared]
    rest: list[str] = []
    values = (*graph.inputs, *graph.producers)
    for value in reversed([v for v in values if v not in group_of and is_f32(graph, v)]):
        readers = graph.users.get(value, ())
        clamp = readers[0] if len(readers) == 1 and value not in graph.outputs else None
        place = group_of.get(clamp.outputs[0]) if clamp and clamp.name in choice.clamps else None
        if place is None:
            rest.append(value)
        else:
            members[place].append(value)
            group_of[value] = place
    known = (replace(g, values=tuple(m)) for g, m in zip(shared, members, strict=True))
    grid = shared[0].grid
    return (*known, *(ScaleGroup(grid, (value,), (value,)) for value in reversed(rest)))
