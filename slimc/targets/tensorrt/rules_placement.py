"""Rules for TensorRT on where Q and DQ stand: what it silently runs in float, or slower.

Evidence: NVIDIA's guide, "Q/DQ placement recommendations"; engines that TensorRT-RTX 1.7 built with
each of these operators between a DQ and a convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slimc.analysis.contraction_axes import channels_of
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.ops.op import OpTable, Weighted
from slimc.ops.qdq import DEQUANTIZE
from slimc.targets.contractions import LONGEST, Conversion, contractions, dequantized, weight_of
from slimc.targets.fixes.file import fold_normalisations
from slimc.targets.rules.widths import aligned_channels, folded_normalisation
from slimc.targets.target import Finding, Subject, Target, TargetRule

# Q/DQ in front of these are as good as behind them: TensorRT swaps them.
_MOVES = (
    "DepthToSpace Dropout Expand Flatten Gather GlobalMaxPool Identity MaxPool ReduceMax Reshape "
    "Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
)
MOVES = frozenset(_MOVES.split())
# These compute in floats behind a DQ, and the contraction behind them too.
_ACTIVATIONS = (
    "AveragePool Clip Elu Erf Gelu GlobalAveragePool HardSigmoid HardSwish LayerNormalization "
    "LeakyRelu Mish PRelu ReduceMean Relu Resize Sigmoid Softmax Softplus Swish Tanh"
)
ACTIVATIONS = frozenset(_ACTIVATIONS.split())
_CLOSER = "put Q/DQ directly before the contraction"


@dataclass(frozen=True)
class _Origin:
    """Where a value comes from by moves and joins alone.

    ends: the DQs it comes from; floats: values that come from none; hidden: the first of the nodes
    that stand between it and a DQ.
    """

    ends: tuple[Conversion, ...]
    floats: tuple[str, ...]
    hidden: Node | None

    @property
    def is_quantized(self) -> bool:
        return bool(self.ends) and not self.floats and self.has_one_scale

    @property
    def has_one_scale(self) -> bool:
        first, *rest = self.ends
        return all(one.node is first.node or one.same_scale(first) for one in rest)


def _origin(graph: Graph, ops: OpTable, value: str) -> _Origin:
    todo, seen = [value], {value}
    ends: list[Conversion] = []
    floats: list[str] = []
    hidden = None
    while todo:
        one = todo.pop()
        if len(seen) > LONGEST:
            return _Origin((), (one,), None)
        maker = graph.producers.get(one)
        found = dequantized(graph, one)
        if found is not None:
            ends.append(found)
        elif maker is not None and (maker.kind == "Concat" or _is_moved(graph, maker)):
            more = maker.inputs if maker.kind == "Concat" else maker.inputs[:1]
            todo += [v for v in more if v not in seen]
            seen.update(more)
        else:
            floats.append(one)
            hidden = hidden or (maker if _hides(graph, ops, maker) else None)
    return _Origin(tuple(ends), tuple(floats), hidden)


def _is_moved(graph: Graph, node: Node) -> bool:
    """Tell whether TensorRT swaps a node with the Q/DQ before it; a factor goes into the scale."""
    if node.kind == "Cast":
        to = node.attrs.get("to")
        return isinstance(to, int) and DType.of_code(to).is_float
    if node.kind == "Pad":
        filled = graph.array(node.inputs[2]) if node.inputs[2:] and node.inputs[2] else None
        constant = node.attrs.get("mode", b"constant") == b"constant"
        return not (constant and node.inputs[2:] and node.inputs[2]) or (
            filled is not None and not filled.any()
        )
    if node.kind in ("Mul", "Div"):
        factor = graph.array(node.inputs[1])
        return factor is not None and factor.size == 1
    return node.kind in MOVES


def _hides(graph: Graph, ops: OpTable, node: Node | None) -> bool:
    """Tell whether a DQ stands before a node, with operators of one computed operand between."""
    for _ in range(LONGEST):
        if node is None or node.op == DEQUANTIZE:
            return node is not None
        computed = [v for v in node.inputs if v and v not in graph.constants]
        if len(computed) != 1 or ops.weighted(node):
            return False
        node = graph.producers.get(computed[0])
    return False


@dataclass(frozen=True)
class _Loss:
    """Why a contraction with Q/DQ runs in float, and by which rule."""

    code: str
    message: str
    help: str


def _loss(subject: Subject, node: Node, parts: Weighted) -> _Loss | None:
    """Say why a contraction runs in float, if its weight or its data were to be integers."""
    graph = subject.graph
    origin = _origin(graph, subject.ops, node.inputs[parts.data])
    weight = weight_of(subject, node.inputs[parts.weight])
    if weight is None:
        message = "its weight is not quantized, so it runs in float"
        lost = _Loss("L09", message, "quantize the weight too, or read the data before their Q/DQ")
        return lost if origin.is_quantized else None
    if origin.is_quantized:
        return _kernel_loss(subject.target, node)
    hidden = origin.hidden
    if hidden is not None:
        code = "L11" if hidden.kind in ACTIVATIONS else "L10"
        message = f"'{hidden.name}' ({hidden.kind}) stands between it and the Q/DQ of its data"
        return _Loss(code, message, _CLOSER)
    if origin.ends and not origin.floats:
        help = "give its operands one scale, the largest; or put Q/DQ behind it"
        return _Loss("L12", "it reads a Concat whose operands have different scales", help)
    if origin.ends:
        message = f"it reads a Concat whose operand '{origin.floats[0]}' is not quantized"
        return _Loss("L12", message, _CLOSER)
    if not node.integer and _stores_weights(subject.target, node.kind):
        return None  # floats with weights that are stored small
    return _Loss("L09", "its data is not quantized, so it runs in float", _CLOSER)


def _kernel_loss(target: Target, node: Node) -> _Loss | None:
    """Say that typed builders have no integer kernel of a contraction: TensorRT-RTX has none."""
    if not target.typed or node.kind in target.quantize:
        return None
    message = f"{node.kind} has no integer kernel, so it runs in float"
    return _Loss("L09", message, "leave it in float")


def _stores_weights(target: Target, kind: str) -> bool:
    """Tell whether a scheme of the target stores an operator's weights small, and nothing else."""
    wishes = [scheme[kind] for scheme in target.schemes.values() if kind in scheme]
    return any(wish.activations is None for wish in wishes)


