"""Remove nodes that compute what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite


@dataclass(frozen=True)
class RemoveIdentities(Pass):
    """Remove nodes whose result is their operand, whatever its elements are.

    Identity; Dropout in inference; Cast to the same type; x * 1, x / 1, x + 0, x - 0, x ** 1;
    Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile, Slice, Resize that keep every size;
    Transpose that keeps the order; Pad by nothing; Concat, Sum, Mean, Max or Min of one; Clip
    without a bound; reductions over axes of size one. Exact (x + 0 turns -0 into 0; that is not
    kept).
    """

    name: ClassVar[str] = "remove-identities"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _operand(m: Match) -> str:
    return m.value("x")


def _unless_training(m: Match) -> str | Skip:
    training = m.array("training") if m.has("training") else np.array(False)
    if training.any():
        return Skip("it drops at random (training_mode is true)", "export the model in eval mode")
    return m.value("x")


def _if_same_type(m: Match) -> str | None:
    return m.value("x") if m.same_type("x") else None


def _cast_like(m: Match) -> Made | None:
    like = m.type("like")
    return None if like is None else Made("Cast", (m.value("x"),), {"to": like.dtype.code})


def _if_same_elements(m: Match) -> str | None:
    """Drop a Cast that is told to make the element type there is."""
    kind = m.type("x")
    return m.value("x") if kind is not None and kind.dtype.code == m.attr("to") else None


def _if_broadcast_adds_nothing(m: Match) -> str | None:
    """Drop arithmetic with a neutral constant `c` that does not make x larger."""
    rank = m.rank("x")
    array = m.array("c")
    fits = array.size == 1 and rank is not None and array.ndim <= rank
    return m.value("x") if fits or m.same_type("x") else None


def _all(number: float) -> Callable[[Match], str | None]:
    def make(m: Match) -> str | None:
        array = m.array("c")
        neutral = array.dtype.kind not in "OUSb" and bool((array == number).all())
        return _if_broadcast_adds_nothing(m) if neutral else None

    return make


def _slice(m: Match) -> str | None:
    """Drop a Slice that keeps every size, forward: it can only start at the first element."""
    forward = not m.has("steps") or bool((m.array("steps") == 1).all())
    return m.value("x") if forward and m.same_type("x") else None


def _transpose(m: Match) -> str | None:
    rank = m.rank("x")
    if rank is None:
        return None
    order = m.attr("perm", tuple(reversed(range(rank))))
    return m.value("x") if tuple(order) == tuple(range(rank)) else None


def _pad(m: Match) -> str | None:
    return m.value("x") if not m.array("pads").any() else None


def _split(m: Match) -> str | None:
    return _if_same_type(m) if len(m.root.outputs) == 1 else None


def _clip(m: Match) -> str | None:
    low, high = (m.optional_numbers(name, b) for name, b in (("low", -np.inf), ("high", np.inf)))
    return m.value("x") if np.isneginf(low).all() and np.isposinf(high).all() else None


def _resize(m: Match) -> str | None:
    """Drop a Resize by factors of exactly one: every mode then reads each element in its place."""
    if m.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    if m.has("scales") and not (m.array("scales") == 1).all():
        return None
    return _if_same_type(m)


def _where(m: Match) -> str | None:
    chosen = m.array("c")
    if chosen.all() and m.same_type("a"):
        return m.value("a")
    return m.value("b") if not chosen.any() and m.same_type("b") else None


NOTHING = "removed, its result is its operand"
RULES = (
    Rule("Identity(x)", _operand, NOTHING),
    Rule(
        "Dropout(x, ratio?, training?)", _unless_training, "removed, it does nothing in inference"
    ),
    Rule("CastLike(x, like)", _cast_like),
    Rule("Cast(x)", _if_same_elements, NOTHING),
    Rule("Mul{x, const c} | Div(x, const c) | Pow(x, const c)", _all(1), NOTHING),
    Rule("Add{x, const c} | Sub(x, const c)", _all(0), NOTHING),
    Rule("@repeating|@reducing(x, ...)", _if_same_type, NOTHING),
    Rule("Slice(x, starts, ends, axes?, const steps?)", _slice, NOTHING),
    Rule("Transpose(x)", _transpose, NOTHING),
    Rule("Pad(x, const pads, ...)", _pad, NOTHING),
    Rule("@joining(x)", _operand, NOTHING),
    Rule("Split(x, ...)", _split, NOTHING),
    Rule("Clip(x, const low?, const high?)", _clip, NOTHING),
    Rule("Resize(x, roi?, const scales?, sizes?)", _resize, NOTHING),
    Rule("Where(const c, a, b)", _where, "removed, its condition is constant"),
)
