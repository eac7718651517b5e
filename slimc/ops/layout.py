"""Operators that move elements without changing them: transposes, reshapes, copies; and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slimc.ir import dims
from slimc.ir.types import Dim, DType, Shape
from slimc.ops import values
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, Quant, ShapeRefit, SizedSignature, make_table
from slimc.ops.refactor import refactor
from slimc.ops.spelling import blank_rest, broadcast, labels, mark_axes, spell

PASS_THROUGH = Quant.PASS_THROUGH


def _permutation(call: Call) -> list[int]:
    rank = call.rank(0)
    stated = call.attr("perm")
    perm = list(range(rank))[::-1] if stated is None else [int(p) for p in stated]
    if sorted(perm) != list(range(rank)):
        raise Unmatched(f"perm {perm} on rank {rank}")
    return perm


def transpose_axes(call: Call) -> str:
    """The result has the axes in the order of `perm`."""
    axes = labels(call.rank(0))
    return f"{spell(axes)} -> {spell([axes[p] for p in _permutation(call)])}"


def _reshape_shapes(call: Call) -> tuple[Shape, Shape]:
    """Return the old and new shape of a Reshape; unknown sizes get placeholders (`?...`)."""
    old: Shape = tuple(f"?x{i}" if d is None else d for i, d in enumerate(call.shape(0)))
    target = call.value(1)
    if target is None:
        rank = call.shape(1)[0]
        if not isinstance(rank, int):
            raise Unmatched("the rank of its result is computed at run time")
        target = np.full(rank, None, object)
    new: list[Dim] = []
    for i, d in enumerate(target.ravel().tolist()):
        copied = d == 0 and not call.attr("allowzero", 0)
        if copied and i >= len(old):
            raise Unmatched(f"element {i} of its shape copies an axis that does not exist")
        new.append(old[i] if copied else d)
    unknown = [i for i, d in enumerate(new) if d is None or d == -1]
    if len(unknown) == 1:
        known = [d for i, d in enumerate(new) if i != unknown[0]]
        new[unknown[0]] = _quotient(old, known)
    return old, tuple(f"?y{i}" if d is None or d == -1 else d for i, d in enumerate(new))


def _quotient(sizes: Sequence[Dim], divisors: Sequence[Dim]) -> Dim:
    """Divide products; a size that is in both cancels, even an unknown one."""
    numerators, denominators = list(sizes), []
    for size in divisors:
        if size in numerators and size != 0:
            numerators.remove(size)
        else:
            denominators.append(size)
    return dims.divide(dims.multiply(*numerators), dims.multiply(*denominators))


def _drop_placeholders(sizes: Mapping[str, Dim]) -> dict[str, Dim]:
    """Return the sizes, with None for those that contain a placeholder."""
    return {k: None if isinstance(d, str) and "?" in d else d for k, d in sizes.items()}


def reshape_axes(call: Call) -> SizedSignature:
    """Common factors of both shapes in order; 0 copies an axis, -1 is inferred."""
    data, result, sizes = refactor(*_reshape_shapes(call))
    return f"{spell(data)}, -> {spell(result)}", _drop_placeholders(sizes)


def refit_reshape(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update elements of the target that repeat a changed size; -1 and most 0 stay."""
    target, changed = call.value(1), _changed_sizes(bound, after)
    new = BoundSignature(bound.inputs, bound.outputs, after)
    copied = [] if call.attr("allowzero", 0) else [new.size(a) for a in bound.inputs[0] or ()]
    for i, element in enumerate([] if target is None else target.ravel().tolist()):
        if element == -1 or (element == 0 and copied[i : i + 1] == [changed.get(i)]):
            changed.pop(i, None)
    return ShapeRefit(elements={1: changed})


def _changed_sizes(bound: BoundSignature, after: Mapping[str, int]) -> dict[int, int]:
    """Return {axis: new size} for the axes of the result that change."""
    new = BoundSignature(bound.inputs, bound.outputs, after)
    sizes = ((bound.size(axis), new.size(axis)) for axis in bound.outputs[0] or ())
    return {i: b for i, (a, b) in enumerate(sizes) if a != b and isinstance(b, int)}


