"""What a row of the operator table says, and the view of a node that its functions get."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Literal

import numpy as np

from slimc.ir.graph import Attr
from slimc.ir.types import Dim, DType, Shape, TensorType, ValueType
from slimc.ops.axes import Axis, Bound, Unmatched, bind, parse


class Quant(Enum):
    """What integer arithmetic can mean for an operator; the target says what it wants."""

    WEIGHTED = "weighted"  # a contraction with (usually constant) weights
    POINTWISE = "pointwise"  # every operand and the result have scales of their own
    PASS_THROUGH = "pass-through"  # moves or selects elements: the result has the operand's scale
    SHARED_SCALE = "shared-scale"  # all operands and the result have one scale (Concat)
    FLOAT_ONLY = "float-only"


@dataclass(frozen=True)
class Unknown:
    """The type of an operand that is there but of which nothing is known."""


@dataclass(frozen=True)
class Call:
    """A node as the functions of a row see it.

    `values[i]`: the elements of operand i as far as they are known: an array, or an object array
    of numbers, size names (str) and None. `results`: how many results the node has (absent ones
    included).
    """

    op: str
    attrs: Mapping[str, Attr]
    types: tuple[ValueType | Unknown | None, ...]
    values: tuple[np.ndarray | None, ...]
    results: int = 1

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, bytes as text, or the default."""
        value = self.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def needed(self, name: str) -> Any:
        """Return an attribute that the operator cannot do without."""
        if name not in self.attrs:
            raise Unmatched(f"it has no attribute {name}")
        return self.attr(name)

    def axis(self, default: int, name: str = "axis", operand: int = 0) -> int:
        """Return an attribute that counts the axes of an operand, counted from the front."""
        axis, rank = int(self.attr(name, default)), self.rank(operand)
        if not -rank <= axis < rank:
            raise Unmatched(f"{name} {axis} of an operand of rank {rank}")
        return axis % rank

    def present(self, i: int) -> bool:
        """Tell whether operand i is there."""
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
        """Return what is known of the elements of operand i."""
        known = self.values[i] if i < len(self.values) else None
        return None if known is None or self.dtype(i) is DType.STRING else known

    def ints(self, i: int) -> list[int] | None:
        """Return operand i as integers, or None where it is absent or not wholly known."""
        value = self.value(i)
        if value is None:
            return None
        flat = value.ravel().tolist()
        return [int(v) for v in flat] if all(isinstance(v, (int, float)) for v in flat) else None

    def list_of(self, name: str, operand: int | None = None) -> list[int] | None:
        """Return the integers of an attribute or else of an operand; Unmatched if computed."""
        if name in self.attrs:
            value: Any = self.attrs[name]
            return [int(v) for v in value] if isinstance(value, tuple) else [int(value)]
        if operand is None or not self.present(operand):
            return None
        ints = self.ints(operand)
        if ints is None:
            raise Unmatched(f"{name} is computed at run time")
        return ints


@dataclass(frozen=True)
class Refit:
    """What repeats a size and must follow when indices leave.

    `attrs`: new attributes (None: take it away); `elements[i]`: {position: new number} of integer
    operand i, and `whole[i]`: a new operand i, all of it.
    """

    attrs: Mapping[str, Attr | None] = field(default_factory=dict)
    elements: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    whole: Mapping[int, np.ndarray] = field(default_factory=dict)


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
        """Tell whether the attributes of a node scale its product or its bias."""
        return any(attrs.get(name, 1.0) != 1.0 for name in self.factors)

    def arranged(self, operands: Sequence[str]) -> tuple[str, ...]:
        """Return the operands as data, weight, bias, then all others; absent ones are empty."""
        places = [self.data, self.weight, *([] if self.bias is None else [self.bias])]
        own = [operands[i] if i < len(operands) else "" for i in places]
        bias = [""] if self.bias is None else []
        return (*own, *bias, *(v for i, v in enumerate(operands) if i not in places))


