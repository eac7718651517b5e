"""What the nodes of a graph do: steps, each of a class of work, with what they multiply and move.

Classes follow from what rows of the operator table say, never from the name of an operator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from slimc.analysis.coupling import Coupling, sizes_of
from slimc.analysis.index_space import AxisOf, LabelOf
from slimc.analysis.removal_cost import Size, Term, mac_terms_of
from slimc.ir.graph import Node
from slimc.ops.axes import Axis, BoundSignature, labels_of
from slimc.ops.op import Op, Quant, Weighted

_FEW = 4  # channels that fill no block of a kernel
CLASSES = {
    "convolution": "a kernel over all channels",
    "shallow": f"the same over {_FEW} channels at most: images, sounds",
    "pointwise": "a convolution of one tap",
    "grouped": "a convolution of groups of channels",
    "depthwise": "a convolution of each channel alone",
    "product": "a product with a constant matrix",
    "activations": "a product of two values that are computed",
    "compound": "several products in one node: recurrence, attention",
    "pooling": "a window without weights",
    "statistics": "something is summed over an axis: means, norms, softmax",
    "elementwise": "arithmetic that keeps the order of elements",
    "moving": "elements that get another order, or some of them",
    "view": "the same elements in another shape",
    "unknown": "an operator without axes",
}
ANY = "any"  # stands for classes that were not measured
INTEGER = "integer "  # before the class of a step that computes in integers

_BYTE = 8  # bits


@dataclass(frozen=True)
class Step:
    """A node with those that kernels do in the same go.

    work: the class of its first node. macs: multiply-accumulates; moved: bytes to and from memory;
    inner: bytes that one of its nodes makes and the next takes up in place; visits: taps of a
    kernel times the places that it is laid on, whatever the channels.
    """

    node: Node
    work: str
    members: tuple[str, ...]
    macs: tuple[Term, ...]
    moved: tuple[Term, ...]
    inner: tuple[Term, ...]
    visits: tuple[Term, ...]


def steps(coupling: Coupling, integers: Collection[str] = ()) -> tuple[Step, ...]:
    """Return the steps of a graph, in its order.

    A value that its only reader takes in the order of its elements (activations, residual adds,
    reshapes) is not moved: the two are one step. integers: kinds of nodes that will compute in
    8-bit integers, where no records say so yet.
    """
    kept = _kept_in_place(coupling)
    first: dict[str, str] = {}
    members: dict[str, list[Node]] = {}
    for node in coupling.graph.nodes:
        maker = next((v for v in node.inputs if kept.get(v) == node.name), None)
        owner = node.name if maker is None else first[coupling.graph.producers[maker].name]
        first[node.name] = owner
        members.setdefault(owner, []).append(node)
    return tuple(_step(coupling, kept, group, integers) for group in members.values())


def _step(
    coupling: Coupling, kept: Mapping[str, str], group: list[Node], integers: Collection[str]
) -> Step:
    node = group[0]
    inside = [(one, v, -1) for one in group for v in one.outputs if v in kept]
    moved = [use for one in group for use in _moved(coupling, one, kept)]
    return Step(
        node,
        (INTEGER if node.integer or node.kind in integers else "") + work_class(coupling, node),
        tuple(one.name for one in group),
        tuple(term for one in group for term in mac_terms_of(coupling, one)),
        tuple(_bytes(coupling, moved, integers)),
        tuple(_bytes(coupling, inside, integers)),
        _visits(coupling, node),
    )


def work_class(coupling: Coupling, node: Node) -> str:
    """Return the class of what a node does in floats: a key of `CLASSES`."""
    row, bound = coupling.ops.get(node.kind), coupling.bound_of(node)
    if row is None or bound is None:
        return "unknown"
    if row.macs:
        return _contraction(coupling, node, row, bound)
    if row.windowed:
        return "pooling"
    taken = [in_order(axes) for axes in bound.inputs if axes is not None]
    kept = max((taken.count(in_order(axes)) for axes in bound.outputs if axes), default=0)
    moves = row.quant in (Quant.PASS_THROUGH, Quant.SHARED_SCALE) and row.clamp is None
    made, floats = labels_of(*bound.outputs), coupling.facts.is_float(node.outputs[0])
    for label in bound.labels().values():
        summed = floats and not label.pinned and label.name not in made  # it may leave: adds to all
        if label.soft or (not moves and (summed or (label.pinned and kept))):
            return "statistics"
    if not kept:
        return "moving"
    return "view" if moves and kept == 1 else "elementwise"  # of several values one is chosen


def _contraction(coupling: Coupling, node: Node, row: Op, bound: BoundSignature) -> str:
    """Tell contractions apart by the labels that data, weight and result share."""
    products = row.mac_labels(bound)
    if len(products) > 1:
        return "compound"
    if row.weighted is None or row.taps is None:
        operands = {v for i, v in enumerate(node.inputs) if i in row.macs[0]}
        return "product" if operands & coupling.graph.constants.keys() else "activations"
    groups, summed, taps = _kernel(bound, row.weighted)
    if groups > 1:
        return "depthwise" if summed == 1 else "grouped"
    if taps == 1:
        return "pointwise"
    return "shallow" if summed <= _FEW else "convolution"


def _kernel(bound: BoundSignature, weighted: Weighted) -> tuple[int, int, int]:
    """Return groups, channels summed over, and taps of a kernel: its axes from the third on."""
    kernel = bound.inputs[weighted.weight] or ()
    sizes = sizes_of(bound)
    data, result = labels_of(bound.inputs[weighted.data]), labels_of(bound.outputs[0])
    shared = [name for name in labels_of(kernel[:2]) if name in data]
    groups = prod(sizes[name] for name in shared if name in result)
    summed = prod(sizes[name] for name in shared if name not in result)
    return groups, summed, prod(sizes[name] for name in labels_of(kernel[2:]))


def _visits(coupling: Coupling, node: Node) -> tuple[Term, ...]:
    """Return the multiply-accumulates of a kernel that slides, without its channels."""
    row, bound = coupling.ops.get(node.kind), coupling.bound_of(node)
    if row is None or bound is None or row.weighted is None or row.taps is None:
        return ()
    channels = labels_of((bound.inputs[row.weighted.weight] or ())[:2])
    sizes = sizes_of(bound)
    return tuple(
        Term(tuple(Size(LabelOf(node.name, n), sizes[n]) for n in names if n not in channels))
        for names in row.mac_labels(bound)
    )


Use = tuple[Node, str, int]  # a node, a value, and the number of the operand; -1: a result


def _moved(coupling: Coupling, node: Node, kept: Mapping[str, str]) -> Iterator[Use]:
    """Yield the operands and results of a node that are in memory.

    Constants count where they are weights: of a table that is looked up only few rows are read.
    """
    row = coupling.ops.get(node.kind)
    contracts = row is not None and bool(row.macs)
    for operand, value in enumerate(node.inputs):
        if kept.get(value) != node.name and (contracts or value not in coupling.graph.constants):
            yield node, value, operand
    for value in node.outputs:
        if value not in kept:
            yield node, value, -1


def _bytes(coupling: Coupling, uses: list[Use], integers: Collection[str]) -> Iterator[Term]:
    """Yield the bytes of values, as the node stores them: small where its record says so."""
    for node, value, operand in uses:
        kind, shape = coupling.facts.tensor(value), coupling.facts.shape(value)
        if kind is None or shape is None:
            continue
        stored = node.integer or value in coupling.graph.constants
        record = coupling.graph.records.get(value) if stored else None
        bits = (kind if record is None else record).dtype.bits
        if record is None and node.kind in integers and kind.dtype.is_float:
            bits = _BYTE
        yield Term(
            tuple(
                Size(
                    AxisOf(value, axis) if operand < 0 else coupling.axis(node, operand, axis),
                    int(extent),
                )
                for axis, extent in enumerate(shape)
                if isinstance(extent, int)
            ),
            bits / _BYTE,
        )


def _kept_in_place(coupling: Coupling) -> dict[str, str]:
    """Return values that are not moved, each with the reader that is fused to its maker.

    A node is fused to one maker at most: the first.
    """
    graph = coupling.graph
    found: dict[str, str] = {}
    for node in graph.nodes:
        for operand, value in enumerate(node.inputs):
            alone = len(graph.users.get(value, ())) == 1 and node.inputs.count(value) == 1
            outside = value not in graph.producers or value in graph.outputs
            if alone and not outside and _takes_in_order(coupling, node, operand):
                found[value] = node.name
                break
    return found


def _takes_in_order(coupling: Coupling, node: Node, operand: int) -> bool:
    """Tell whether a node reads elements in the order in which it makes its only result."""
    bound, row = coupling.bound_of(node), coupling.ops.get(node.kind)
    if bound is None or row is None or row.macs or len(node.outputs) != 1:
        return False
    taken = in_order(bound.inputs[operand]) if operand < len(bound.inputs) else None
    made, labels = in_order(bound.outputs[0]), bound.labels()
    free = not any(labels[name].pinned or labels[name].soft for name in taken or ())
    return taken is not None and taken == made and free


def in_order(axes: tuple[Axis, ...] | None) -> list[str] | None:
    """Return the labels of an operand from the slowest to the fastest; None if it has joins."""
    if axes is None or any(len(axis) > 1 for axis in axes):
        return None
    return [label.name for axis in axes for term in axis for label in term]