def flatten_axes(call: Call) -> str:
    """The axes before `axis` become one axis, the others another."""
    rank = call.rank(0)
    axis = int(call.attr("axis", 1))
    axis += rank if axis < 0 else 0
    axes = labels(rank)
    return f"{spell(axes)} -> ({' '.join(axes[:axis])}) ({' '.join(axes[axis:])})"


def _squeezed_axes(call: Call) -> list[int]:
    """Return the axes that a Squeeze removes."""
    shape = call.shape(0)
    axes = call.int_list("axes", 1)
    if axes is not None:
        return sorted(a % len(shape) for a in axes)
    if not all(isinstance(d, int) for d in shape):
        raise Unmatched("which axes have size one is only known at run time")
    return [i for i, d in enumerate(shape) if d == 1]


def squeeze_axes(call: Call) -> str:
    """Axes of size one are removed."""
    axes, squeezed = labels(call.rank(0)), _squeezed_axes(call)
    data = ["1" if i in squeezed else word for i, word in enumerate(axes)]
    result = [word for i, word in enumerate(axes) if i not in squeezed]
    return f"{spell(data)}{blank_rest(call)} -> {spell(result)}"


def refit_squeeze(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """State `axes`; by default an axis that is pruned to size one would be removed too."""
    named = "axes" in call.attrs or call.has_operand(1)
    return (
        ShapeRefit()
        if named
        else ShapeRefit(operands={1: np.array(_squeezed_axes(call), np.int64)})
    )


def _unsqueezed_axes(call: Call) -> list[int]:
    """Return the axes of the result that an Unsqueeze inserts."""
    axes = call.int_list("axes", 1)
    if axes is None:
        raise Unmatched("it has no axes")
    rank = call.rank(0) + len(axes)
    return sorted(a % rank for a in axes)


def unsqueeze_axes(call: Call) -> str:
    """Axes of size one are inserted."""
    axes = labels(call.rank(0))
    result = list(axes)
    for axis in _unsqueezed_axes(call):
        result.insert(axis, "1")
    return f"{spell(axes)}{blank_rest(call)} -> {spell(result)}"


def _stated_shape(call: Call, operand: int) -> list[Dim]:
    """Return the shape that an operand states, None for unknown sizes."""
    elements = call.value(operand)
    if elements is not None:
        return [values.as_size(d) for d in elements.ravel().tolist()]
    rank = call.shape(operand)[0] if call.rank(operand) else None
    if not isinstance(rank, int):
        raise Unmatched("the rank of its result is computed at run time")
    return [None] * rank


def expand_axes(call: Call) -> SizedSignature:
    """The data broadcasts to a shape; new axes may lose indices, then the shape changes."""
    shape = _stated_shape(call, 1)
    (data, _), result = broadcast([call.shape(0), tuple(shape)])
    offset = len(result) - len(shape)
    new_axes = len(result) - call.rank(0)  # axes that the data does not have
    label_sizes = {
        word: shape[i - offset]
        for i, word in enumerate(result)
        if i >= offset and (i < new_axes or shape[i - offset] != 1) and not word.endswith("!")
    }
    return f"{data}, -> {spell(result)}", label_sizes


def refit_expand(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update elements of the shape that repeat a changed size; ones stay."""
    shape = _stated_shape(call, 1)
    changed = _changed_sizes(bound, after)
    offset = len(bound.outputs[0] or ()) - len(shape)
    elements = {i - offset: d for i, d in changed.items() if i >= offset and shape[i - offset] != 1}
    return ShapeRefit(elements={1: elements})


def tile_axes(call: Call) -> SizedSignature:
    """Every axis becomes copies of itself."""
    repeats = call.value(1)
    axes = labels(call.rank(0))
    if repeats is None:
        untied = [f"y{i}!" for i in range(len(axes))]
        return f"{spell(mark_axes(axes, range(len(axes)), '!'))}, -> {spell(untied)}", {}
    times = [values.as_size(r) for r in repeats.ravel().tolist()]
    result = [
        w if r == 1 else f"(r{i} {w})" for i, (w, r) in enumerate(zip(axes, times, strict=True))
    ]
    return f"{spell(axes)}, -> {spell(result)}", {f"r{i}": r for i, r in enumerate(times) if r != 1}


def refit_tile(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the repeats to the number of copies."""
    rank = call.rank(0)
    names = {i: f"r{i}" for i in range(rank) if f"r{i}" in bound.sizes}
    return ShapeRefit(
        elements={1: {i: after[n] for i, n in names.items() if after[n] != bound.sizes[n]}}
    )


def _block_sizes(call: Call) -> dict[str, Dim]:
    return {"b": int(call.required_attr("blocksize")), "d": int(call.required_attr("blocksize"))}


def depth_to_space_axes(call: Call) -> SizedSignature:
    """Blocks of b x d pixels come from the channels: first (DCR) or last (CRD) among them."""
    channels = "(b! d! c)" if call.attr("mode", "DCR") == "DCR" else "(c b! d!)"
    return f"n {channels} h w -> n c (h b!) (w d!)", _block_sizes(call)


def space_to_depth_axes(call: Call) -> SizedSignature:
    """Blocks of b x d pixels become channels."""
    channels = "(b! d! c)" if call.attr("mode", "DCR") == "DCR" else "(c b! d!)"
    return f"n c (h b!) (w d!) -> n {channels} h w", _block_sizes(call)


def shape_axes(call: Call) -> SizedSignature:
    """Only sizes are read."""
    start, end = _shape_range(call)
    return "*a -> r!", {"r": max(0, end - start)}


def _shape_range(call: Call) -> tuple[int, int]:
    """Return which axes a Shape reads: from the first up to the second."""
    every = range(call.rank(0))
    chosen = every[slice(call.attr("start", 0), call.attr("end"))]
    return chosen.start, chosen.stop


def _shape_value(call: Call) -> tuple[np.ndarray | None, ...]:
    start, end = _shape_range(call)
    sizes = np.array(call.shape(0)[start:end], object)
    return (values.to_numeric(sizes) if sizes.size else np.zeros(0, np.int64),)


def _size_value(call: Call) -> tuple[np.ndarray | None, ...]:
    total = np.empty((), object)
    total[()] = dims.multiply(*call.shape(0))
    return (values.to_numeric(total),)


def _reshape_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    new = _reshape_shapes(call)[1]
    shape = [d for d in new if isinstance(d, int)]
    return array.reshape(shape) if len(shape) == len(new) else None


def _flatten_value(call: Call, array: np.ndarray) -> np.ndarray:
    axis = int(call.attr("axis", 1))
    return array.reshape(int(np.prod(array.shape[:axis])), -1)


def _expand_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    shape = call.ints(1)
    if shape is None:
        return None
    full = np.broadcast_shapes(array.shape, tuple(shape))
    return np.broadcast_to(array, full) if int(np.prod(full)) <= values.LIMIT else None


def _tile_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    repeats = call.ints(1)
    if repeats is None or array.size * int(np.prod(repeats)) > values.LIMIT:
        return None
    return np.tile(array, repeats)


LAYOUT = make_table(
    Op("Transpose", transpose_axes, quant=PASS_THROUGH, order="changed",
       value=values.move_rule(lambda c, a: np.transpose(a, _permutation(c)))),
    Op("Reshape", reshape_axes, quant=PASS_THROUGH, order="kept", refit=refit_reshape,
       value=values.move_rule(_reshape_value)),
    Op("Flatten", flatten_axes, quant=PASS_THROUGH, order="kept",
       value=values.move_rule(_flatten_value)),
    Op("Squeeze", squeeze_axes, quant=PASS_THROUGH, order="kept", refit=refit_squeeze,
       value=values.move_rule(lambda c, a: np.squeeze(a, tuple(_squeezed_axes(c))))),
    Op("Unsqueeze", unsqueeze_axes, quant=PASS_THROUGH, order="kept",
       value=values.move_rule(lambda c, a: np.expand_dims(a, tuple(_unsqueezed_axes(c))))),
    Op("Expand", expand_axes, quant=PASS_THROUGH, order="repeated", refit=refit_expand,
       value=values.move_rule(_expand_value)),
    Op("Tile", tile_axes, quant=PASS_THROUGH, order="repeated", refit=refit_tile,
       value=values.move_rule(_tile_value)),
    Op("DepthToSpace", depth_to_space_axes, quant=PASS_THROUGH, order="changed"),
    Op("SpaceToDepth", space_to_depth_axes, quant=PASS_THROUGH, order="changed"),
    Op("Shape", shape_axes, dtypes=DType.I64, value=_shape_value),
    Op("Size", "*a -> []", dtypes=DType.I64, value=_size_value),
)  # fmt: skip
