"""Merge nodes that move elements without computing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from slimc.ir import dims
from slimc.ir.graph import Graph
from slimc.ir.types import Dim, Shape
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, rewrite
from slimc.rewrite.sizes import target_of


@dataclass(frozen=True)
class MergeLayout(Pass):
    """Merge Reshape, Flatten, Squeeze, Unsqueeze, Transpose and Slice that follow each other.

    A Transpose that only moves axes of size one is a Reshape; axes of size one that come or go
    behind a Transpose do so before it, where a Reshape stands; they need not come for a sum or
    product with a constant and go again. Exact.
    """

    name: ClassVar[str] = "merge-layout"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


def _reshape(m: Match) -> Made | None:
    """Reshape straight to the last shape, unless a 0 in it copies a size of the middle one."""
    if (m.array("shape") == 0).any():
        return None
    return Made("Reshape", (m.value("x"), m.value("shape")))


def _to_result(m: Match) -> Made | None:
    """Let what keeps the order of the elements be one Reshape."""
    sizes = m.sizes()
    return None if sizes is None else _reshaped(m, sizes)


def _both_to_result(m: Match) -> Made | None:
    """Let two such nodes be one Reshape, unless the last only copies (an output has two names)."""
    between, after = m.sizes_of("inner"), m.sizes()
    copied = between is not None and after is not None and len(between) == len(after)
    if copied and all(map(dims.are_equal, between or (), after or ())):
        return None
    return _to_result(m)


def _reshaped(m: Match, sizes: Sequence[Dim]) -> Made | None:
    target = target_of(sizes, m.sizes("x"))
    return None if target is None else Made("Reshape", (m.value("x"), target), hints=("", "shape"))


def _perm(m: Match, label: str, rank: int) -> tuple[int, ...]:
    return tuple(m.attr("perm", tuple(reversed(range(rank))), of=label))


def _transpose(m: Match) -> Made | None:
    rank = m.rank()
    if rank is None:
        return None
    first, second = _perm(m, "inner", rank), _perm(m, "outer", rank)
    return Made("Transpose", (m.value("x"),), {"perm": tuple(first[i] for i in second)})


def _transpose_of_ones(m: Match) -> Made | None:
    """Turn a Transpose that leaves the order of longer axes into a Reshape."""
    sizes = m.sizes("x")
    if sizes is None:
        return None
    moved = [axis for axis in _perm(m, "outer", len(sizes)) if sizes[axis] != 1]
    return _to_result(m) if moved == sorted(moved) else None


def _ones_before_transpose(m: Match) -> Made | None:
    """Let axes of size one come and go in the Reshape before a Transpose, not in one behind it."""
    before, between, after = m.sizes_of("inner"), m.sizes_of("turn"), m.sizes()
    if before is None or between is None or after is None or not _same(between, after):
        return None
    perm = _perm(m, "turn", len(before))
    longer = iter([axis for axis in perm if before[axis] != 1])
    place = -1  # an axis of size one stays beside the axis that it follows in the result
    places = []
    for size in after:
        place = next(longer) if size != 1 else place
        places.append(place)
    order = sorted(range(len(after)), key=lambda axis: (places[axis], axis))
    made = _reshaped(m, [after[axis] for axis in order])
    if made is None:
        return None
    made = replace(made, node=m.node("inner").name)
    turned = tuple(order.index(axis) for axis in range(len(after)))
    return Made("Transpose", (made,), {"perm": turned}, node=m.node("turn").name)


def _ones_around_constant(m: Match) -> Made | None:
    """Compute x op c without axes of size one that come before and go behind it."""
    before, between, c = m.sizes("x"), m.sizes_of("inner"), m.array("c")
    if before is None or between is None or not _same(before, between) or not m.same_type("x"):
        return None
    if c.ndim > len(between):
        return None
    shape = (1,) * (len(between) - c.ndim) + c.shape
    if any(size != 1 for size, around in zip(shape, between, strict=True) if around == 1):
        return None
    kept = iter([size for size, around in zip(shape, between, strict=True) if around != 1])
    c = c.reshape([1 if around == 1 else next(kept) for around in before])
    op = m.node("op")
    return Made(op.op, (m.value("x"), c), op.attrs, op.domain, node=op.name)


def _softmax_of_matrix(m: Match) -> Made | None:
    """Let a Softmax over the last axis see the value itself, not a matrix made of it and unmade."""
    before, flat = m.sizes("x"), m.sizes_of("inner")
    softmax = m.node("softmax")
    along = m.scope.ops.rows[softmax.kind].along
    if before is None or flat is None or softmax.attrs.get(along, -1) not in (-1, len(flat) - 1):
        return None
    if not before or not flat or not (dims.are_equal(before[-1], flat[-1]) or _keeps_last(m)):
        return None
    if not m.has_node("Shape") and not m.same_type("x"):
        return None
    attrs = {**softmax.attrs, along: -1}
    return Made(softmax.op, (m.value("x"),), attrs, softmax.domain, node=softmax.name)


def _keeps_last(m: Match) -> bool:
    """Tell whether the inner node leaves the last axis as it is, whatever the sizes are."""
    bound = m.scope.bound(m.node("inner"))
    if bound is None or not bound.inputs[0] or not bound.outputs[0]:
        return False
    return bound.inputs[0][-1] == bound.outputs[0][-1]


def _same(a: Shape, b: Shape) -> bool:
    """Tell whether two shapes differ in axes of size one at most."""
    longer_a, longer_b = ([size for size in shape if size != 1] for shape in (a, b))
    return len(longer_a) == len(longer_b) and all(map(dims.are_equal, longer_a, longer_b))


def _slice(m: Match) -> Made | None:
    """Slice other axes of a Slice together with its own."""
    rank = m.rank()
    if rank is None:
        return None
    axes = [m.array(f"axes{i}") % rank for i in (0, 1)]
    if set(axes[0].tolist()) & set(axes[1].tolist()):
        return None
    both = [np.concatenate([m.array(f"{name}{i}") for i in (0, 1)]) for name in ("starts", "ends")]
    steps = [m.array(f"steps{i}") if m.has(f"steps{i}") else np.ones_like(axes[i]) for i in (0, 1)]
    operands = (*both, np.concatenate(axes), np.concatenate(steps))
    hints = ("", "starts", "ends", "axes", "steps")
    return Made("Slice", (m.value("x"), *operands), hints=hints)


MERGED = "merged with the node before it"
SLICED = "const starts{0}, const ends{0}, const axes{0}, const steps{0}?"
RULES = (
    Rule("Reshape(&@same_order(x, ...), const shape)", _reshape, MERGED),
    Rule("@same_order(&inner:@same_order(x, ...), ...)", _both_to_result, MERGED),
    Rule("outer:Transpose(&inner:Transpose(x))", _transpose, MERGED),
    Rule("outer:Transpose(x)", _transpose_of_ones, "only moves axes of size one: a Reshape"),
    Rule(
        "@same_order(turn:Transpose(inner:@same_order(x, ...)), ...)",
        _ones_before_transpose,
        "merged with the Reshape before the Transpose",
    ),
    Rule(
        "@same_order(op:@commutative{inner:@same_order(x, ...), const c}, ...)",
        _ones_around_constant,
        "removed, with the axes of size one that come before the constant",
    ),
    Rule(
        "Reshape(softmax:@along_axis(inner:@same_order(x, ...)), &Shape(x) | _)",
        _softmax_of_matrix,
        "works on the value itself, not on a matrix of it",
    ),
    Rule(f"Slice(&Slice(x, {SLICED.format(0)}), {SLICED.format(1)})", _slice, MERGED),
)
