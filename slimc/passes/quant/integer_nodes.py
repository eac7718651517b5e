"""Which nodes run in integers: what the operator can, what the target wants, what pays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf, prod

from slimc.analysis.contraction_axes import axis_with, channels_of, sum_order
from slimc.analysis.shapes import Facts, call_of, clamp_bounds
from slimc.ir.graph import Graph, Node, is_f32, is_finite
from slimc.ops.axes import BoundSignature, labels_of
from slimc.ops.op import Op, Quant, Weighted
from slimc.passes.context import Context
from slimc.passes.quant.between_contractions import remove_isolated
from slimc.passes.quant.quantizable_node import Site
from slimc.passes.schemes import FLOAT, Schemes
from slimc.rewrite.summed import bias_behind


@dataclass(frozen=True)
class IntegerChoice:
    """The nodes that run in integers, in graph order, and why others that could do not.

    clamps: nodes that only limit their operand to known bounds (Relu, Clip): a quantization behind
    one that covers the bounds does its work.
    """

    sites: Mapping[str, Site]
    reasons: Mapping[str, str]
    clamps: frozenset[str] = field(default_factory=frozenset)


def select_integer_nodes(
    graph: Graph, ctx: Context, facts: Facts, schemes: Schemes
) -> IntegerChoice:
    """Choose the nodes that run in integers, of those whose scheme fixes ranges ahead.

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
        if not schemes.is_static(node) and schemes.of_node(node) != FLOAT:
            continue  # its weight alone is looked at
        if not any(is_f32(graph, v) for v in (*node.inputs, *node.outputs)) and not row.macs:
            continue  # arithmetic on shapes
        site = _site(graph, ctx, facts, schemes, node, row)
        if isinstance(site, Site):
            sites[node.name] = site
        elif row.quant is not Quant.PASS_THROUGH:
            reasons[node.name] = site
    sites = _with_biases(graph, ctx, sites, schemes)
    clamps = frozenset(n.name for n in graph.nodes if _is_clamp(graph, ctx, facts, n))
    sites = {name: s for name, s in sites.items() if not _is_covered_clamp(graph, sites, clamps, s)}
    reasons |= remove_isolated(graph, ctx, sites, clamps)
    return IntegerChoice(sites, reasons, clamps)


def _is_clamp(graph: Graph, ctx: Context, facts: Facts, node: Node) -> bool:
    return clamp_bounds(graph, ctx.ops, facts, node) is not None


def _is_covered_clamp(
    graph: Graph, sites: Mapping[str, Site], clamps: Collection[str], site: Site
) -> bool:
    """Tell whether a site is a clamp that alone reads what a node makes.

    The Q of that node can do its work; where that node stays in float, so does the clamp.
    """
    value = site.node.inputs[0]
    maker = graph.producers.get(value)
    if site.node.name not in clamps or maker is None:
        return False
    moves = maker.name in sites and sites[maker.name].shares_scale
    return not moves and len(graph.users[value]) == 1 and value not in graph.outputs


def _site(
    graph: Graph, ctx: Context, facts: Facts, schemes: Schemes, node: Node, row: Op
) -> Site | str:
    """Return how a node runs in integers, or why it cannot."""
    config, name = schemes.wish(node), ctx.target.name
    if config is None or config.activations is None or row.quant is Quant.FLOAT_ONLY:
        return schemes.refusal(node)
    if ctx.target.misfit and (why := ctx.target.misfit(call_of(graph, facts, node))):
        return why
    for key, allowed in config.only.items():
        value = node.attrs.get(key)
        value = value.decode() if isinstance(value, bytes) else value
        if value not in allowed:
            return f"{name} runs {node.kind} in integers only with another {key} than {value}"
    if row.weighted is not None:
        return _contraction_site(graph, ctx, facts, Site(node, row, config, ()), row.weighted)
    takes = tuple(i for i, v in enumerate(node.inputs) if is_f32(graph, v))
    if row.quant is Quant.PASS_THROUGH:
        settings = [node.inputs[i] for i in takes[1:]]
        takes = takes[:1]
        if any(v not in graph.constants or not is_finite(graph, v) for v in settings):
            return "its settings are not finite constants"
    if not takes or all(node.inputs[i] in graph.constants for i in takes):
        return "it computes nothing from f32 values"
    constants = (node.inputs[i] for i in takes if node.inputs[i] in graph.constants)
    if not_finite := next((v for v in constants if not is_finite(graph, v)), ""):
        return f"its constant '{not_finite}' holds NaN or infinity"
    return Site(node, row, config, takes)


