"""Operators that move elements without changing them: transposes, reshapes, copies; and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slimc.ir import dims
from slimc.ir.types import Dim, DType, Shape
from slimc.ops import values
from slimc.ops.axes import Bound, Unmatched
from slimc.ops.op import Call, Laid, Op, Quant, Refit, table
from slimc.ops.refactor import refactor
from slimc.ops.spelling import broadcast, labels, marked, unsaid, words

PASS_THROUGH = Quant.PASS_THROUGH


def _permutation(call: Call) -> list[int]:
    rank = call.rank(0)
    given = call.attr("perm")
    perm = list(range(rank))[::-1] if given is None else [int(p) for p in given]
    if sorted(perm) != list(range(rank)):
        raise Unmatched(f"perm {perm} on rank {rank}")
    return perm


def transpose_axes(call: Call) -> str:
    """The result has the axes in the order of `perm`."""
    axes = labels(call.rank(0))
    return f"{words(axes)} -> {words([axes[p] for p in _permutation(call)])}"


def _target(call: Call) -> tuple[Shape, Shape]:
    """Return the old and new shape of a Reshape; unknown sizes have made-up names (`?...`)."""
    old: Shape = tuple(f"?x{i}" if d is None else d for i, d in enumerate(call.shape(0)))
    wanted = call.value(1)
    if wanted is None:
        rank = call.shape(1)[0]
        if not isinstance(rank, int):
            raise Unmatched("the rank of its result is computed at run time")
        wanted = np.full(rank, None, object)
    new: list[Dim] = []
    for i, d in enumerate(wanted.ravel().tolist()):
        copied = d == 0 and not call.attr("allowzero", 0)
        if copied and i >= len(old):
            raise Unmatched(f"element {i} of its shape copies an axis that is not there")
        new.append(old[i] if copied else d)
    open_places = [i for i, d in enumerate(new) if d is None or d == -1]
    if len(open_places) == 1:
        named = [d for i, d in enumerate(new) if i != open_places[0]]
        new[open_places[0]] = _quotient(old, named)
    return old, tuple(f"?y{i}" if d is None or d == -1 else d for i, d in enumerate(new))


def _quotient(sizes: Sequence[Dim], by: Sequence[Dim]) -> Dim:
    """Divide products; a size that stands in both cancels, whatever it is computed from."""
    left, right = list(sizes), []
    for size in by:
        if size in left and size != 0:
            left.remove(size)
        else:
            right.append(size)
    return dims.divide(dims.multiply(*left), dims.multiply(*right))


def _shown(sizes: Mapping[str, Dim]) -> dict[str, Dim]:
    """Return the sizes with None for those that contain a made-up name."""
    return {k: None if isinstance(d, str) and "?" in d else d for k, d in sizes.items()}


def reshape_axes(call: Call) -> Laid:
    """Common factors of both shapes in order; 0 copies an axis, -1 is the rest."""
    left, right, sizes = refactor(*_target(call))
    return f"{words(left)}, -> {words(right)}", _shown(sizes)


def refit_reshape(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Elements of the target that repeat a changed size; -1 and most 0 follow by themselves."""
    target, changed = call.value(1), _changed(bound, after)
    new = Bound(bound.inputs, bound.outputs, after)
    copied = [] if call.attr("allowzero", 0) else [new.size(a) for a in bound.inputs[0] or ()]
    for i, element in enumerate([] if target is None else target.ravel().tolist()):
        if element == -1 or (element == 0 and copied[i : i + 1] == [changed.get(i)]):
            changed.pop(i, None)
    return Refit(elements={1: changed})


def _changed(bound: Bound, after: Mapping[str, int]) -> dict[int, int]:
    """Return {axis: new size} for the axes of the result that change."""
    new = Bound(bound.inputs, bound.outputs, after)
    sizes = ((bound.size(axis), new.size(axis)) for axis in bound.outputs[0] or ())
    return {i: b for i, (a, b) in enumerate(sizes) if a != b and isinstance(b, int)}


