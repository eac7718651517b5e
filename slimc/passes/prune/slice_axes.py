"""Take units out of a graph: slice constants, refit what repeats a size, infer types again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from slimc.analysis.coupling import Coupling, sizes_of
from slimc.analysis.index_space import AxisOf, LabelOf
from slimc.analysis.removal_cost import constant_uses
from slimc.analysis.shapes import call_of, retype
from slimc.ir.arrays import Mask
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType, ValueType
from slimc.ops.op import ShapeRefit
from slimc.rewrite.kept import Kept, take


@dataclass(frozen=True, eq=False)
class Sliced:
    """A graph without the removed units, and which indices of each constant it kept.

    kept: name of the constant in the new graph -> per axis; origin: its name in the old one.
    """

    graph: Graph
    kept: dict[str, Kept] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)


def slice_axes(coupling: Coupling, removed: Mask, made_by: str) -> Sliced:
    """Return the graph without the units that `removed` (bool, per unit) marks."""
    editor = Editor(coupling.graph, made_by=made_by)
    sliced = Sliced(coupling.opened.whole)
    _slice_constants(coupling, removed, editor, sliced)
    for node in coupling.graph.nodes:
        refit = _shape_refit(coupling, removed, node)
        if refit is not None:
            _apply_refit(editor, node, refit)
    for value in coupling.graph.types:  # what inference cannot follow keeps the recorded type
        editor.set_type(value, _narrowed_type(coupling, removed, value))
    graph = retype(coupling.opened.closed(editor.finish()), coupling.ops)
    return Sliced(graph, sliced.kept, sliced.origin)


def _narrowed_type(coupling: Coupling, removed: Mask, value: str) -> ValueType | None:
    """Return the type of a value without the removed indices."""
    kind = coupling.graph.tensor(value)
    if kind is None or kind.shape is None:
        return coupling.graph.types.get(value)
    shape = list(kind.shape)
    for axis, size in enumerate(shape):
        place = AxisOf(value, axis)
        if isinstance(size, int) and place in coupling.space.start:
            shape[axis] = size - int(removed[coupling.units_at(place)].sum())
    return TensorType(kind.dtype, tuple(shape))


def _slice_constants(coupling: Coupling, removed: Mask, editor: Editor, sliced: Sliced) -> None:
    """Slice every constant as its readers need it; one whose readers differ becomes several."""
    forms_of: dict[str, dict[Kept, list[tuple[Node, int]]]] = {}
    for node, operand, value in constant_uses(coupling):
        kept = _kept_indices(coupling, removed, node, operand, value)
        forms_of.setdefault(value, {}).setdefault(kept, []).append((node, operand))
    for value, forms in forms_of.items():
        array = coupling.graph.constants[value].array
        for kept, uses in forms.items():
            if not any(k is not None for k in kept):
                continue
            if len(forms) == 1:
                name = value
                editor.set_constant(value, take(array, kept))
            else:
                name = editor.add_constant(take(array, kept), f"{value}.{uses[0][0].name}")
                for node, operand in uses:
                    editor.set_input(node.name, operand, name)
            sliced.kept[name] = kept
            sliced.origin[name] = value


def _kept_indices(coupling: Coupling, removed: Mask, node: Node, operand: int, value: str) -> Kept:
    return tuple(_kept_per_axis(coupling, removed, node, operand, value))


def _kept_per_axis(
    coupling: Coupling, removed: Mask, node: Node, operand: int, value: str
) -> Iterator[tuple[int, ...] | None]:
    for axis in range(coupling.graph.constants[value].array.ndim):
        is_removed = removed[coupling.units_at(coupling.axis(node, operand, axis))]
        yield tuple(np.flatnonzero(~is_removed).tolist()) if is_removed.any() else None


def kept_of_values(coupling: Coupling, removed: Mask) -> dict[str, Kept]:
    """Return, for every value that loses indices, those that stay per axis (constants apart)."""
    kept_axes: dict[str, list[tuple[int, ...] | None]] = {}
    for place, _, _ in coupling.space.places():
        if not isinstance(place, AxisOf) or place.node:
            continue
        is_removed = removed[coupling.units_at(place)]
        axes = kept_axes.setdefault(place.value, [])
        axes += [None] * (place.axis + 1 - len(axes))
        axes[place.axis] = tuple(np.flatnonzero(~is_removed).tolist()) if is_removed.any() else None
    return {v: tuple(axes) for v, axes in kept_axes.items() if any(a is not None for a in axes)}


def _shape_refit(coupling: Coupling, removed: Mask, node: Node) -> ShapeRefit | None:
    """Return what must follow at a node of which some label loses indices."""
    bound = coupling.bound_of(node)
    row = coupling.ops.get(node.kind)
    if bound is None or row is None or row.refit is None:
        return None
    sizes = sizes_of(bound)
    after = dict(sizes)
    for name in bound.labels():
        place = LabelOf(node.name, name)
        after[name] -= int(removed[coupling.units_at(place)].sum())
    if after == sizes:
        return None
    return row.refit(call_of(coupling.graph, coupling.facts, node), bound, after)


def _apply_refit(editor: Editor, node: Node, refit: ShapeRefit) -> None:
    if refit.attrs:
        attrs = {**editor.node(node.name).attrs, **refit.attrs}
        editor.update(node.name, attrs={k: v for k, v in attrs.items() if v is not None})
    for operand, array in refit.operands.items():
        name = editor.add_constant(array, f"{node.name}.operand{operand}")
        editor.set_input(node.name, operand, name)
    for operand, elements in refit.elements.items():
        if elements:
            _replace_elements(editor, node, operand, {int(k): int(v) for k, v in elements.items()})


def _replace_elements(editor: Editor, node: Node, operand: int, elements: dict[int, int]) -> None:
    """Replace elements of an integer operand: in a copy if constant, else by a Where before it."""
    value = editor.node(node.name).inputs[operand]
    old = editor.array(value)
    places, numbers = list(elements), list(elements.values())
    if old is not None:
        new = old.copy()
        new.reshape(-1)[places] = numbers
        name = editor.add_constant(new, f"{node.name}.operand{operand}")
        editor.set_input(node.name, operand, name)
        return
    dtype = editor.dtype_of(value) or DType.I64
    size = (editor.shape_of(value) or (None,))[0]
    length = size if isinstance(size, int) else max(places) + 1
    mask, sizes = np.zeros(length, bool), np.zeros(length, dtype.numpy)
    mask[places], sizes[places] = True, numbers
    where = editor.add(
        "Where",
        [
            editor.add_constant(mask, f"{node.name}.changed"),
            editor.add_constant(sizes, f"{node.name}.sizes"),
            value,
        ],
        types=[TensorType(dtype, (length,))],
        name=f"{node.name}.refit",
        near=node.name,
    )
    editor.set_input(node.name, operand, where[0])