def _contraction_site(
    graph: Graph, ctx: Context, facts: Facts, site: Site, parts: Weighted
) -> Site | str:
    node, wants, name = site.node, site.config, ctx.target.name
    data, weight = node.inputs[parts.data], node.inputs[parts.weight]
    site = replace(site, takes=(parts.data, parts.weight))
    for value in (data, weight):
        if not is_f32(graph, value):
            kind = graph.type_of(value) or "of unknown type"
            return f"'{value}' is {kind}, and integers replace f32"
    if data in graph.constants:
        return f"its data '{data}' is constant"
    if weight not in graph.constants:
        return "both operands are computed at run time" if wants.needs_constant else site
    if not is_finite(graph, weight):
        return f"its weight '{weight}' holds NaN or infinity"
    bias = "" if parts.bias is None else (*node.inputs, "", "")[parts.bias]
    if bias in graph.constants and not is_finite(graph, bias):
        return f"its bias '{bias}' holds NaN or infinity"
    bound = facts.bounds.get(node.name)
    if bound is None:
        return f"its axes are not known: {facts.opaque.get(node.name, 'it has no signature')}"
    axis = None
    if not _is_stack(bound, parts):
        axis = axis_with(bound.inputs[parts.weight], {parts.channel})
    channels = channels_of(bound, parts)
    bounds = ((max, wants.min_channels, ""), (min, wants.min_each, " on both sides"))
    for extreme, least, where in bounds:
        if channels and extreme(channels) < least:
            why = f"{name} gains from integers with {least} or more{where}"
            return f"{channels[0]} channels in, {channels[1]} out: {why}"
    window = _window_size(bound, parts)
    if wants.max_window and window > wants.max_window:
        return f"its windows have {window} elements, and {name} takes {wants.max_window}"
    if _is_short(bound, parts, wants.short):
        site = replace(site, config=replace(wants, between=True))
    return replace(site, weight=weight, channel_axis=axis, sums=sum_order(bound, parts))


def _is_stack(bound: BoundSignature, parts: Weighted) -> bool:
    """Tell whether a weight has a matrix for each matrix of the data: it gets one scale.

    onnxruntime takes no scales along the columns of stacks (MatMulIntegerToFloat).
    """
    shared = labels_of(bound.inputs[parts.data]) & labels_of(bound.outputs[0])
    return any(labels_of((axis,)) and labels_of((axis,)) <= shared
               for axis in bound.inputs[parts.weight] or ())  # fmt: skip


def _window_size(bound: BoundSignature, parts: Weighted) -> int:
    """Return how many elements of each channel a result sums; 0: a size is not known."""
    weight, produced = bound.inputs[parts.weight] or (), labels_of(bound.outputs[0])
    others = labels_of(bound.inputs[parts.data]) | produced
    sizes = [bound.size(axis) for axis in weight if not labels_of((axis,)) & others]
    return prod(size if isinstance(size, int) else 0 for size in sizes)


def _is_short(bound: BoundSignature, parts: Weighted, short: tuple[int, int]) -> bool:
    """Tell whether results sum over fewer channels (of their group) and products than `short`."""
    weight, produced = bound.inputs[parts.weight] or (), labels_of(bound.outputs[0])
    summed = [axis for axis in weight if not labels_of((axis,)) & produced]
    data = labels_of(bound.inputs[parts.data])
    channels = [axis for axis in summed if labels_of((axis,)) & data]
    sizes = [[bound.size(axis) for axis in axes] for axes in (channels, summed)]
    return all(
        prod(size if isinstance(size, int) else inf for size in axis_sizes) < limit
        for axis_sizes, limit in zip(sizes, short, strict=True)
    )


def _with_biases(
    graph: Graph, ctx: Context, sites: Mapping[str, Site], schemes: Schemes
) -> dict[str, Site]:
    """Let constants added behind contractions be their biases, where the target stores those.

    A bias takes no integers of its own: neither it nor the sum before it is rounded to 8 bits.
    """
    placement = ctx.target.placement
    if placement is None or placement.bias == "float":
        return dict(sites)
    bias_nodes: dict[str, Site] = {}
    for site in sites.values():
        parts, axis = site.row.weighted, site.channel_axis
        if parts is None or site.weight is None or axis is None or not site.config.free_result:
            continue
        added = bias_behind(graph, ctx.ops, site.node, parts)
        channels = graph.constants[site.weight].shape[axis]
        if added is not None and added.elements.size in (1, channels):
            row, wants = ctx.ops.rows[added.reader.kind], replace(site.config, between=False)
            bias_nodes[added.reader.name] = Site(
                added.reader, row, wants, (), adds_bias_of=site.node.name
            )
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    float_nodes = {name for name, site in bias_nodes.items() if schemes.of_node(site.node) == FLOAT}
    merged = {
        **sites,
        **{name: site for name, site in bias_nodes.items() if name not in float_nodes},
    }
    return {name: merged[name] for name in sorted(merged, key=order.__getitem__)}