def _losses(subject: Subject) -> tuple[tuple[Node, _Loss], ...]:
    """Return the contractions with Q/DQ that run in float, and why."""
    every = contractions(subject.graph, subject.ops)
    losses = ((node, _loss(subject, node, parts)) for node, parts in every)
    return tuple((node, loss) for node, loss in losses if loss is not None)


def _losses_by(code: str) -> Callable[[Subject], Iterator[Finding]]:
    """Make the check of one rule among those by which contractions fall to float."""

    def check(subject: Subject) -> Iterator[Finding]:
        for node, loss in subject.once(_losses):
            if loss.code == code:
                yield Finding("silent", node.name, loss.message, loss.help)

    return check


def _one_branch(subject: Subject) -> Iterator[Finding]:
    """Find Q/DQ between an Add and the contraction that feeds it: the two would fuse."""
    graph = subject.graph
    makers = {node.outputs[0] for node, _ in contractions(graph, subject.ops)}
    for node in graph.nodes:
        if node.kind != "Add":
            continue
        found = [dequantized(graph, value) for value in node.inputs]
        if all(one is not None for one in found) and any(
            one is not None and one.source in makers and len(graph.users[one.source]) == 1
            for one in found
        ):
            message = "both operands are quantized: the Add is a kernel of its own"
            help = "leave out the Q/DQ between the contraction and the Add"
            yield Finding("perf", node.name, message, help)


def _quantized(subject: Subject) -> tuple[tuple[Node, Weighted], ...]:
    """Return the contractions that run in integers."""
    graph, ops = subject.graph, subject.ops
    return tuple(
        (node, parts)
        for node, parts in contractions(graph, ops)
        if weight_of(subject, node.inputs[parts.weight]) is not None
        and _origin(graph, ops, node.inputs[parts.data]).is_quantized
    )


def _wide_enough(subject: Subject) -> Iterator[Finding]:
    """Find contractions that gain nothing from integers: they are padded to more channels."""
    for node, parts in subject.once(_quantized):
        wish, bound = subject.target.quantize.get(node.kind), subject.facts.bounds.get(node.name)
        sizes = channels_of(bound, parts) if wish is not None and bound is not None else ()
        if not sizes or wish is None:
            continue
        if max(sizes) < wish.min_channels or min(sizes) < wish.min_each:
            message = f"{sizes[0]} channels in, {sizes[1]} out: in integers they are padded"
            yield Finding("perf", node.name, message, "leave it in float")


def _four_channels(subject: Subject) -> Iterator[Finding]:
    """Integer kernels work on four channels at a time; others are padded, with a copy."""
    for node, parts in subject.once(_quantized):
        bound = subject.facts.bounds.get(node.name)
        sizes = bound.sizes if bound is not None else {}
        group, channels = sizes.get("g", 1), sizes.get(parts.channel)
        if group == 1 and isinstance(channels, int) and channels % 4:
            message = f"{channels} output channels are no multiple of 4: they are padded and copied"
            yield Finding("perf", node.name, message, "prune to a multiple of 4, better of 32")


def _float_products(subject: Subject) -> Iterator[Finding]:
    """Products of two activations: in integers attention loses its fused kernel."""
    for node, parts in subject.once(_quantized):
        weight = weight_of(subject, node.inputs[parts.weight])
        if weight is not None and not weight.conversion.stored:
            message = "a product of two activations in integers: attention loses its fused kernel"
            yield Finding("perf", node.name, message, "leave it in float")


FOLDED = TargetRule(
    "L14",
    "folded-normalisation",
    "no BatchNormalization is left",
    folded_normalisation,
    fold_normalisations,
)
ALIGNED = TargetRule(
    "L24", "aligned-channels", "channels are multiples of what kernels like", aligned_channels
)
PLACEMENT_RULES = (
    TargetRule(
        "L09", "both-operands", "data and weight are quantized, or neither", _losses_by("L09")
    ),
    TargetRule("L10", "direct-data", "only moves stand behind the Q/DQ of data", _losses_by("L10")),
    TargetRule("L11", "behind-activation", "Q/DQ stand behind activations", _losses_by("L11")),
    TargetRule("L12", "concat-scales", "a quantized Concat has one scale", _losses_by("L12")),
    TargetRule("L13", "one-branch", "an Add has Q/DQ on the skip branch only", _one_branch),
    TargetRule("L23", "wide-enough", "narrow contractions stay in float", _wide_enough),
    TargetRule("L24", "four-channels", "integer contractions make multiples of 4", _four_channels),
    TargetRule("L43", "float-products", "products of activations stay in float", _float_products),
)
