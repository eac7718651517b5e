"""Merge nodes of arithmetic that undo or repeat each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, rewrite

_ROUNDS = 2.0**16  # adding more than this to a number is a way to round it, and stays


@dataclass(frozen=True)
class MergeArithmetic(Pass):
    """Merge two nodes of arithmetic in a row that together are one, or none.

    Cast of a Cast that loses nothing; Clip and Relu of each other; Neg of Neg, Not of Not;
    (x + a) + b and (x * a) * b with constants a and b, and the like with Sub and Div; the scales of
    both operands of a MatMul. Exact; the arithmetic up to rounding.
    """

    name: ClassVar[str] = "merge-arithmetic"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _operand(m: Match) -> str:
    return m.value("x")


def _cast(m: Match) -> Made | None:
    before = m.type("x")
    between = m.scope.type_of(m.node("inner").outputs[0])
    if before is None or not isinstance(between, TensorType):
        return None
    if not _holds(between.dtype, before.dtype):
        return None
    return Made("Cast", (m.value("x"),), m.root.attrs)


def _holds(wide: DType, narrow: DType) -> bool:
    """Tell whether every number of `narrow` is one of `wide`."""
    digits = {DType.F64: 53, DType.F32: 24, DType.F16: 11, DType.BF16: 8}
    if narrow is DType.BOOL:
        return wide.is_integer or wide in digits
    if narrow.is_integer and wide.is_integer:
        (low, high), (least, most) = narrow.span, wide.span
        return least <= low and high <= most
    if narrow.is_integer:
        return wide in digits and max(-narrow.span[0], narrow.span[1]) <= 2 ** digits[wide]
    return narrow in digits and wide in (DType.F64, DType.F32) and digits[narrow] < digits[wide]


def _clamp(m: Match) -> Made | None:
    """Clamp to the bounds of the inner node, clamped to those of the outer one."""
    outer, inner = _limits(m, m.root), _limits(m, m.node("inner"))
    if not m.is_float() or outer is None or inner is None:
        return None
    if outer[0] > outer[1] or inner[0] > inner[1]:
        return None
    low, high = np.clip(inner, *outer)
    if low == 0 and np.isinf(high):
        return Made("Relu", (m.value("x"),))
    return Made("Clip", (m.value("x"), *_bounds(m, low, high)), hints=("", "low", "high"))


def _limits(m: Match, node: Node) -> tuple[float, float] | None:
    """Return the bounds of a node that clamps, None where one is computed."""
    row = m.scope.ops.get(node.kind)
    return None if row is None or row.clamp is None else row.clamp(m.scope.call(node))


def _bounds(m: Match, low: float, high: float) -> list[str | np.ndarray]:
    kind = m.type()
    assert kind is not None
    made: list[str | np.ndarray] = [
        "" if np.isinf(b) else np.asarray(b, kind.dtype.numpy) for b in (low, high)
    ]
    return made if made[1] != "" else made[:1]


def _scale_once(m: Match) -> Made | None:
    """Scale one operand of a product instead of both: (a x) @ (b y) = (a b x) @ y."""
    kind, a, b = m.type(), m.numbers("a"), m.numbers("b")
    if kind is None or a.size * b.size != 1:
        return None
    scaled = m.node("left")
    once = Made("Mul", (m.value("x"), (a * b).astype(kind.dtype.numpy)), node=scaled.name)
    return Made("MatMul", (once, m.value("y")), m.root.attrs)


Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _merged(op: str, combine: Combine) -> Callable[[Match], Made | None]:
    """Make a rule function: x, a, b -> op(x, combine(a, b))."""

    def make(m: Match) -> Made | None:
        kind = m.type()
        if kind is None or not kind.dtype.is_float:
            return None
        a, b = m.numbers("a"), m.numbers("b")
        if op in ("Add", "Sub") and max(abs(a).max(initial=0), abs(b).max(initial=0)) > _ROUNDS:
            return None
        with np.errstate(all="ignore"):
            both = np.asarray(combine(a, b)).astype(kind.dtype.numpy)
        if both.size > max(a.size, b.size) or not np.isfinite(both.astype(np.float64)).all():
            return None
        return Made(op, (m.value("x"), both))

    return make


MERGED = "merged with the node before it"
RULES = (
    Rule("Cast(&inner:Cast(x))", _cast, MERGED),
    Rule("Neg(&Neg(x)) | Not(&Not(x))", _operand, "removed with its opposite"),
    Rule(
        "Relu(&@not_negative(x, ...))", lambda m: m.root.inputs[0], "removed: nothing is negative"
    ),
    Rule("@clamp(inner:@clamp(x, ...), ...)", _clamp, MERGED),
    Rule(
        "MatMul(left:Mul{x, const a}, Mul{y, const b})", _scale_once, "scales one operand, not both"
    ),
    Rule("Add{Add{x, const a}, const b}", _merged("Add", lambda a, b: a + b), MERGED),
    Rule("Sub(Add{x, const a}, const b)", _merged("Add", lambda a, b: a - b), MERGED),
    Rule("Add{Sub(x, const a), const b}", _merged("Add", lambda a, b: b - a), MERGED),
    Rule("Sub(Sub(x, const a), const b)", _merged("Sub", lambda a, b: a + b), MERGED),
    Rule("Mul{Mul{x, const a}, const b}", _merged("Mul", lambda a, b: a * b), MERGED),
    Rule("Div(Mul{x, const a}, const b)", _merged("Mul", lambda a, b: a / b), MERGED),
    Rule("Mul{Div(x, const a), const b}", _merged("Mul", lambda a, b: b / a), MERGED),
    Rule("Div(Div(x, const a), const b)", _merged("Div", lambda a, b: a * b), MERGED),
)
