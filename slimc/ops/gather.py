"""Operators that select elements by position, or find positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimc.ir import dims
from slimc.ir.types import DType
from slimc.ops import values
from slimc.ops.axes import Bound, Unmatched
from slimc.ops.op import Call, Laid, Op, Quant, Refit, table
from slimc.ops.spelling import labels, marked, operands, replaced, unsaid, words


def _picked(call: Call) -> tuple[list[int], int] | None:
    """Return known indices in a row and the size they pick from; None for one, or many thousands.

    A single index picks a part on purpose (a token, a matrix of several): it stays where it is.
    """
    indices, size = call.ints(1), call.shape(0)[call.axis(0)]
    if indices is None or call.rank(1) != 1 or not isinstance(size, int):
        return None
    if not 1 < len(indices) <= values.LIMIT or size > values.LIMIT:
        return None
    return [i % size for i in indices], size


def gather_axes(call: Call) -> str | Laid:
    """The indices' axes take the place of the gathered axis, which needs every index.

    Of indices that are known each is a label of its own: it leaves where it is picked from and
    wherever it is picked to.
    """
    axes, axis = labels(call.rank(0)), call.axis(0)
    picked = _picked(call)
    if picked is not None:
        indices, size = picked
        each = labels(size, "p")
        left = words(replaced(axes, axis, "+".join(each)))
        right = words(replaced(axes, axis, "+".join(each[i] for i in indices)))
        return f"{left}, -> {right}", dict.fromkeys(each, 1)
    taken = labels(call.rank(1), "i")
    left = words(marked(axes, [axis], "!"))
    return f"{left}, {words(taken)} -> {words(replaced(axes, axis, *taken))}"


def refit_gather(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Known indices count what is left to pick from."""
    picked = _picked(call)
    if picked is None:
        return Refit()
    indices, size = picked
    left = [after[name] for name in labels(size, "p")]
    if all(left):
        return Refit()
    new = np.array([sum(left[:i]) for i in indices if left[i]])
    kind = call.dtype(1) or DType.I64
    return Refit(whole={1: new.astype(kind.numpy)})


def _gather_value(call: Call) -> tuple[np.ndarray | None, ...]:
    arrays = values.known(call, 0, 1)
    if arrays is None or not values.is_numeric(arrays[1]):
        return values.NOTHING
    data, indices = arrays
    taken = np.take(data, indices.astype(np.int64), call.axis(0))
    return (values.tidy(np.asarray(taken, data.dtype)),)


def _alongside(call: Call, mark: str) -> tuple[str, str]:
    """Return the axes of data and of indices that run together but along `axis`.

    Other axes are tied where both have one size; what the indices have for themselves gets `mark`.
    """
    axis, data, taken = call.axis(0), call.shape(0), call.shape(1)
    if len(data) != len(taken):
        raise Unmatched(f"indices of rank {len(taken)} into data of rank {len(data)}")
    tied = [i != axis and dims.same(a, b) for i, (a, b) in enumerate(zip(data, taken, strict=True))]
    left = [f"a{i}" if t else f"x{i}!" for i, t in enumerate(tied)]
    right = [f"a{i}" if t else f"i{i}{mark}" for i, t in enumerate(tied)]
    return words(left), words(right)


def gather_elements_axes(call: Call) -> str:
    """The result has the axes of the indices."""
    data, indices = _alongside(call, "")
    return f"{data}, {indices} -> {indices}"


def scatter_elements_axes(call: Call) -> str:
    """Updates have the axes of the indices, the result those of the data."""
    data, indices = _alongside(call, "!")
    return f"{data}, {indices}, {indices} -> {data}"


def _depth(call: Call) -> int:
    depth = call.shape(1)[-1] if call.rank(1) else None
    if not isinstance(depth, int):
        raise Unmatched("how many axes its indices address is computed at run time")
    return depth


def gather_nd_axes(call: Call) -> str:
    """Rows of the indices address the axes after the batch axes; the others pass."""
    batch, depth = int(call.attr("batch_dims", 0)), _depth(call)
    data = labels(call.rank(0))
    outer = [*data[:batch], *labels(call.rank(1) - 1 - batch, "i")]
    addressed = marked(data, range(batch, batch + depth), "!")
    made = [*outer, *data[batch + depth :]]
    return f"{words(addressed)}, {words([*outer, 'z!'])} -> {words(made)}"


def scatter_nd_axes(call: Call) -> str:
    """Rows of the indices address the first axes; updates have the others."""
    depth, data = _depth(call), labels(call.rank(0))
    outer = [f"i{k}!" for k in range(call.rank(1) - 1)]
    addressed = marked(data, range(depth), "!")
    updates = [*outer, *data[depth:]]
    return f"{words(addressed)}, {words([*outer, 'z!'])}, {words(updates)} -> {words(addressed)}"


