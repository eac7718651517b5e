"""Operators whose attributes are graphs, and how their operands flow through these to results.

RESULTS has a row per operator for the open form of such a node (`analysis/bodies.py`), which reads
its own operands, then the inputs of its bodies, then what its bodies make, and has its results.
"""

from __future__ import annotations

from slimc.ir import dims
from slimc.ir.types import Dim, TensorType, ValueType
from slimc.ops.op import Call, Laid, Op, Types, table

RESULTS = "results"  # the operator of an open node; its domain is the kind of the closed one
ENDS = "ends"  # its attribute: how many operands are its own, and how many each body makes
_LOOP_OWN = 2  # trip count and condition come before the carried values


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


def words(call: Call, operands: list[int], name: str) -> str | None:
    """Return one label per axis for operands of one shape; None if their sizes are not the same."""
    kinds = [call.types[i] if i < len(call.types) else None for i in operands]
    shapes = {k.shape if isinstance(k, TensorType) else None for k in kinds}
    (shape, *others) = shapes
    if others or shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return " ".join(f"{name}_{axis}" for axis in range(len(shape))) or "[]"


def stacked(said: str, step: str, place: int) -> str:
    """Return axes with one more at a place, which may count from the end."""
    names = said.replace("[]", "").split()
    names.insert(place % (len(names) + 1), step)
    return " ".join(names)


class _Ends:
    """The signature of an open node under construction: nothing is said of what is not tied."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.operands, self.results = [""] * len(call.types), [""] * call.results

    def tie(
        self, operands: list[int], result: int, name: str, step: str = "", place: int = 0
    ) -> None:
        """Let operands and a result have the same axes, if they have the same sizes.

        step: an axis that the result has besides, at a place.
        """
        said = words(self.call, operands, name)
        if said is None:
            return
        for operand in operands:
            self.operands[operand] = said
        if result < self.call.results:
            self.results[result] = stacked(said, step, place) if step else said

    def text(self) -> str:
        return f"{', '.join(self.operands)} -> {', '.join(self.results)}"


def if_ends(call: Call) -> str:
    """C, what the else branch makes, what the then branch makes -> results of either."""
    ends = _Ends(call)
    own, made, _ = call.needed(ENDS)
    for i in range(made):
        ends.tie([own + i, own + made + i], i, f"r{i}")
    return ends.text()


def loop_ends(call: Call) -> Laid:
    """N, C, carried; i, c, carried; c, carried, stacked -> carried, stacked.

    A carried value has the same axes before, in, and after every step. What is stacked is said of
    where the number of steps is known.
    """
    ends = _Ends(call)
    own, made = call.needed(ENDS)
    carried = own - _LOOP_OWN
    for i in range(carried):
        ends.tie([_LOOP_OWN + i, own + _LOOP_OWN + i, 2 * own + 1 + i], i, f"r{i}")
    steps = None if call.present(1) else call.ints(0)
    for i in range(carried, made - 1 if steps else 0):
        ends.tie([2 * own + 1 + i], i, f"r{i}", "step!")
    return ends.text(), {"step": steps[0]} if steps else {}


def scan_ends(call: Call) -> str:
    """States, scanned; states, slices; states, stacked -> states, stacked.

    A slice has the axes of what is scanned but the one that the steps run over.
    """
    ends = _Ends(call)
    scanned = int(call.needed("num_scan_inputs"))
    own, made = call.needed(ENDS)
    states = own - scanned
    for i in range(states):
        ends.tie([i, own + i, 2 * own + i], i, f"r{i}")
    places = call.attr("scan_output_axes") or (0,) * (made - states)
    for i, place in enumerate(places, states):
        ends.tie([2 * own + i], i, f"r{i}", "step!", int(place))
    axes = call.attr("scan_input_axes") or (0,) * scanned
    for i, axis in enumerate(axes, states):
        said = words(call, [own + i], f"s{i}")
        if said is not None:
            ends.operands[own + i] = said
            ends.operands[i] = stacked(said, "step!", int(axis))
    return ends.text()


RESULTS_OF = {
    kind: Op(f"{kind}.{RESULTS}", axes=axes)
    for kind, axes in (("If", if_ends), ("Loop", loop_ends), ("Scan", scan_ends))
}
