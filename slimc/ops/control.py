"""Operators whose attributes are graphs, and how their operands flow through these to results.

OPEN_OPS has a row per operator for the open form of such a node (see `analysis/bodies.py`). Its
operands are those of the node, then the inputs of its bodies, then the outputs of its bodies; its
results are those of the node.
"""

from __future__ import annotations

from slimc.ir import dims
from slimc.ir.types import Dim, TensorType, ValueType
from slimc.ops.op import Call, Op, SizedSignature, Types, make_table

RESULTS = "results"  # the operator of an open node; its domain is the kind of the closed one
ENDS = "ends"  # its attribute: the number of operands of the node and of outputs per body
_LOOP_OWN = 2  # trip count and condition come before the carried values


def join_types(a: ValueType | None, b: ValueType | None) -> ValueType | None:
    """Return the common type of two types; sizes that differ become unknown."""
    if isinstance(a, TensorType) and isinstance(b, TensorType) and a.dtype is b.dtype:
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(a.dtype, None)
        pairs = zip(a.shape, b.shape, strict=True)
        return TensorType(
            a.dtype, tuple(size if dims.are_equal(size, other) else None for size, other in pairs)
        )
    return a if a == b else None


def if_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """Join the types of both branches, or return those of the branch that is known to run."""
    on_false, on_true = outputs  # else_branch, then_branch
    condition = call.ints(0)
    if condition:
        return on_true if condition[0] else on_false
    return tuple(join_types(a, b) for a, b in zip(on_false, on_true, strict=True))


def loop_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """Return the types of carried values, then of outputs that are stacked over the steps."""
    (body,) = outputs
    carried = max(0, len(call.types) - 2)
    carried_types = []
    for before, after in zip(call.types[2:], body[1 : 1 + carried], strict=True):
        start = before if isinstance(before, TensorType) else None
        carried_types.append(join_types(start, after) or after)
    steps = call.ints(0) if call.has_operand(0) and not call.has_operand(1) else None
    return (
        *carried_types,
        *(_stack_type(t, 0, steps[0] if steps else None) for t in body[1 + carried :]),
    )


def scan_types(call: Call, outputs: tuple[Types, ...]) -> Types:
    """Return the types of the states, then of outputs that are stacked over the steps."""
    (body,) = outputs
    scanned = int(call.required_attr("num_scan_inputs"))
    states = len(call.types) - scanned
    axes = call.attr("scan_input_axes") or (0,) * scanned
    length = call.shape(states)[int(axes[0])] if scanned else None
    positions = call.attr("scan_output_axes") or (0,) * (len(body) - states)
    stacked = [
        _stack_type(t, int(p), length) for t, p in zip(body[states:], positions, strict=True)
    ]
    return (*body[:states], *stacked)


def _stack_type(kind: ValueType | None, axis: int, length: Dim) -> ValueType | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    position = axis + len(kind.shape) + 1 if axis < 0 else axis
    return TensorType(kind.dtype, (*kind.shape[:position], length, *kind.shape[position:]))


CONTROL = make_table(
    Op("If", types=if_types),
    Op("Loop", types=loop_types),
    Op("Scan", types=scan_types),
)


def equal_shape_axes(call: Call, operands: list[int], name: str) -> str | None:
    """Return one label per axis for operands of equal shapes; None if they differ."""
    kinds = [call.types[i] if i < len(call.types) else None for i in operands]
    shapes = {k.shape if isinstance(k, TensorType) else None for k in kinds}
    (shape, *others) = shapes
    if others or shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return " ".join(f"{name}_{axis}" for axis in range(len(shape))) or "[]"


def insert_axis(axes: str, step: str, position: int) -> str:
    """Insert an axis at a position, which may count from the end."""
    names = axes.replace("[]", "").split()
    names.insert(position % (len(names) + 1), step)
    return " ".join(names)


class _OpenSignature:
    """Builder of the signature of an open node; operands that are not tied are not described."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.operands, self.results = [""] * len(call.types), [""] * call.results

    def tie(
        self, operands: list[int], result: int, name: str, step: str = "", position: int = 0
    ) -> None:
        """Give operands and a result the same axes, if their sizes are equal.

        step: an additional axis of the result, at `position`.
        """
        axes = equal_shape_axes(self.call, operands, name)
        if axes is None:
            return
        for operand in operands:
            self.operands[operand] = axes
        if result < self.call.results:
            self.results[result] = insert_axis(axes, step, position) if step else axes

    def text(self) -> str:
        return f"{', '.join(self.operands)} -> {', '.join(self.results)}"


def if_open_axes(call: Call) -> str:
    """C, outputs of the else branch, outputs of the then branch -> results."""
    signature = _OpenSignature(call)
    own, body_outputs, _ = call.required_attr(ENDS)
    for i in range(body_outputs):
        signature.tie([own + i, own + body_outputs + i], i, f"r{i}")
    return signature.text()


def loop_open_axes(call: Call) -> SizedSignature:
    """N, C, carried; i, c, carried; c, carried, stacked -> carried, stacked.

    A carried value has the same axes before, in, and after every step. Stacked outputs are
    described where the number of steps is known.
    """
    signature = _OpenSignature(call)
    own, body_outputs = call.required_attr(ENDS)
    carried = own - _LOOP_OWN
    for i in range(carried):
        signature.tie([_LOOP_OWN + i, own + _LOOP_OWN + i, 2 * own + 1 + i], i, f"r{i}")
    steps = None if call.has_operand(1) else call.ints(0)
    for i in range(carried, body_outputs - 1 if steps else 0):
        signature.tie([2 * own + 1 + i], i, f"r{i}", "step!")
    return signature.text(), {"step": steps[0]} if steps else {}


def scan_open_axes(call: Call) -> str:
    """States, scanned; states, slices; states, stacked -> states, stacked.

    A slice has the axes of the scanned value except the one that the steps run over.
    """
    signature = _OpenSignature(call)
    scanned = int(call.required_attr("num_scan_inputs"))
    own, body_outputs = call.required_attr(ENDS)
    states = own - scanned
    for i in range(states):
        signature.tie([i, own + i, 2 * own + i], i, f"r{i}")
    positions = call.attr("scan_output_axes") or (0,) * (body_outputs - states)
    for i, position in enumerate(positions, states):
        signature.tie([2 * own + i], i, f"r{i}", "step!", int(position))
    axes = call.attr("scan_input_axes") or (0,) * scanned
    for i, axis in enumerate(axes, states):
        slice_axes = equal_shape_axes(call, [own + i], f"s{i}")
        if slice_axes is not None:
            signature.operands[own + i] = slice_axes
            signature.operands[i] = insert_axis(slice_axes, "step!", int(axis))
    return signature.text()


OPEN_OPS = {
    kind: Op(f"{kind}.{RESULTS}", axes=axes)
    for kind, axes in (("If", if_open_axes), ("Loop", loop_open_axes), ("Scan", scan_open_axes))
}
