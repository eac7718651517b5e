"""Fold numbers per channel into the constants of a contraction, by its axis signature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from slimc.ir import dims
from slimc.ir.graph import Node
from slimc.ir.types import DType, TensorType
from slimc.ops.axes import Axis, BoundSignature
from slimc.ops.op import Weighted
from slimc.rewrite.match import Made, Match, Skip

CONTRACTION = "c:@weighted(x, const w, const b?)"


@dataclass(frozen=True)
class Contraction:
    """A matched contraction `c` of data `x` with constant weight `w` and, maybe, bias `b`.

    place: the axis of its result along which its output channels lie; summed: the axis of its data
    that it sums over, None where that is not one whole axis.
    """

    m: Match
    node: Node
    bound: BoundSignature
    weighted: Weighted
    place: int
    summed: int | None

    @classmethod
    def of(cls, m: Match) -> Contraction | None:
        """Return the contraction of a match; None where its signature does not fit.

        One that scales its product or its bias is none either.
        """
        node = m.node("c")
        row, bound = m.scope.ops.get(node.kind), m.scope.bound(node)
        if row is None or row.weighted is None or bound is None:
            return None
        data, weight = bound.inputs[row.weighted.data], bound.inputs[row.weighted.weight]
        result = bound.outputs[0]
        if data is None or weight is None or result is None or row.weighted.is_scaled(node.attrs):
            return None
        made, inside = set(_labels(*result)), set(_labels(*weight))
        places = [i for i, axis in enumerate(result) if row.weighted.channel in _labels(axis)]
        summed = [i for i, axis in enumerate(data) if set(_labels(axis)) <= inside]
        summed = [i for i in summed if not set(_labels(data[i])) <= made]
        if len(places) != 1:
            return None
        return cls(m, node, bound, row.weighted, places[0], summed[0] if len(summed) == 1 else None)

    def per_channel(self, constant: np.ndarray) -> np.ndarray | None:
        """Return a constant that broadcasts to the result as one number per output channel."""
        return _vector(constant, self.result, self.place, self.bound)

    def per_input(self, constant: np.ndarray) -> np.ndarray | None:
        """Return a constant that broadcasts to the data as one number per channel summed over."""
        data = self.bound.inputs[self.weighted.data]
        if data is None or self.summed is None:
            return None
        return _vector(constant, data, self.summed, self.bound)

    @property
    def result(self) -> tuple[Axis, ...]:
        return self.bound.outputs[0] or ()

    def scaled(self, factor: np.ndarray, summand: np.ndarray | None = None) -> Made | Skip | None:
        """Return the contraction whose result is factor * result + summand, per output channel."""
        axis = self.result[self.place]
        weight = self._weight() * self._spread(factor, axis)
        bias = self._bias(factor, summand)
        if bias is None and (self.m.has("b") or summand is not None):
            return None
        return self._rebuilt(weight, bias)

    def with_input(
        self, factor: np.ndarray, summand: np.ndarray | None = None
    ) -> Made | Skip | None:
        """Return the contraction of `x` where its data are factor * x + summand, per input channel.

        With a summand every result must sum over all of its weights, none over padding.
        """
        data = self.bound.inputs[self.weighted.data]
        if data is None or self.summed is None or not self._reads_as_much():
            return None
        if summand is not None and self.weighted.in_part(self.node.attrs):
            return None
        axis, weight = data[self.summed], self._weight()
        bias = self.m.numbers("b") if self.m.has("b") else None
        if summand is not None:
            kept = _labels(self.result[self.place])
            labels = _labels(*(self.bound.inputs[self.weighted.weight] or ()))
            over = tuple(i for i, label in enumerate(labels) if label not in kept)
            added = (weight * self._spread(summand, axis)).sum(over).ravel()
            bias = self._bias(np.ones_like(added), added)
            if bias is None:
                return None
        made = self._rebuilt(weight * self._spread(factor, axis), bias)
        if not isinstance(made, Made):
            return made
        inputs = list(made.inputs)
        inputs[self.weighted.data] = self.m.value("x")
        return replace(made, inputs=tuple(inputs))

    def _reads_as_much(self) -> bool:
        """Tell whether `x` has every size of the data: a factor may have made them larger."""
        kind = self.m.scope.type_of(self.node.inputs[self.weighted.data])
        own = self.m.type("x")
        if own is None or own.shape is None or not isinstance(kind, TensorType) or not kind.shape:
            return False
        same = len(own.shape) == len(kind.shape) and own.dtype is kind.dtype
        return same and all(map(dims.are_equal, own.shape, kind.shape))

    def _weight(self) -> np.ndarray:
        """Return the weight with one axis per label."""
        axes = self.bound.inputs[self.weighted.weight] or ()
        return self.m.numbers("w").reshape(self._sizes(_labels(*axes)))

    def _spread(self, vector: np.ndarray, axis: Axis) -> np.ndarray:
        """Return a vector along an axis so that it broadcasts to the weight, label by label."""
        labels = _labels(*(self.bound.inputs[self.weighted.weight] or ()))
        own = _labels(axis)
        order = sorted(range(len(own)), key=lambda i: labels.index(own[i]))
        shape = [
            size if name in own else 1
            for name, size in zip(labels, self._sizes(labels), strict=True)
        ]
        return vector.reshape(self._sizes(own)).transpose(order).reshape(shape)

    def _sizes(self, labels: list[str]) -> list[int]:
        sizes = [self.bound.sizes[name] for name in labels]
        return [size for size in sizes if isinstance(size, int)]

    def _bias(self, factor: np.ndarray, summand: np.ndarray | None) -> np.ndarray | None:
        """Return factor * bias + summand; None where there is none, or it is not per channel."""
        added = np.zeros_like(factor) if summand is None else summand
        if not self.m.has("b"):
            return None if summand is None else added
        bias = self.m.numbers("b")
        if bias.size == 1:
            bias = np.broadcast_to(bias.ravel(), factor.shape)
        if bias.shape[-1] != factor.size:  # its channels lie on its last axis
            return None
        made: np.ndarray = bias * factor + added
        return made

    def _rebuilt(self, weight: np.ndarray, bias: np.ndarray | None) -> Made | Skip | None:
        w = weight.reshape(self.m.array("w").shape)
        kind = self.m.type("w")
        if kind is None:
            return None
        if not all(_fits(a, kind.dtype) for a in (w, bias) if a is not None):
            return Skip(f"the numbers of '{self.node.name}' would leave the range of their type")
        if bias is None or self.m.has("b"):
            return self.m.rebuilt("c", w=w, b=bias)
        made, bias = self.m.rebuilt("c", w=w), bias.astype(kind.dtype.numpy)
        if self.weighted.bias is not None:
            return _with_operand(made, self.weighted.bias, bias, "b")
        if not self._is_matrix_product():
            return None  # only a product of matrices has an operator with a bias
        inputs = (made.inputs[self.weighted.data], made.inputs[self.weighted.weight], bias)
        return replace(made, op="Gemm", domain="", attrs={}, inputs=inputs, hints=("", "w", "b"))

    def _is_matrix_product(self) -> bool:
        """Tell whether it multiplies two matrices as they are, [M,K] by [K,N]."""
        parts, axes = self.weighted, self.bound.inputs
        data, weight = axes[parts.data] or (), axes[parts.weight] or ()
        if not len(data) == len(weight) == len(self.result) == 2:
            return False
        return data[1] == weight[0] and self.result == (data[0], weight[1])


def _with_operand(made: Made, place: int, array: np.ndarray, hint: str) -> Made:
    """Return a new node with a constant for an operand that was absent."""
    inputs, hints = list(made.inputs), list(made.hints)
    missing = place + 1 - len(inputs)
    inputs += [""] * missing
    hints += [""] * (place + 1 - len(hints))
    inputs[place], hints[place] = array, hint
    return replace(made, inputs=tuple(inputs), hints=tuple(hints))


def _fits(array: np.ndarray, dtype: DType) -> bool:
    """Tell whether numbers stay in the range of a type, not all below its last digits."""
    with np.errstate(all="ignore"):
        made = array.astype(dtype.numpy).astype(np.float64)
    largest = np.abs(array).max(initial=0.0)
    return bool(np.isfinite(made).all() and np.abs(made - array).max(initial=0.0) <= largest / 100)


def _labels(*axes: Axis) -> list[str]:
    return [label.name for axis in axes for term in axis for label in term]


def _vector(
    constant: np.ndarray, axes: tuple[Axis, ...], place: int, bound: BoundSignature
) -> np.ndarray | None:
    """Return a constant that broadcasts to `axes` as a vector along one, or None."""
    size = bound.size(axes[place])
    shape = (1,) * (len(axes) - constant.ndim) + constant.shape
    if constant.ndim > len(axes) or not isinstance(size, int):
        return None
    if prod(shape) != shape[place] or shape[place] not in (1, size):
        return None
    return np.broadcast_to(constant.ravel(), (size,)).astype(np.float64)
