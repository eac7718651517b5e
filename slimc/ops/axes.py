"""Axis signatures: what every axis of an operator's operands and results means.

    "n! (g i) *s!, (g o) i *k!, (g o)? -> n! (g o) *t!"

Grammar: operands are separated by `,`, results follow `->`. One word per axis:

    a        the same label is the same index wherever it appears
    (a b)    row-major product of labels (groups, heads, flatten); () or 1 is an axis of size one
    a+b      concatenation of terms
    *s       any number of axes s0, s1 ...; *1: any number of axes of size one
    a!       may not lose an index
    a~       statistics run over it: removing an index is approximate
    x?       (whole operand) may be absent

The axes of an empty operand are not described: they may lose no index. `[]` is a scalar. A label
that appears once ties nothing: `*x -> r!` reads only the sizes of its operand (Shape). A label of
an operand that no result has is summed over: setting its elements to zero removes an index exactly,
unless `~` says that the statistics change.
"""

from __future__ import annotations

import re
from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from slimc.ir import dims
from slimc.ir.types import Dim, Shape


class Unmatched(Exception):  # noqa: N818 - a finding about a node, not a failure
    """A signature does not fit its node; the node is then treated as opaque, with this reason."""


@dataclass(frozen=True)
class Label:
    """A named index range of one node."""

    name: str
    """Name of the label."""
    pinned: bool = False
    """Whether it may lose no index (`!`)."""
    soft: bool = False
    """Whether statistics run over it, so that removing an index is approximate (`~`)."""


Term = tuple[Label, ...]  # row-major product; () is an axis of size one
Axis = tuple[Term, ...]  # concatenation of terms


@dataclass(frozen=True)
class Rest:
    """An ellipsis: all axes that the others leave."""

    label: Label


@dataclass(frozen=True)
class Operand:
    """The axes of one operand or result; None: they are not described."""

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
    operand_text, arrow, result_text = text.partition("->")
    if not arrow:
        raise ValueError(f"no '->' in axis signature {text!r}")
    operands = tuple(_operand(t) for t in operand_text.split(",")) if operand_text.strip() else ()
    results = tuple(_operand(t) for t in result_text.split(","))
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
        raise ValueError(f"cannot parse operand {text!r}")
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
        raise ValueError(f"cannot parse label {text!r}")
    return Label(match[1], "!" in match[2], "~" in match[2])


@dataclass(frozen=True)
class BoundSignature:
    """A signature bound to a node: the terms of every axis, and the size of every label."""

    inputs: tuple[tuple[Axis, ...] | None, ...]
    """Per operand one Axis per axis; None if the operand is absent or not described."""
    outputs: tuple[tuple[Axis, ...] | None, ...]
    """Per result one Axis per axis; None if the result is not described."""
    sizes: Mapping[str, Dim] = field(default_factory=dict)
    """Size of every label, as far as it is known."""

    def size(self, axis: Axis) -> Dim:
        """Return the size of an axis, None if that of a label is unknown."""
        return _size(axis, self.sizes)

    def output_shapes(self) -> tuple[Shape | None, ...]:
        """Return the shape of every result, None where the signature does not describe it."""
        return tuple(
            None if axes is None else tuple(self.size(a) for a in axes) for axes in self.outputs
        )

    def labels(self) -> dict[str, Label]:
        """Return every label by name; pinned or soft anywhere is pinned or soft everywhere."""
        labels: dict[str, Label] = {}
        for axes in (*self.inputs, *self.outputs):
            for label in (label for axis in axes or () for term in axis for label in term):
                old = labels.get(label.name, label)
                labels[label.name] = Label(
                    label.name, old.pinned or label.pinned, old.soft or label.soft
                )
        return labels


def labels_of(*operands: tuple[Axis, ...] | None) -> KeysView[str]:
    """Return the names of the labels that stand in operands, as a set in their order."""
    names = (
        label.name for axes in operands for axis in axes or () for term in axis for label in term
    )
    return dict.fromkeys(names).keys()


def bind(
    signature: Signature,
    inputs: Sequence[Shape | None],
    results: int,
    label_sizes: Mapping[str, Dim],
) -> BoundSignature:
    """Bind a signature to operand shapes (None: absent or of unknown rank); solve for label sizes.

    label_sizes: sizes that do not follow from operands. Raises Unmatched where ranks or sizes
    contradict the signature.
    """
    described = len(signature.operands)
    if any(shape is not None for shape in inputs[described:]):
        raise Unmatched(f"{len(inputs)} operands, but its signature has {described}")
    widths: dict[str, int] = {}
    operands = _pad_operands(signature.operands, len(inputs))
    bound_in = tuple(
        None if shape is None or op.axes is None else _expand(op.axes, len(shape), widths)
        for shape, op in zip(inputs, operands, strict=True)
    )
    _count_ellipses(signature, label_sizes, widths)
    bound_out = tuple(
        None if op.axes is None else _expand(op.axes, None, widths)
        for op in _pad_operands(signature.results, results)
    )
    return BoundSignature(bound_in, bound_out, _solve_sizes(bound_in, inputs, label_sizes))


