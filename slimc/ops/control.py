"""Operators whose attributes are graphs. Their axes lose no index."""

from __future__ import annotations

from slimc.ir import dims
from slimc.ir.types import Dim, TensorType, ValueType
from slimc.ops.op import Call, Op, Types, table


def joined(a: ValueType | None, b: ValueType | None) -> ValueType | None:
    """Return what holds of both types; sizes that differ are unknown."""
    if isinstance(a, TensorType) and isinstance(b, TensorType) and a.dtype is b.dtype:
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(a.dtype, None)
        pairs = zip(a.shape, b.shape, strict=True)
        return TensorType(a.dtype, tuple(x if dims.same(x, y) else None for x, y in pairs))
    return a if a == b else None


def if_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """What both branches make, or the one that a known condition chooses."""
    on_false, on_true = outputs  # else_branch, then_branch
    condition = call.ints(0)
    if condition:
        return on_true if condition[0] else on_false
    return tuple(joined(a, b) for a, b in zip(on_false, on_true, strict=True))


def loop_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """The carried values, then what is stacked over the steps."""
    (made,) = outputs
    carried = max(0, len(call.types) - 2)
    kept = []
    for before, after in zip(call.types[2:], made[1 : 1 + carried], strict=True):
        start = before if isinstance(before, TensorType) else None
        kept.append(joined(start, after) or after)
    steps = call.ints(0) if call.present(0) and not call.present(1) else None
    return (*kept, *(_stacked(t, 0, steps[0] if steps else None) for t in made[1 + carried :]))


def scan_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """The states, then what is stacked over the scanned axis."""
    (made,) = outputs
    scanned = int(call.needed("num_scan_inputs"))
    states = len(call.types) - scanned
    axes = call.attr("scan_input_axes") or (0,) * scanned
    length = call.shape(states)[int(axes[0])] if scanned else None
    places = call.attr("scan_output_axes") or (0,) * (len(made) - states)
    stacked = [_stacked(t, int(p), length) for t, p in zip(made[states:], places, strict=True)]
    return (*made[:states], *stacked)


def _stacked(kind: ValueType | None, axis: int, length: Dim) -> ValueType | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    at = axis + len(kind.shape) + 1 if axis < 0 else axis
    return TensorType(kind.dtype, (*kind.shape[:at], length, *kind.shape[at:]))


CONTROL = table(
    Op("If", types=if_types),
    Op("Loop", types=loop_types),
    Op("Scan", types=scan_types),
)
