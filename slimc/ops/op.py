"""Rows of the operator table, and the view of a node that their functions get."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Literal

import numpy as np

from slimc.ir.graph import Attr, Node
from slimc.ir.types import Dim, DType, Shape, TensorType, ValueType
from slimc.ops.axes import Axis, BoundSignature, Unmatched, bind, parse


class Quant(Enum):
    """How an operator can be computed in integers; the target decides whether it is."""

    WEIGHTED = "weighted"
    """A contraction with (usually constant) weights."""
    POINTWISE = "pointwise"
    """Every operand and the result have their own scales."""
    PASS_THROUGH = "pass-through"
    """It moves or selects elements: the result has the scale of the operand."""
    SHARED_SCALE = "shared-scale"
    """All operands and the result share one scale (Concat)."""
    FLOAT_ONLY = "float-only"
    """It has no integer form."""


@dataclass(frozen=True)
class UnknownType:
    """The type of an operand that is present but whose type is not known."""


@dataclass(frozen=True)
class Call:
    """A node as the functions of a row see it."""

    op: str
    """Operator type, without its domain."""
    attrs: Mapping[str, Attr]
    """Attributes of the node."""
    types: tuple[ValueType | UnknownType | None, ...]
    """Types of the operands; None for absent ones."""
    values: tuple[np.ndarray | None, ...]
    """Elements of the operands, as far as they are known.

    An array of numbers, or an object array of numbers, size names (str) and None.
    """
    results: int = 1
    """Number of results, absent ones included."""

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, bytes as text, or the default."""
        value = self.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def required_attr(self, name: str) -> Any:
        """Return a required attribute; Unmatched if it is missing."""
        if name not in self.attrs:
            raise Unmatched(f"it has no attribute {name}")
        return self.attr(name)

    def axis(self, default: int, name: str = "axis", operand: int = 0) -> int:
        """Return an attribute that is an axis of an operand, counted from the front."""
        axis, rank = int(self.attr(name, default)), self.rank(operand)
        if not -rank <= axis < rank:
            raise Unmatched(f"{name} {axis} of an operand of rank {rank}")
        return axis % rank

    def has_operand(self, i: int) -> bool:
        """Return whether operand i is present."""
        return i < len(self.types) and self.types[i] is not None

    def shape(self, i: int) -> Shape:
        """Return the shape of operand i; Unmatched if it is absent or its rank unknown."""
        kind = self.types[i] if i < len(self.types) else None
        if not isinstance(kind, TensorType) or kind.shape is None:
            raise Unmatched(f"operand {i} has no known rank")
        return kind.shape

    def rank(self, i: int) -> int:
        return len(self.shape(i))

    def dtype(self, i: int) -> DType | None:
        kind = self.types[i] if i < len(self.types) else None
        return kind.dtype if isinstance(kind, TensorType) else None

    def value(self, i: int) -> np.ndarray | None:
        """Return the elements of operand i as far as they are known."""
        known = self.values[i] if i < len(self.values) else None
        return None if known is None or self.dtype(i) is DType.STRING else known

    def ints(self, i: int) -> list[int] | None:
        """Return operand i as integers, or None if it is absent or not fully known."""
        value = self.value(i)
        if value is None:
            return None
        flat = value.ravel().tolist()
        return [int(v) for v in flat] if all(isinstance(v, (int, float)) for v in flat) else None

    def int_list(self, name: str, operand: int | None = None) -> list[int] | None:
        """Return the integers of an attribute, else of an operand; Unmatched if computed."""
        if name in self.attrs:
            value: Any = self.attrs[name]
            return [int(v) for v in value] if isinstance(value, tuple) else [int(value)]
        if operand is None or not self.has_operand(operand):
            return None
        ints = self.ints(operand)
        if ints is None:
            raise Unmatched(f"{name} is computed at run time")
        return ints


