"""The graph that computes what a graph without some units must compute: those units masked."""

from __future__ import annotations

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import LabelOf
from slimc.ir.arrays import Mask
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType
from slimc.ops.axes import BoundSignature, labels_of


def mask_axes(coupling: Coupling, removed: Mask, made_by: str) -> Graph | None:
    """Return the original graph with the removed units without influence; None if approximate.

    An index reaches other indices only where a node sums over it. There its weights are set to zero
    (whatever non-linearity lies before, 0 * x is 0); where no factor is a constant, as in q * k of
    attention or a norm, an operand is multiplied with a mask of 0 and 1.
    """
    if (removed & coupling.soft).any():
        return None
    editor = Editor(coupling.graph, made_by=made_by)
    for node in coupling.graph.nodes:
        bound = None if node.name in coupling.opened.borders else coupling.bound_of(node)
        if bound is not None and not _reads_sizes(coupling, node):
            _mask_node(coupling, removed, editor, node, bound)
    return coupling.opened.closed(editor.finish(keep_dead=True))


def _mask_node(
    coupling: Coupling, removed: Mask, editor: Editor, node: Node, bound: BoundSignature
) -> None:
    """Let the removed indices of summed labels add zeros."""
    contraction = bool(coupling.ops.rows[node.kind].macs)
    names = [
        name
        for name in _summed_labels(bound, contraction)
        if removed[coupling.units_at(LabelOf(node.name, name))].any()
    ]
    covered: set[str] = set()
    for operand in range(len(bound.inputs) if contraction and names else 0):
        covered.update(_zero_constant(coupling, removed, editor, node, operand, names))
    for name in names:
        if name not in covered:
            places = _operands_with(bound, name)
            for operand, axis in places[:1] if contraction else places:
                _multiply_by_mask(coupling, removed, editor, node, operand, axis)


def _zero_constant(
    coupling: Coupling,
    removed: Mask,
    editor: Editor,
    node: Node,
    operand: int,
    names: list[str],
) -> list[str]:
    """Zero the removed slices of a constant operand; return the labels that this covers.

    A factor of zero covers a label; a bias of zero does not, what it is added to may be left.
    """
    axes = coupling.facts.bounds[node.name].inputs[operand]
    value = node.inputs[operand] if axes else ""
    array = coupling.graph.array(value)
    if axes is None or array is None or not coupling.facts.is_float(value):
        return []
    masked, covered = np.array(array), []
    for axis, terms in enumerate(axes):
        here = [name for name in labels_of((terms,)) if name in names]
        if here:
            is_removed = removed[coupling.units_at(coupling.axis(node, operand, axis))]
            masked[(slice(None),) * axis + (np.flatnonzero(is_removed),)] = 0
            covered += here
    if covered:
        name = editor.add_constant(masked, f"{value}.masked")
        editor.set_input(node.name, operand, name)
    multiplied = any(operand in group for group in coupling.ops.rows[node.kind].macs)
    return covered if multiplied else []


def _reads_sizes(coupling: Coupling, node: Node) -> bool:
    """Tell whether the results follow from sizes and constants alone."""
    return all(coupling.facts.values.get(o) is not None for o in node.outputs if o)


def _summed_labels(bound: BoundSignature, contraction: bool) -> list[str]:
    """Return labels that no result has.

    Of a contraction: that its first result does not have (attention passes its keys on as well), or
    that an operand has twice (recurrence: the result of one index enters the sum of all).
    """
    outs = labels_of(*(bound.outputs[:1] if contraction else bound.outputs))
    names = [name for name in labels_of(*bound.inputs) if name not in outs]
    for axes in bound.inputs if contraction else ():
        seen: set[str] = set()
        for axis in axes or ():
            here = labels_of((axis,))
            names += [name for name in here if name in seen and name not in names]
            seen.update(here)
    return names


def _operands_with(bound: BoundSignature, name: str) -> list[tuple[int, int]]:
    """Return (operand, axis) for each operand that has a label."""
    places: dict[int, int] = {}
    for operand, axes in enumerate(bound.inputs):
        for axis, terms in enumerate(axes or ()):
            if name in labels_of((terms,)):
                places.setdefault(operand, axis)
    return list(places.items())


def _multiply_by_mask(
    coupling: Coupling,
    removed: Mask,
    editor: Editor,
    node: Node,
    operand: int,
    axis: int,
) -> None:
    """Multiply an operand with 0 where the indices of an axis are removed.

    Of types that do not multiply (truth, 8 bits) no operator sums elements.
    """
    value = editor.node(node.name).inputs[operand]
    dtype = coupling.facts.dtype_of(node.inputs[operand]) or DType.F32
    if not dtype.is_float and dtype not in (DType.I32, DType.I64):
        return
    rank = len(coupling.facts.shape(node.inputs[operand]) or ())
    is_removed = removed[coupling.units_at(coupling.axis(node, operand, axis))]
    shape = [-1 if a == axis else 1 for a in range(rank)]
    mask = np.where(is_removed, 0, 1).astype(dtype.numpy).reshape(shape)
    outputs = editor.add(
        "Mul",
        [value, editor.add_constant(mask, f"{node.name}.mask")],
        types=[coupling.graph.type_of(node.inputs[operand])],
        name=f"{node.name}.masked",
        near=node.name,
    )
    editor.set_input(node.name, operand, outputs[0])
