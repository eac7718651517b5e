"""Which nodes run in integers: what the operator can, what the target wants, what pays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, prod

import numpy as np

from slimc.analysis.shapes import Facts, call_of
from slimc.analysis.sum_order import sum_order
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops.axes import Axis, Bound
from slimc.ops.op import Op, Quant, Weighted
from slimc.passes.context import Context, Quantize
from slimc.passes.emit_qdq import bias_behind


@dataclass(frozen=True)
class Site:
    """A node that can run in integers.

    takes: operands taken as integers (bias excepted). weight: the second of them where it is a
    constant of a contraction, with its axis of output channels, and those it is summed over, in the
    order of the kernel (`sum_order`). adds_bias_of: the contraction whose
    bias this node adds: the kernel of that one does it, in the integers of its sums.
    """

    node: Node
    row: Op
    wants: Quantize
    takes: tuple[int, ...]
    weight: str | None = None
    channel_axis: int | None = None
    sums: tuple[int, ...] = ()
    adds_bias_of: str = ""

    @property
    def operands(self) -> tuple[str, ...]:
        """Values taken as integers."""
        return tuple(self.node.inputs[i] for i in self.takes)

    @property
    def shares_scale(self) -> bool:
        """Tell whether operands and results have one scale."""
        if self.wants.scales != "operator":
            return self.wants.scales == "shared"
        return self.row.quant in (Quant.PASS_THROUGH, Quant.SHARED_SCALE)


@dataclass(frozen=True)
class Choice:
    """The nodes that run in integers, in graph order, and why others that could do not.

    clamps: nodes that only limit their operand to known bounds (Relu, Clip): a quantization behind
    one that covers the bounds does its work.
    """

    sites: Mapping[str, Site]
    reasons: Mapping[str, str]
    clamps: frozenset[str] = field(default_factory=frozenset)


def choose(graph: Graph, ctx: Context, facts: Facts, kept: Collection[str]) -> Choice:
    """Choose the nodes that run in integers.

    A contraction does wherever the target can. Other operators, where the target says so, only
    between contractions: an integer node makes an operand, and integer nodes lead from the result
    to a contraction; elsewhere they would round values that floats carry for nothing.
    """
    sites: dict[str, Site] = {}
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        row = ctx.ops.get(node.kind)
        if row is None or not (row.macs or row.quant is not Quant.FLOAT_ONLY):
            continue
        if not any(_is_f32(graph, v) for v in (*node.inputs, *node.outputs)) and not row.macs:
            continue  # arithmetic on shapes
        site = "it is kept" if node.name in kept else _site(graph, ctx, facts, node, row)
        if isinstance(site, Site):
            sites[node.name] = site
        elif row.quant is not Quant.PASS_THROUGH:
            reasons[node.name] = site
    sites = _with_biases(graph, ctx, sites, kept)
    clamps = frozenset(n.name for n in graph.nodes if _is_clamp(graph, ctx, facts, n))
    reasons |= _withdraw(graph, ctx, sites, clamps)
    for node in _inside(graph):
        row = ctx.ops.get(node.kind)
        if row is not None and row.macs:
            reasons[node.name] = "it stands in a body (If, Loop, Scan), where no range is measured"
    return Choice(sites, reasons, clamps)


def _is_clamp(graph: Graph, ctx: Context, facts: Facts, node: Node) -> bool:
    row = ctx.ops.get(node.kind)
    clamp = row.clamp if row is not None else None
    return clamp is not None and clamp(call_of(graph, facts, node)) is not None


def made_alone(graph: Graph, sites: Mapping[str, Site], value: str, reader: Node) -> bool:
    """Tell whether an integer contraction makes a value for one reader alone."""
    maker = graph.producers.get(value)
    site = sites.get(maker.name) if maker is not None else None
    if site is None or site.row.weighted is None or value in graph.outputs:
        return False
    return graph.users[value] == (reader,) and reader.inputs.count(value) == 1


def _inside(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        for body in node.bodies:
            yield from body.walk()


def _is_f32(graph: Graph, value: str) -> bool:
    kind = graph.type_of(value)
    return isinstance(kind, TensorType) and kind.dtype is DType.F32


def _site(graph: Graph, ctx: Context, facts: Facts, node: Node, row: Op) -> Site | str:
    """Return how a node runs in integers, or why it cannot."""
    wants, name = ctx.target.quantize.get(node.kind), ctx.target.name
    if wants is None or row.quant is Quant.FLOAT_ONLY:
        return f"{name} runs {node.kind} in float"
    for key, allowed in wants.only.items():
        value = node.attrs.get(key)
        value = value.decode() if isinstance(value, bytes) else value
        if value not in allowed:
            return f"{name} runs {node.kind} in integers only with another {key} than {value}"
    if row.weighted is not None:
        return _contraction(graph, ctx, facts, Site(node, row, wants, ()), row.weighted)
    takes = tuple(i for i, v in enumerate(node.inputs) if v and _is_f32(graph, v))
    if row.quant is Quant.PASS_THROUGH:
        settings = [node.inputs[i] for i in takes[1:]]
        takes = takes[:1]
        if any(v not in graph.constants or not finite(graph, v) for v in settings):
            return "its settings are not finite constants"
    if not takes or all(node.inputs[i] in graph.constants for i in takes):
        return "it computes nothing from f32 values"
    return Site(node, row, wants, takes)


def finite(graph: Graph, constant: str) -> bool:
    """Tell whether a constant holds neither NaN nor infinity."""
    return bool(np.isfinite(graph.constants[constant].array).all())


def _contraction(
    graph: Graph, ctx: Context, facts: Facts, site: Site, parts: Weighted
) -> Site | str:
    node, wants, name = site.node, site.wants, ctx.target.name
    data, weight = node.inputs[parts.data], node.inputs[parts.weight]
    site = replace(site, takes=(parts.data, parts.weight))
    for value in (data, weight):
        if not _is_f32(graph, value):
            kind = graph.type_of(value) or "of unknown type"
            return f"'{value}' is {kind}, and integers replace f32"
    if data in graph.constants:
        return f"its data '{data}' is constant"
    if weight not in graph.constants:
        return "both operands are computed at run time" if wants.needs_constant else site
    if not finite(graph, weight):
        return f"its weight '{weight}' holds NaN or infinity"
    bound = facts.bounds.get(node.name)
    if bound is None:
        return f"its axes are not known: {facts.opaque.get(node.name, 'it has no signature')}"
    axis = _axis_with(bound.inputs[parts.weight], {parts.channel})
    channels = _channels(bound, parts)
    if channels and max(channels) < wants.min_channels:
        least = f"{name} gains from integers with {wants.min_channels} or more"
        return f"{channels[0]} channels in, {channels[1]} out: {least}"
    if _is_short(bound, parts, wants.short):
        site = replace(site, wants=replace(wants, between=True))
    return replace(site, weight=weight, channel_axis=axis, sums=sum_order(bound, parts))


def _channels(bound: Bound, parts: Weighted) -> tuple[int, ...]:
    """Return the channels of data and result, nothing where one is not known."""
    weight_labels = _labels(bound.inputs[parts.weight])
    summed = weight_labels - _labels(bound.outputs[0])
    places = (
        (bound.inputs[parts.data], summed),
        (bound.outputs[0], {parts.channel}),
    )
    sizes = []
    for axes, labels in places:
        axis = _axis_with(axes, labels)
        size = bound.size(axes[axis]) if axes is not None and axis is not None else None
        sizes.append(size)
    known = tuple(s for s in sizes if isinstance(s, int))
    return known if len(known) == 2 else ()


def _is_short(bound: Bound, parts: Weighted, short: tuple[int, int]) -> bool:
    """Tell whether results sum over fewer channels (of their group) and products than `short`."""
    weight, made = bound.inputs[parts.weight] or (), _labels(bound.outputs[0])
    summed = [axis for axis in weight if not _labels((axis,)) & made]
    data = _labels(bound.inputs[parts.data])
    channels = [axis for axis in summed if _labels((axis,)) & data]
    sizes = [[bound.size(axis) for axis in axes] for axes in (channels, summed)]
    return all(
        prod(size if isinstance(size, int) else inf for size in some) < limit
        for some, limit in zip(sizes, short, strict=True)
    )


def _labels(axes: tuple[Axis, ...] | None) -> set[str]:
    return {label.name for axis in axes or () for term in axis for label in term}


def _axis_with(axes: tuple[Axis, ...] | None, labels: Collection[str]) -> int | None:
    for i, axis in enumerate(axes or ()):
        if any(label.name in labels for term in axis for label in term):
            return i
    return None


def _with_biases(
    graph: Graph, ctx: Context, sites: Mapping[str, Site], kept: Collection[str]
) -> dict[str, Site]:
    """Let constants added behind contractions be their biases, where the target stores those.

    A bias takes no integers of its own: neither it nor the sum before it is rounded to 8 bits.
    """
    placement = ctx.target.placement
    if placement is None or placement.bias == "float":
        return dict(sites)
    found: dict[str, Site] = {}
    for site in sites.values():
        parts, axis = site.row.weighted, site.channel_axis
        if parts is None or site.weight is None or axis is None or not site.wants.free_result:
            continue
        added = bias_behind(graph, site.node, parts)
        channels = graph.constants[site.weight].shape[axis]
        if added is not None and added.elements.size in (1, channels):
            row, wants = ctx.ops.rows[added.reader.kind], replace(site.wants, between=False)
            found[added.reader.name] = Site(
                added.reader, row, wants, (), adds_bias_of=site.node.name
            )
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    both = {**sites, **{name: site for name, site in found.items() if name not in kept}}
    return {name: both[name] for name in sorted(both, key=order.__getitem__)}


def _withdraw(
    graph: Graph, ctx: Context, sites: dict[str, Site], clamps: Collection[str]
) -> dict[str, str]:
    """Take back sites that do not stand between contractions, until none is left; say why."""
    reasons: dict[str, str] = {}
    while found := _not_fed(graph, ctx, sites, clamps) | _not_read(graph, sites, clamps):
        for name, reason in found.items():
            site = sites.pop(name)
            if site.row.weighted is not None:
                reason = f"its sums are short, and {reason}"
            if site.row.quant is not Quant.PASS_THROUGH:
                reasons[name] = reason
    return reasons


def _not_fed(
    graph: Graph, ctx: Context, sites: Mapping[str, Site], clamps: Collection[str]
) -> dict[str, str]:
    """Find sites whose operands do not come from integer nodes as the target wants it."""
    placement = ctx.target.placement
    skips = placement is not None and placement.residual == "skip"
    made: set[str] = set()
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        site = sites.get(node.name)
        if site is None:
            if node.name in clamps and node.inputs[0] in made:
                made.update(node.outputs)
            continue
        if site.wants.between and not any(v in made for v in site.operands):
            reasons[node.name] = "no integer node makes an operand"
        elif skips and site.row.quant is Quant.POINTWISE and not _fuses(graph, sites, site):
            reasons[node.name] = "no contraction makes an operand for it alone"
        else:
            made.update(node.outputs)
    return reasons


def _fuses(graph: Graph, sites: Mapping[str, Site], site: Site) -> bool:
    """Tell whether a contraction makes one operand for a node alone, and something else another."""
    if site.adds_bias_of:
        return True
    computed = [v for v in site.operands if v not in graph.constants]
    return len(computed) > 1 and any(made_alone(graph, sites, v, site.node) for v in computed)


def _not_read(graph: Graph, sites: Mapping[str, Site], clamps: Collection[str]) -> dict[str, str]:
    """Find sites from whose result no integer nodes lead to a contraction, itself perhaps."""
    read: set[str] = set()
    reasons: dict[str, str] = {}
    for node in reversed(graph.nodes):
        site = sites.get(node.name)
        if site is None:
            if node.name in clamps and node.outputs[0] in read:
                read.add(node.inputs[0])
        elif (
            (site.row.weighted is not None and not site.wants.between)
            or site.adds_bias_of
            or any(v in read for v in node.outputs)
        ):
            read.update(site.operands)
        else:
            reasons[node.name] = "no contraction in integers reads its result"
    return reasons