@dataclass(frozen=True)
class ShapeRefit:
    """What repeats a size and must be updated when indices are removed."""

    attrs: Mapping[str, Attr | None] = field(default_factory=dict)
    """New attributes; None removes one."""
    elements: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """New elements of integer operands: operand -> position -> number."""
    operands: Mapping[int, np.ndarray] = field(default_factory=dict)
    """New constant operands."""


@dataclass(frozen=True)
class Weighted:
    """The operands of a contraction: data, weight, bias if any; the label of output channels."""

    data: int
    weight: int
    bias: int | None
    channel: str
    factors: tuple[str, ...] = ()
    """Attributes that scale its product or its bias, by 1 where they are absent."""
    in_part: Callable[[Mapping[str, Attr]], bool] = lambda attrs: False
    """Whether some results sum over a part of the weight: a window that reaches into padding."""

    def is_scaled(self, attrs: Mapping[str, Attr]) -> bool:
        """Return whether the attributes of a node scale its product or its bias."""
        return any(attrs.get(name, 1.0) != 1.0 for name in self.factors)

    def arranged(self, operands: Sequence[str]) -> tuple[str, ...]:
        """Return the operands as data, weight, bias, then all others; absent ones are empty."""
        places = [self.data, self.weight, *([] if self.bias is None else [self.bias])]
        own = [operands[i] if i < len(operands) else "" for i in places]
        bias = [""] if self.bias is None else []
        return (*own, *bias, *(v for i, v in enumerate(operands) if i not in places))


Types = tuple[ValueType | None, ...]
SizedSignature = tuple[str, Mapping[str, Dim]]  # a signature, and sizes of labels
AxesRule = str | Callable[[Call], str | SizedSignature]
DTypesRule = DType | int | str | Callable[[Call], tuple[DType | None, ...]]
TypesRule = Callable[[Call, tuple[Types, ...]], Types]
ValueRule = Callable[[Call], tuple[np.ndarray | None, ...]]
RefitRule = Callable[[Call, BoundSignature, Mapping[str, int]], ShapeRefit]
ClampRule = Callable[[Call], tuple[float, float] | None]
TapsRule = Callable[[Call, Sequence[int], Sequence[int]], tuple[np.ndarray, ...]]

RESULT = 100  # in `macs`: result i is written RESULT + i