Types = tuple[ValueType | None, ...]
Laid = tuple[str, Mapping[str, Dim]]  # a signature, and sizes of labels
AxesRule = str | Callable[[Call], str | Laid]
DTypesRule = DType | int | str | Callable[[Call], tuple[DType | None, ...]]
TypesRule = Callable[[Call, tuple[Types, ...]], Types]
ValueRule = Callable[[Call], tuple[np.ndarray | None, ...]]
RefitRule = Callable[[Call, Bound, Mapping[str, int]], Refit]
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
        """The operand that holds what a network has learned, where it is constant."""
        return self.weighted.weight if self.weighted is not None else self.table

    def bind(self, call: Call) -> Bound:
        """Lay the signature on a call. Raises Unmatched with the reason if it does not fit."""
        if self.axes is None:
            raise Unmatched(f"operator {self.kind} has no axis signature")
        shapes = [t.shape if isinstance(t, TensorType) else None for t in call.types]
        try:
            rule = self.axes if isinstance(self.axes, str) else self.axes(call)
            text, sizes = (rule, {}) if isinstance(rule, str) else rule
            return bind(parse(text), shapes, call.results, sizes)
        except (ValueError, IndexError) as error:  # ranks and numbers that do not fit together
            raise Unmatched(str(error)) from error

    def elements(self, call: Call) -> tuple[np.ndarray | None, ...]:
        """Return what is known of the elements of every result."""
        nothing = (None,) * call.results
        if self.value is None:
            return nothing
        try:
            found = self.value(call)
        except (Unmatched, ValueError, IndexError):  # numbers that do not fit together
            return nothing
        return (*found, *nothing)[: call.results]

    def mac_labels(self, bound: Bound) -> tuple[tuple[str, ...], ...]:
        """Return the labels whose sizes multiply to multiply-accumulates, one tuple per term.

        A term has the labels of the operands (their numbers) and results (RESULT + number) of a
        group in `macs`, each once, or as often as it stands in one of them: a recurrent weight
        `(q h) h` costs h squared. A group with an absent operand costs nothing. A group that is
        another one and one more operand multiplies the result of that with the operand: what was
        summed there does not count again.
        """
        terms = []
        for group in self.macs:
            operands = [
                _at(bound.outputs, i - RESULT) if i >= RESULT else _at(bound.inputs, i)
                for i in group
            ]
            if None in operands:
                continue
            counts: Counter[str] = Counter()
            for axes in operands:
                counts |= Counter(_names(axes))
            if group[:-1] in self.macs:
                after = (a for i, a in enumerate(bound.inputs) if i not in group[:-1])
                needed = {name for axes in (*after, *bound.outputs) for name in _names(axes)}
                counts = Counter({name: n for name, n in counts.items() if name in needed})
            terms.append(tuple(counts.elements()))
        return tuple(terms)

    def result_dtypes(self, call: Call) -> tuple[DType | None, ...]:
        """Return the element type of every result, None where it is not known."""
        rule = self.dtypes
        if isinstance(rule, DType):
            return (rule,) * call.results
        if isinstance(rule, int):
            return (call.dtype(rule),) * call.results
        if isinstance(rule, str):
            code = call.attrs.get(rule)
            return (DType.of_code(code) if isinstance(code, int) else None,) * call.results
        found = rule(call)[: call.results]
        return (*found, *(None,) * (call.results - len(found)))


def _names(axes: tuple[Axis, ...] | None) -> Iterator[str]:
    return (label.name for axis in axes or () for term in axis for label in term)


def _at(operands: tuple[tuple[Axis, ...] | None, ...], i: int) -> tuple[Axis, ...] | None:
    return operands[i] if i < len(operands) else None


@dataclass(frozen=True)
class OpTable:
    """Rows by kind. Tables are values: `OPS | mine` is another table."""

    rows: Mapping[str, Op]

    def get(self, kind: str) -> Op | None:
        """Return the row of an operator, or None: it is opaque."""
        return self.rows.get(kind)

    def __or__(self, other: OpTable) -> OpTable:
        """Return both tables' rows; a kind that stands in both is an error."""
        twice = sorted(set(self.rows) & set(other.rows))
        if twice:
            raise ValueError(f"operators given twice: {', '.join(twice)}")
        return OpTable({**self.rows, **other.rows})

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(self.rows))


def table(*rows: Op | Iterable[Op]) -> OpTable:
    """Make a table from rows (or several, as family functions give them)."""
    made: dict[str, Op] = {}
    for row in (r for part in rows for r in ((part,) if isinstance(part, Op) else part)):
        if row.kind in made:
            raise ValueError(f"operator given twice: {row.kind}")
        made[row.kind] = row
    return OpTable(made)