def _pad_operands(operands: tuple[Operand, ...], count: int) -> tuple[Operand, ...]:
    return (*operands[:count], *(Operand(None),) * (count - len(operands)))


def _count_ellipses(
    signature: Signature, label_sizes: Mapping[str, Dim], widths: dict[str, int]
) -> None:
    """Count the sizes `t0`, `t1`, ... of an ellipsis `*t` that only results have."""
    for part in (part for op in signature.results for part in op.axes or ()):
        if isinstance(part, Rest) and part.label.name not in widths:
            name, count = part.label.name, 0
            while f"{name}{count}" in label_sizes:
                count += 1
            if count:
                widths[name] = count


def _expand(
    parts: tuple[Axis | Rest, ...], rank: int | None, widths: dict[str, int]
) -> tuple[Axis, ...] | None:
    """Replace ellipses by numbered labels, as many as the rank or `widths` determines."""
    fixed = sum(not isinstance(p, Rest) for p in parts)
    axes: list[Axis] = []
    for part in parts:
        if not isinstance(part, Rest):
            axes.append(part)
            continue
        label = part.label
        count = _ellipsis_width(label.name, widths) if rank is None else rank - fixed
        if count is None:
            return None
        if count < 0:
            raise Unmatched(f"rank {rank} is too small")
        if label.name == "1":
            axes += [((),)] * count
        elif widths.setdefault(label.name, count) == count:
            axes += [((replace(label, name=f"{label.name}{i}"),),) for i in range(count)]
    if rank is not None and len(axes) != rank:
        raise Unmatched(f"rank {rank}, but its signature has {len(axes)} axes")
    return tuple(axes)


def _ellipsis_width(name: str, widths: Mapping[str, int]) -> int | None:
    """Return how many axes an ellipsis of a result has; `*1` has as many as the only other one."""
    if name == "1" and len(widths) == 1:
        return next(iter(widths.values()))
    return widths.get(name)


def _solve_sizes(
    bound: Sequence[tuple[Axis, ...] | None],
    shapes: Sequence[Shape | None],
    label_sizes: Mapping[str, Dim],
) -> dict[str, Dim]:
    """Return the label sizes that follow from the sizes of the axes."""
    sizes: dict[str, Dim] = dict(label_sizes)
    equations = [
        (axis, size)
        for axes, shape in zip(bound, shapes, strict=True)
        if axes is not None and shape is not None
        for axis, size in zip(axes, shape, strict=True)
        if size is not None
    ]
    known = -1
    while known != len(sizes):
        known = len(sizes)
        for axis, size in equations:
            _deduce(axis, size, sizes)
    for axis, size in equations:
        expected = _size(axis, sizes)
        if isinstance(size, int) and isinstance(expected, int) and size != expected:
            raise Unmatched(f"an axis of size {size}, but its signature gives {expected}")
    return sizes


def _size(axis: Axis, sizes: Mapping[str, Dim]) -> Dim:
    return dims.add(*(dims.multiply(*(sizes.get(label.name) for label in t)) for t in axis))


def _deduce(axis: Axis, size: int | str, sizes: dict[str, Dim]) -> None:
    """Solve for the one unknown label of an axis; a number replaces a named size."""
    if len(axis) == 1 and len(axis[0]) == 1:
        name = axis[0][0].name
        if sizes.get(name) is None or (isinstance(size, int) and isinstance(sizes[name], str)):
            sizes[name] = size
        return
    unknown = [label.name for term in axis for label in term if sizes.get(label.name) is None]
    if len(unknown) != 1:
        return
    name = unknown[0]
    remainder: Dim = size
    factor: Dim = 1
    for term in axis:
        known = dims.multiply(*(sizes[label.name] for label in term if label.name != name))
        if any(label.name == name for label in term):
            factor = known
        else:
            remainder = dims.subtract(remainder, known)
    quotient = dims.divide(remainder, factor)
    if quotient is not None:
        sizes[name] = quotient
    elif isinstance(remainder, int) and isinstance(factor, int):
        raise Unmatched(f"an axis of size {size} is not a multiple of {factor}")
