"""What a row of the operator table says, and the view of a node that its functions get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np

from slimc.ir.graph import Attr
from slimc.ir.types import Dim, DType, Shape, TensorType, ValueType
from slimc.ops.axes import Bound, Unmatched, bind, parse


class Quant(Enum):
    """What integer arithmetic can mean for an operator; the target says what it wants."""

    WEIGHTED = "weighted"  # a contraction with (usually constant) weights
    POINTWISE = "pointwise"  # every operand and the result have scales of their own
    PASS_THROUGH = "pass-through"  # moves or selects elements: the result has the operand's scale
    SHARED_SCALE = "shared-scale"  # all operands and the result have one scale (Concat)
    FLOAT_ONLY = "float-only"


@dataclass(frozen=True)
class Call:
    """A node as the functions of a row see it.

    `values[i]`: the elements of operand i as far as they are known: an array, or an object array of numbers, size
    names (str) and None. `results`: how many results the node has (absent ones included).
    """

    op: str
    attrs: Mapping[str, Attr]
    types: tuple[ValueType | None, ...]
    values: tuple[np.ndarray | None, ...]
    results: int = 1

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute, bytes as text, or the default."""
        value = self.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

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
        return self.values[i] if i < len(self.values) else None

    def ints(self, i: int) -> list[int] | None:
        """Return operand i as a list of integers, or None where it is absent or not wholly known."""
        value = self.value(i)
        if value is None:
            return None
        flat = value.ravel().tolist()
        return [int(v) for v in flat] if all(isinstance(v, (int, float)) for v in flat) else None

    def list_of(self, name: str, operand: int) -> list[int] | None:
        """Return integers given by attribute `name` or, failing that, by an operand; Unmatched if they are computed."""
        if name in self.attrs:
            value: Any = self.attrs[name]
            return [int(v) for v in value] if isinstance(value, tuple) else [int(value)]
        if not self.present(operand):
            return None
        ints = self.ints(operand)
        if ints is None:
            raise Unmatched(f"{name} is computed at run time")
        return ints


@dataclass(frozen=True)
class Refit:
    """What repeats a size and must follow when indices leave.

    `attrs`: new attributes (None: take it away); `elements[i]`: {position: new number} of integer operand i, and
    `whole[i]`: a new operand i, all of it.
    """

    attrs: Mapping[str, Attr | None] = field(default_factory=dict)
    elements: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    whole: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Weighted:
    """The operands of a contraction: data and weight, bias if any, and the label of the output channels."""

    data: int
    weight: int
    bias: int | None
    channel: str


AxesRule = str | Callable[[Call], str]
SizesRule = Callable[[Call], Mapping[str, Dim]]
DTypesRule = DType | int | str | Callable[[Call], tuple[DType | None, ...]]
ValueRule = Callable[[Call], tuple[np.ndarray | None, ...]]
RefitRule = Callable[[Call, Bound, Mapping[str, int]], Refit]


@dataclass(frozen=True)
class Op:
    """One operator. An absent fact means that the default below holds.

    kind: name, with the domain before it outside the default one.
    axes: axis signature, or a function of the call; None: opaque (its axes lose no index).
    sizes: sizes of labels that the operands do not fix.
    dtypes: element type of the results: that of operand i (an int), a fixed one, that named by an attribute (a
        str), or a function; default: that of operand 0.
    quant: what integer arithmetic can mean; weighted: which operands do what (quant is then WEIGHTED).
    macs: multiply-accumulates are the product of the distinct labels of the operands (numbers) and results
        (RESULT + number) in each group, summed over groups.
    refit: (call before, its bound signature, label sizes after) -> what must follow.
    value: elements of the results as far as they follow from those of the operands (shape arithmetic).
    torch: the torch function, torch first, then operands.
    """

    kind: str
    axes: AxesRule | None = None
    sizes: SizesRule | None = None
    dtypes: DTypesRule = 0
    quant: Quant = Quant.FLOAT_ONLY
    weighted: Weighted | None = None
    macs: tuple[tuple[int, ...], ...] = ()
    refit: RefitRule | None = None
    value: ValueRule | None = None
    torch: Callable[..., Any] | None = None

    def bind(self, call: Call) -> Bound:
        """Lay the signature on a call. Raises Unmatched with the reason if it does not fit."""
        if self.axes is None:
            raise Unmatched(f"operator {self.kind} has no axis signature")
        text = self.axes if isinstance(self.axes, str) else self.axes(call)
        shapes = [t.shape if isinstance(t, TensorType) else None for t in call.types]
        return bind(parse(text), shapes, call.results, self.sizes(call) if self.sizes else {})

    def result_dtypes(self, call: Call) -> tuple[DType | None, ...]:
        """Return the element type of every result, None where it is not known."""
        rule = self.dtypes
        if callable(rule) and not isinstance(rule, DType):
            found = rule(call)
            return tuple(found) + (None,) * (call.results - len(found))
        if isinstance(rule, str):
            code = call.attrs.get(rule)
            return (DType.of_code(code) if isinstance(code, int) else None,) * call.results
        return (rule if isinstance(rule, DType) else call.dtype(rule),) * call.results


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


def table(*rows: Op | tuple[Op, ...]) -> OpTable:
    """Make a table from rows (or tuples of rows, as family functions give them)."""
    flat = [r for row in rows for r in (row if isinstance(row, tuple) else (row,))]
    made = OpTable({})
    for row in flat:
        made = made | OpTable({row.kind: row})
    return made


RESULT = 100  # in `macs`: result i is written RESULT + i