def tensor_scatter_axes(call: Call) -> str:
    """TensorScatter: updates are written into the cache along `axis`, at an index per batch."""
    axes, axis = labels(call.rank(0)), call.axis(-2)
    cache, update = marked(axes, [axis], "!"), replaced(axes, axis, "u!")
    return f"{words(cache)}, {words(update)}, a0? -> {words(cache)}"


def one_hot_axes(call: Call) -> Laid:
    """A new axis of `depth` indices is put in at `axis`."""
    axes, axis = labels(call.rank(0)), int(call.attr("axis", -1))
    right = list(axes)
    right.insert(axis + len(axes) + 1 if axis < 0 else axis, "d!")
    depth = call.ints(1)
    return f"{words(axes)}, , -> {words(right)}", {"d": depth[0] if depth else None}


def top_k_axes(call: Call) -> Laid:
    """The largest k along `axis`, and where they stand."""
    axes, axis = labels(call.rank(0)), call.axis(-1)
    count = call.value(1)
    kept = words(replaced(axes, axis, "k!"))
    size = None if count is None else values.whole(count.ravel().tolist()[0])
    return f"{words(marked(axes, [axis], '!'))}, -> {kept}, {kept}", {"k": size}


def running_axes(call: Call) -> str:
    """CumSum, CumProd: an element depends on those before it on one axis."""
    axes = labels(call.rank(0))
    found = call.ints(1)
    over = range(len(axes)) if found is None else [found[0] % len(axes)]
    said = words(marked(axes, over, "!"))
    return f"{said}, -> {said}"


def triangle_axes(call: Call) -> str:
    """Trilu: which elements stay depends on the place in the last two axes."""
    rank = call.rank(0)
    said = words(marked(labels(rank), [rank - 2, rank - 1], "!"))
    return f"{said}{unsaid(call)} -> {said}"


def reversed_axes(call: Call) -> str:
    """ReverseSequence: along time, as many elements as the length of each batch entry says."""
    axes = labels(call.rank(0))
    batch, time = call.axis(1, "batch_axis"), call.axis(0, "time_axis")
    said = words(marked(axes, [time], "!"))
    return f"{said}, {axes[batch]} -> {said}"


def chosen_axes(call: Call) -> str:
    """Compress: some indices of `axis`, or of all elements in a row."""
    axes = labels(call.rank(0))
    if "axis" not in call.attrs:
        return f"{words(marked(axes, range(len(axes)), '!'))}, c! -> k!"
    axis = call.axis(0)
    return f"{words(marked(axes, [axis], '!'))}, c! -> {words(replaced(axes, axis, 'k!'))}"


def unique_axes(call: Call) -> str:
    """Unique elements, or unique slices along `axis`; where they stand first, which, how many."""
    axes = labels(call.rank(0))
    whole = words(marked(axes, range(len(axes)), "!"))
    if "axis" not in call.attrs:
        return f"{whole} -> k!, k!, i!, k!"
    kept = replaced(marked(axes, range(len(axes)), "!"), call.axis(0), "k!")
    return f"{whole} -> {operands(words(kept), 'k!', 'i!', 'k!')}"


def non_zero_axes(call: Call) -> Laid:
    """Positions: one row per axis, one column per element that is not zero."""
    whole = words(marked(labels(call.rank(0)), range(call.rank(0)), "!"))
    return f"{whole} -> r! k!", {"r": call.rank(0)}


GATHER = table(
    Op("Gather", gather_axes, quant=Quant.PASS_THROUGH, table=0, value=_gather_value,
       refit=refit_gather),
    Op("GatherElements", gather_elements_axes, quant=Quant.PASS_THROUGH),
    Op("GatherND", gather_nd_axes, quant=Quant.PASS_THROUGH),
    Op("ScatterElements", scatter_elements_axes),
    Op("ScatterND", scatter_nd_axes),
    Op("TensorScatter", tensor_scatter_axes),
    Op("OneHot", one_hot_axes, dtypes=2),
    Op("TopK", top_k_axes, dtypes=lambda c: (c.dtype(0), DType.I64)),
    Op("CumSum", running_axes),
    Op("CumProd", running_axes),
    Op("Trilu", triangle_axes),
    Op("ReverseSequence", reversed_axes),
    Op("Compress", chosen_axes),
    Op("Unique", unique_axes, dtypes=lambda c: (c.dtype(0), *(DType.I64,) * 3)),
    Op("NonZero", non_zero_axes, dtypes=DType.I64),
    Op("NonMaxSuppression", lambda c: (f"n! b! x!, n! c! b!{unsaid(c, 2)} -> k! z!", {"z": 3}),
       dtypes=DType.I64),
    Op("Det", "*b m! n! -> *b"),
)  # fmt: skip