@dataclass(frozen=True)
class Op:
    """One operator: a row of the table. An absent fact means that the default holds."""

    kind: str
    """Its name, with the domain before it outside the default one."""

    # Shape facts: axes, element types and numbers, as far as they follow from the operands.
    axes: AxesRule | None = None
    """Axis signature, or a function of the call that gives it, with the sizes of the labels that
    operands do not fix; None: opaque, its axes lose no index."""
    dtypes: DTypesRule = 0
    """Element type of the results: that of operand i (an int), a fixed one, that named by an
    attribute (a str), or a function."""
    types: TypesRule | None = None
    """Of an operator with bodies, sequences or optional values: (call, types of the outputs of
    every body) -> types of its results."""
    value: ValueRule | None = None
    """Elements of the results as far as they follow from those of the operands: the arithmetic of
    shapes."""
    refit: RefitRule | None = None
    """(call before, its bound signature, label sizes after) -> what repeats a size and follows."""

    # Algebra: what rewrites rely on. `ops.groups` names the groups of operators that follow.
    order: Literal["kept", "changed", "repeated"] | None = None
    """Of an operator that only moves: its result holds the elements of operand 0, each once, in
    row-major order ("kept": a Reshape) or in another ("changed": a Transpose); or in order and
    perhaps more than once ("repeated": an Expand)."""
    result: tuple[float, float] = (-math.inf, math.inf)
    """The least and the largest number that its result can hold, whatever its operands are."""
    clamp: ClampRule | None = None
    """y = min(max(x, low), high) of operand 0: gives both bounds, None where one is computed."""
    sums: bool = False
    """The result is operand 0 + operand 1, broadcast: what adds a bias or joins a residual."""
    commutes: bool = False
    """Element by element and broadcast, and its operands may stand in any order."""
    alone: Literal["operand", "element"] | None = None
    """What it combines comes back where there is but one: the "operand" of a Concat or Max, the
    "element" along the axes of a ReduceMean."""
    along: str = ""
    """The attribute that names the one axis that it works along, by default the last; it sees every
    other axis as rows."""
    homogeneous: bool = False
    """f(s x) = s f(x) for operand 0 and any s > 0; what clamps at zero, and what only moves
    elements, need not say."""
    affine: tuple[int, ...] = ()
    """Operands, one number per channel each, that the result is linear in."""
    gate: bool = False
    """It is x times a function of x between 0 and 1."""
    running: tuple[int, int] | None = None
    """Operands that are mean and variance of operand 0 per channel, constants in inference."""
    random: bool = False
    """The results may differ from run to run."""

    # Quantization facts: what it can mean in narrow numbers.
    quant: Quant = Quant.FLOAT_ONLY
    """What integer arithmetic can mean."""
    weighted: Weighted | None = None
    """Which operands of a contraction do what; `quant` is then WEIGHTED."""
    integers: Literal["operands", "weight"] | None = None
    """Of a contraction, what it takes as integers without a DQ: data and weight, whose products it
    sums ("operands"), or its weight alone."""
    table: int | None = None
    """The operand that parts are looked up in: where it is constant, an embedding."""
    growth: Literal["exponential", "sum"] | None = None
    """What floats of 16 bits must beware of. "exponential": an error of an operand grows in the
    result with the operand's size; "sum": sums on the way to the result may be as large as the
    number of elements times the largest of them."""

    # Kernel facts: the work of a kernel.
    macs: tuple[tuple[int, ...], ...] = ()
    """Operands and results whose labels multiply to its multiply-accumulates: `mac_labels`."""
    taps: TapsRule | None = None
    """Of a window that slides over the last axes of data and result: (call, sizes of those axes of
    the data, of the result) -> per axis, i64[result, kernel]: the place of the data that a result
    reads at each tap, -1 in the padding."""
    windowed: bool = False
    """A window without weights slides over the last axes: pooling."""

    @property
    def parameter(self) -> int | None:
        """The operand with the trained weights, where it is constant."""
        return self.weighted.weight if self.weighted is not None else self.table

    def bind(self, call: Call) -> BoundSignature:
        """Bind the signature to a call. Raises Unmatched with the reason if it does not fit."""
        if self.axes is None:
            raise Unmatched(f"operator {self.kind} has no axis signature")
        shapes = [t.shape if isinstance(t, TensorType) else None for t in call.types]
        try:
            rule = self.axes if isinstance(self.axes, str) else self.axes(call)
            text, sizes = (rule, {}) if isinstance(rule, str) else rule
            return bind(parse(text), shapes, call.results, sizes)
        except (ValueError, IndexError) as error:  # ranks and numbers that do not fit
            raise Unmatched(str(error)) from error

    def elements(self, call: Call) -> tuple[np.ndarray | None, ...]:
        """Return the elements of every result as far as they are known."""
        unknown = (None,) * call.results
        if self.value is None:
            return unknown
        try:
            elements = self.value(call)
        except (Unmatched, ValueError, IndexError):  # numbers that do not fit
            return unknown
        return (*elements, *unknown)[: call.results]

    def mac_labels(self, bound: BoundSignature) -> tuple[tuple[str, ...], ...]:
        """Return the labels whose sizes multiply to multiply-accumulates, one tuple per term.

        A term has the labels of the operands (their numbers) and results (RESULT + number) of a
        group in `macs`, each once, or as often as one of them has it: a recurrent weight `(q h) h`
        costs h squared. A group with an absent operand costs nothing. A group that extends another
        one by an operand multiplies the other's result by it: labels that were summed there do not
        count again.
        """
        terms = []
        for group in self.macs:
            operands = [
                _axes_of(bound.outputs, i - RESULT) if i >= RESULT else _axes_of(bound.inputs, i)
                for i in group
            ]
            if None in operands:
                continue
            counts: Counter[str] = Counter()
            for axes in operands:
                counts |= Counter(_label_names(axes))
            if group[:-1] in self.macs:
                after = (a for i, a in enumerate(bound.inputs) if i not in group[:-1])
                needed = {name for axes in (*after, *bound.outputs) for name in _label_names(axes)}
                counts = Counter({name: n for name, n in counts.items() if name in needed})
            terms.append(tuple(counts.elements()))
        return tuple(terms)

    def result_dtypes(self, call: Call) -> tuple[DType | None, ...]:
        """Return the element type of every result, None if it is not known."""
        rule = self.dtypes
        if isinstance(rule, DType):
            return (rule,) * call.results
        if isinstance(rule, int):
            return (call.dtype(rule),) * call.results
        if isinstance(rule, str):
            code = call.attrs.get(rule)
            return (DType.of_code(code) if isinstance(code, int) else None,) * call.results
        dtypes = rule(call)[: call.results]
        return (*dtypes, *(None,) * (call.results - len(dtypes)))


