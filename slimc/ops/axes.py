"""Axis signatures: what every axis of an operator's operands and results means.

    "n! (g i) *s!, (g o) i *k!, (g o)? -> n! (g o) *t!"

Grammar: operands are separated by `,`, results follow `->`. One word per axis:

    a        the same label is the same index wherever it stands
    (a b)    row-major product of labels (groups, heads, flatten); () or 1 is an axis of size one
    a+b      concatenation of terms
    *s       any number of axes s0, s1 ...; *1: any number of axes of size one
    a!       may not lose an index         a~   statistics run over it: removing an index is approximate
    x?       (whole operand) may be absent

An empty operand says nothing of its axes: they may lose no index. `[]` is a scalar. A label that stands once
ties nothing: `*x -> r!` reads only the sizes of its operand (Shape).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod

from slimc.ir import dims
from slimc.ir.types import Dim, Shape


class Unmatched(Exception):
    """A signature does not fit its node; the node is then treated as opaque, with this reason."""


@dataclass(frozen=True)
class Label:
    """A named index range of one node."""

    name: str
    pinned: bool = False
    soft: bool = False


Term = tuple[Label, ...]  # row-major product; () is an axis of size one
Axis = tuple[Term, ...]  # concatenation of terms


@dataclass(frozen=True)
class Rest:
    """An ellipsis: as many axes as the rank leaves room for."""

    label: Label


@dataclass(frozen=True)
class Operand:
    """The axes of one operand or result; None: nothing is said of them."""

    axes: tuple[Axis | Rest, ...] | None
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """A parsed axis signature."""

    operands: tuple[Operand, ...]
    results: tuple[Operand, ...]


_TERM = r"(?:\([^()]*\)|[^\s()+]+)"
_AXIS = re.compile(rf"{_TERM}(?:\+{_TERM})*")
_LABEL = re.compile(r"([A-Za-z_]\w*)([!~]*)$")


@cache
def parse(text: str) -> Signature:
    """Parse a signature; ValueError says what is wrong with the text."""
    left, arrow, right = text.partition("->")
    if not arrow:
        raise ValueError(f"no '->' in axis signature {text!r}")
    operands = tuple(_operand(t) for t in left.split(",")) if left.strip() else ()
    results = tuple(_operand(t) for t in right.split(","))
    return Signature(operands, results)


def _operand(text: str) -> Operand:
    text = text.strip()
    optional = text.endswith("?")
    text = text.removesuffix("?").strip()
    if not text:
        return Operand(None, optional)
    if text == "[]":
        return Operand((), optional)
    words = _AXIS.findall(text)
    if _AXIS.sub("", text).strip():
        raise ValueError(f"cannot read operand {text!r}")
    return Operand(tuple(_axis(w) for w in words), optional)


def _axis(word: str) -> Axis | Rest:
    if word.startswith("*"):
        name = word[1:]
        return Rest(Label("1") if name == "1" else _label(name))
    return tuple(_term(t) for t in re.findall(_TERM, word))


def _term(text: str) -> Term:
    names = text.strip("()").split()
    return tuple(_label(n) for n in names if n != "1")


def _label(text: str) -> Label:
    match = _LABEL.match(text)
    if not match:
        raise ValueError(f"cannot read label {text!r}")
    return Label(match[1], "!" in match[2], "~" in match[2])


@dataclass(frozen=True)
class Bound:
    """A signature laid on a node: the terms of every axis, and the size of every label.

    `inputs[i]`, `outputs[i]`: one Axis per axis, or None where nothing is said or the operand is absent.
    """

    inputs: tuple[tuple[Axis, ...] | None, ...]
    outputs: tuple[tuple[Axis, ...] | None, ...]
    sizes: Mapping[str, Dim] = field(default_factory=dict)

    def size(self, axis: Axis) -> Dim:
        """Return the size of an axis, None where a label's is unknown."""
        return dims.add(
            *(dims.multiply(*(self.sizes.get(label.name) for label in term)) for term in axis)
        )

    def output_shapes(self) -> tuple[Shape | None, ...]:
        """Return the shape of every result, None where the signature says nothing of it."""
        return tuple(
            None if axes is None else tuple(self.size(a) for a in axes) for axes in self.outputs
        )

    def labels(self) -> dict[str, Label]:
        """Return every label by name; pinned or soft anywhere is pinned or soft everywhere."""
        found: dict[str, Label] = {}
        for axes in (*self.inputs, *self.outputs):
            for label in (label for axis in axes or () for term in axis for label in term):
                old = found.get(label.name, label)
                found[label.name] = Label(
                    label.name, old.pinned or label.pinned, old.soft or label.soft
                )
        return found


