"""Groups of operators, by what their rows say: `@name(...)` in a pattern, `member` elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slimc.ops.op import Op, OpTable

GROUPS: Mapping[str, Callable[[Op], bool]] = {
    # contractions; their operands are data, weight and bias, wherever the row has them
    "weighted": lambda row: row.weighted is not None,
    # the elements of operand 0 in row-major order, in another shape perhaps
    "same_order": lambda row: row.order == "kept",
    # operand 0, where the result is no larger: its elements in order, some perhaps more than once
    "repeating": lambda row: row.order in ("kept", "repeated"),
    # the elements of operand 0, each once: what a runtime works out on loading where it is constant
    "moving": lambda row: row.order in ("kept", "changed"),
    # no number of the result is below 0
    "not_negative": lambda row: row.result[0] >= 0,
    # min(max(x, low), high)
    "clamp": lambda row: row.clamp is not None,
    # element by element, operands in any order
    "commutative": lambda row: row.commutes,
    # works on rows along one axis
    "along_axis": lambda row: bool(row.along),
    # gives back its operand where it has but one
    "joining": lambda row: row.alone == "operand",
    # gives back its operand where every axis that it reduces has one index
    "reducing": lambda row: row.alone == "element",
    # operand 0 + operand 1
    "sum": lambda row: row.sums,
}


def member(ops: OpTable, kind: str, group: str) -> bool:
    """Tell whether an operator is of a group; one without a row is of none."""
    row = ops.get(kind)
    return row is not None and GROUPS[group](row)


def members(ops: OpTable, group: str) -> tuple[str, ...]:
    """Return the kinds of a table that are of a group, sorted."""
    return tuple(kind for kind in ops.kinds if GROUPS[group](ops.rows[kind]))