def _label_names(axes: tuple[Axis, ...] | None) -> Iterator[str]:
    return (label.name for axis in axes or () for term in axis for label in term)


def _axes_of(operands: tuple[tuple[Axis, ...] | None, ...], i: int) -> tuple[Axis, ...] | None:
    return operands[i] if i < len(operands) else None


@dataclass(frozen=True)
class OpTable:
    """Rows by kind. Tables are values: `OPS | mine` is another table."""

    rows: Mapping[str, Op]

    def get(self, kind: str) -> Op | None:
        """Return the row of an operator, or None: it is opaque."""
        return self.rows.get(kind)

    def weighted(self, node: Node) -> Weighted | None:
        """Return the operands of a contraction, or None of another operator."""
        row = self.rows.get(node.kind)
        return None if row is None else row.weighted

    def weight_of(self, node: Node) -> str:
        """Return the value that is a contraction's weight, the empty name where there is none."""
        weighted = self.weighted(node)
        if weighted is None or weighted.weight >= len(node.inputs):
            return ""
        return node.inputs[weighted.weight]

    def parameter(self, node: Node) -> int | None:
        """Return the operand that holds what a network has learned, where the node has it."""
        row = self.rows.get(node.kind)
        operand = None if row is None else row.parameter
        return None if operand is None or operand >= len(node.inputs) else operand

    def clamp(self, node: Node) -> ClampRule | None:
        """Return the rule for the bounds of a clamp, or None of another operator."""
        row = self.rows.get(node.kind)
        return None if row is None else row.clamp

    def quant(self, node: Node) -> Quant:
        """Return what integer arithmetic can mean for a node; an opaque one stays in floats."""
        row = self.rows.get(node.kind)
        return Quant.FLOAT_ONLY if row is None else row.quant

    def __or__(self, other: OpTable) -> OpTable:
        """Return the rows of both tables; a kind that is in both is an error."""
        twice = sorted(set(self.rows) & set(other.rows))
        if twice:
            raise ValueError(f"duplicate operators: {', '.join(twice)}")
        return OpTable({**self.rows, **other.rows})

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(self.rows))


def make_table(*rows: Op | Iterable[Op]) -> OpTable:
    """Make a table from rows, or from iterables of rows."""
    by_kind: dict[str, Op] = {}
    for row in (r for part in rows for r in ((part,) if isinstance(part, Op) else part)):
        if row.kind in by_kind:
            raise ValueError(f"duplicate operator: {row.kind}")
        by_kind[row.kind] = row
    return OpTable(by_kind)