def bind(
    signature: Signature, inputs: Sequence[Shape | None], results: int, given: Mapping[str, Dim]
) -> Bound:
    """Lay a signature on operand shapes (None: absent or of unknown rank) and solve for the label sizes.

    `given`: sizes that operands do not fix. Raises Unmatched where ranks or sizes contradict the signature.
    """
    if len(inputs) > len(signature.operands):
        extra = [s for s in inputs[len(signature.operands) :] if s is not None]
        if extra:
            raise Unmatched(f"{len(inputs)} operands where {len(signature.operands)} are described")
    widths: dict[str, int] = {}
    for name in given:
        base = name.rstrip("0123456789")
        if base != name:
            widths[base] = max(widths.get(base, 0), int(name[len(base) :]) + 1)
    pairs = list(zip(inputs, signature.operands, strict=False))
    fixed = {part.label.name for _, op in pairs for part in op.axes or () if isinstance(part, Rest)}
    widths = {k: v for k, v in widths.items() if k not in fixed}
    bound_in = tuple(
        None if shape is None or op.axes is None else _expand(op.axes, len(shape), widths)
        for shape, op in pairs
    ) + (None,) * max(0, len(inputs) - len(signature.operands))
    bound_out = tuple(
        None if op.axes is None else _expand(op.axes, None, widths)
        for op in signature.results[:results]
    ) + (None,) * max(0, results - len(signature.results))
    sizes = _solve(bound_in, inputs, given)
    return Bound(bound_in, bound_out, sizes)


def _expand(
    parts: tuple[Axis | Rest, ...], rank: int | None, widths: dict[str, int]
) -> tuple[Axis, ...] | None:
    fixed = sum(not isinstance(p, Rest) for p in parts)
    axes: list[Axis] = []
    for part in parts:
        if not isinstance(part, Rest):
            axes.append(part)
            continue
        label = part.label
        known = widths.get(label.name)
        count = rank - fixed if rank is not None and (label.name == "1" or known is None) else known
        if count is None:
            return None
        if count < 0:
            raise Unmatched(f"rank {rank} is too small")
        if label.name == "1":
            axes += [((),)] * count
        else:
            widths.setdefault(label.name, count)
            axes += [
                ((Label(f"{label.name}{i}", label.pinned, label.soft),),) for i in range(count)
            ]
    if rank is not None and len(axes) != rank:
        raise Unmatched(f"rank {rank} where {len(axes)} axes are described")
    return tuple(axes)


def _solve(
    bound: tuple[tuple[Axis, ...] | None, ...],
    shapes: Sequence[Shape | None],
    given: Mapping[str, Dim],
) -> dict[str, Dim]:
    sizes: dict[str, Dim] = dict(given)
    todo = [
        (a, d)
        for axes, s in zip(bound, shapes, strict=False)
        if axes and s
        for a, d in zip(axes, s, strict=True)
    ]
    for _ in range(len(todo) + 1):
        before = sum(v is not None for v in sizes.values())
        for axis, size in todo:
            _deduce(axis, size, sizes)
        if sum(v is not None for v in sizes.values()) == before:
            break
    for axis, size in todo:
        terms = [[sizes.get(label.name) for label in term] for term in axis]
        numbers = [prod(d for d in t if isinstance(d, int)) for t in terms]
        if (
            isinstance(size, int)
            and all(isinstance(d, int) for t in terms for d in t)
            and sum(numbers) != size
        ):
            raise Unmatched(f"an axis of size {size} where {sum(numbers)} is described")
    return sizes


def _deduce(axis: Axis, size: Dim, sizes: dict[str, Dim]) -> None:
    """Find the one unknown label of an axis from its size; a number takes the place of a name."""
    unknown = [label.name for term in axis for label in term if sizes.get(label.name) is None]
    if len(axis) == 1 and len(axis[0]) == 1:
        name = axis[0][0].name
        if sizes.get(name) is None or (isinstance(size, int) and isinstance(sizes[name], str)):
            sizes[name] = size
        return
    if len(unknown) != 1:
        return
    name = unknown[0]
    total: Dim = size
    for term in axis:
        rest = dims.multiply(*(sizes[label.name] for label in term if label.name != name))
        if name in [label.name for label in term]:
            factor = rest
        else:
            total = total - rest if isinstance(total, int) and isinstance(rest, int) else None
    if isinstance(factor, int) and factor > 0:
        if isinstance(total, int) and total % factor:
            raise Unmatched(f"an axis of size {size} is no multiple of {factor}")
        sizes[name] = dims.floor_divide(total, factor)