def flatten_axes(call: Call) -> str:
    """The axes before `axis`, and the others, become one each."""
    rank = call.rank(0)
    axis = int(call.attr("axis", 1))
    axis += rank if axis < 0 else 0
    axes = labels(rank)
    return f"{words(axes)} -> ({' '.join(axes[:axis])}) ({' '.join(axes[axis:])})"


def _removed(call: Call) -> list[int]:
    """Return the axes that a Squeeze removes."""
    shape = call.shape(0)
    axes = call.list_of("axes", 1)
    if axes is not None:
        return sorted(a % len(shape) for a in axes)
    if not all(isinstance(d, int) for d in shape):
        raise Unmatched("which axes have size one is known at run time only")
    return [i for i, d in enumerate(shape) if d == 1]


def squeeze_axes(call: Call) -> str:
    """Axes of size one go."""
    axes, gone = labels(call.rank(0)), _removed(call)
    left = ["1" if i in gone else word for i, word in enumerate(axes)]
    right = [word for i, word in enumerate(axes) if i not in gone]
    return f"{words(left)}{unsaid(call)} -> {words(right)}"


def refit_squeeze(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Without `axes` an axis that is left with one index would go too: name the axes."""
    named = "axes" in call.attrs or call.present(1)
    return Refit() if named else Refit(whole={1: np.array(_removed(call), np.int64)})


def _inserted(call: Call) -> list[int]:
    """Return the axes of the result that an Unsqueeze inserts."""
    axes = call.list_of("axes", 1)
    if axes is None:
        raise Unmatched("it has no axes")
    rank = call.rank(0) + len(axes)
    return sorted(a % rank for a in axes)


def unsqueeze_axes(call: Call) -> str:
    """Axes of size one come."""
    axes = labels(call.rank(0))
    right = list(axes)
    for axis in _inserted(call):
        right.insert(axis, "1")
    return f"{words(axes)}{unsaid(call)} -> {words(right)}"


def _shape_of_result(call: Call, operand: int) -> list[Dim]:
    """Return a shape that is an operand's elements, None for unknown ones."""
    wanted = call.value(operand)
    if wanted is not None:
        return [values.whole(d) for d in wanted.ravel().tolist()]
    rank = call.shape(operand)[0] if call.rank(operand) else None
    if not isinstance(rank, int):
        raise Unmatched("the rank of its result is computed at run time")
    return [None] * rank


def expand_axes(call: Call) -> Laid:
    """The data broadcasts against a shape; new axes may lose indices, the shape follows."""
    wanted = _shape_of_result(call, 1)
    (left, _), right = broadcast([call.shape(0), tuple(wanted)])
    offset = len(right) - len(wanted)
    alone = len(right) - call.rank(0)  # axes that the data does not have
    given = {
        word: wanted[i - offset]
        for i, word in enumerate(right)
        if i >= offset and (i < alone or wanted[i - offset] != 1) and not word.endswith("!")
    }
    return f"{left}, -> {words(right)}", given


def refit_expand(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Elements of the shape that repeat a changed size; ones do not."""
    wanted = _shape_of_result(call, 1)
    changed = _changed(bound, after)
    offset = len(bound.outputs[0] or ()) - len(wanted)
    elements = {
        i - offset: d for i, d in changed.items() if i >= offset and wanted[i - offset] != 1
    }
    return Refit(elements={1: elements})


def tile_axes(call: Call) -> Laid:
    """Every axis becomes copies of itself."""
    repeats = call.value(1)
    axes = labels(call.rank(0))
    if repeats is None:
        made = [f"y{i}!" for i in range(len(axes))]
        return f"{words(marked(axes, range(len(axes)), '!'))}, -> {words(made)}", {}
    times = [values.whole(r) for r in repeats.ravel().tolist()]
    right = [
        w if r == 1 else f"(r{i} {w})" for i, (w, r) in enumerate(zip(axes, times, strict=True))
    ]
    return f"{words(axes)}, -> {words(right)}", {f"r{i}": r for i, r in enumerate(times) if r != 1}


def refit_tile(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Repeats follow the number of copies."""
    rank = call.rank(0)
    names = {i: f"r{i}" for i in range(rank) if f"r{i}" in bound.sizes}
    return Refit(
        elements={1: {i: after[n] for i, n in names.items() if after[n] != bound.sizes[n]}}
    )


def _block(call: Call) -> dict[str, Dim]:
    return {"b": int(call.needed("blocksize")), "d": int(call.needed("blocksize"))}


def depth_to_space_axes(call: Call) -> Laid:
    """Blocks of b x d pixels come from the channels: first (DCR) or last (CRD) among them."""
    channels = "(b! d! c)" if call.attr("mode", "DCR") == "DCR" else "(c b! d!)"
    return f"n {channels} h w -> n c (h b!) (w d!)", _block(call)


def space_to_depth_axes(call: Call) -> Laid:
    """Blocks of b x d pixels become channels."""
    channels = "(b! d! c)" if call.attr("mode", "DCR") == "DCR" else "(c b! d!)"
    return f"n c (h b!) (w d!) -> n {channels} h w", _block(call)


def shape_axes(call: Call) -> Laid:
    """Only sizes are read."""
    start, end = _range(call)
    return "*a -> r!", {"r": max(0, end - start)}


def _range(call: Call) -> tuple[int, int]:
    """Return which axes a Shape reads: from the first up to the second."""
    every = range(call.rank(0))
    chosen = every[slice(call.attr("start", 0), call.attr("end"))]
    return chosen.start, chosen.stop


def _shape_value(call: Call) -> tuple[np.ndarray | None, ...]:
    start, end = _range(call)
    found = np.array(call.shape(0)[start:end], object)
    return (values.tidy(found) if found.size else np.zeros(0, np.int64),)


def _size_value(call: Call) -> tuple[np.ndarray | None, ...]:
    total = np.empty((), object)
    total[()] = dims.multiply(*call.shape(0))
    return (values.tidy(total),)


def _reshape_value(call: Call, array: np.ndarray) -> np.ndarray | None:
    new = _target(call)[1]
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


LAYOUT = table(
    Op("Transpose", transpose_axes, quant=PASS_THROUGH, order="changed",
       value=values.moved(lambda c, a: np.transpose(a, _permutation(c)))),
    Op("Reshape", reshape_axes, quant=PASS_THROUGH, order="kept", refit=refit_reshape,
       value=values.moved(_reshape_value)),
    Op("Flatten", flatten_axes, quant=PASS_THROUGH, order="kept",
       value=values.moved(_flatten_value)),
    Op("Squeeze", squeeze_axes, quant=PASS_THROUGH, order="kept", refit=refit_squeeze,
       value=values.moved(lambda c, a: np.squeeze(a, tuple(_removed(c))))),
    Op("Unsqueeze", unsqueeze_axes, quant=PASS_THROUGH, order="kept",
       value=values.moved(lambda c, a: np.expand_dims(a, tuple(_inserted(c))))),
    Op("Expand", expand_axes, quant=PASS_THROUGH, order="repeated", refit=refit_expand,
       value=values.moved(_expand_value)),
    Op("Tile", tile_axes, quant=PASS_THROUGH, order="repeated", refit=refit_tile,
       value=values.moved(_tile_value)),
    Op("DepthToSpace", depth_to_space_axes, quant=PASS_THROUGH, order="changed"),
    Op("SpaceToDepth", space_to_depth_axes, quant=PASS_THROUGH, order="changed"),
    Op("Shape", shape_axes, dtypes=DType.I64, value=_shape_value),
    Op("Size", "*a -> []", dtypes=DType.I64, value=_size_value),
)  # fmt: skip
