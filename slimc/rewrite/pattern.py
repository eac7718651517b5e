"""Textual patterns of operators, and the places of a graph they match.

    BatchNormalization(Conv(x, const w, const b?), scale, shift, mean, var)

    Op(...)        an operator, its operands in order; those not mentioned must be absent
    Op{a, b}       a commutative operator: its two operands in either order
    A|B(...)       one of several operators; `p|q` in the place of an operand: one of several terms
    @group(...)    an operator of a group of `ops.groups`: what its row says decides, not its name,
                   so plug-ins' operators match too. @weighted(x, w, b?) has data, weight and bias
                   in this order, wherever the row has them
    label:Op(...)  the node gets a name to ask for (its operator serves where that is unambiguous)
    &Op(...)       the node may have other users: it is looked at, and stays if they need it
    x   x?         a value, given a name; an operand that may be absent. The same name twice is the
                   same value
    const c        a value whose elements are known
    _              any operand, absent or not
    *xs   ...      all further operands, given a name or not
    2   0.5~       a constant of one element that equals the number, or nearly

A pattern is matched from its root, the last node, upward. A node that is not marked `&` has only
users within the match and makes no output of the graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

import numpy as np

from slimc.errors import did_you_mean
from slimc.ir.graph import Node
from slimc.ir.scan import Cursor
from slimc.ir.types import DType
from slimc.ops.groups import GROUPS, member, members
from slimc.ops.op import OpTable

# How near `0.5~` is: exporters write sqrt(2) with five digits or more; short types have fewer.
NEAR = {DType.F64: 1e-7, DType.F32: 1e-5, DType.F16: 2.0**-10, DType.BF16: 2.0**-7}


@dataclass(frozen=True)
class Value:
    """An operand given a name, or any operand (no name)."""

    name: str
    optional: bool = False
    constant: bool = False


@dataclass(frozen=True)
class Number:
    """A constant of one element."""

    value: float
    near: bool


@dataclass(frozen=True)
class Apply:
    """An operator on operands.

    kinds: of the table, and groups. rest: name for further operands, "" for none allowed.
    """

    kinds: tuple[str, ...]
    groups: tuple[str, ...]
    operands: tuple[Term, ...]
    unordered: bool = False
    shared: bool = False
    label: str = ""
    rest: str = ""

    def roots(self, ops: OpTable) -> tuple[str, ...]:
        """Return the kinds of node that it may match."""
        listed = (kind for group in self.groups for kind in members(ops, group))
        return tuple(dict.fromkeys((*self.kinds, *listed)))

    def operands_of(self, node: Node, ops: OpTable) -> tuple[str, ...] | None:
        """Return the operands of a node in the order of the pattern; None: it is none of these."""
        if node.kind in self.kinds:
            return node.inputs
        group = next((name for name in self.groups if member(ops, node.kind, name)), "")
        row = ops.get(node.kind)
        if not group or row is None:
            return None
        if group == "weighted" and row.weighted is not None:
            return row.weighted.arranged(node.inputs)
        return node.inputs


@dataclass(frozen=True)
class OneOf:
    """Alternatives, tried in order."""

    terms: tuple[Term, ...]


Term = Value | Number | Apply | OneOf

_KIND = re.compile(r"(?:[a-z]\w*\.)*[A-Z]\w*", re.ASCII)
_GROUP = re.compile(r"@[a-z]\w*", re.ASCII)
_NAME = re.compile(r"[a-z]\w*", re.ASCII)
_LABEL = re.compile(r"[a-z]\w*(?=\s*:)", re.ASCII)
_CONST = re.compile(r"const\b(?=\s+[a-z])", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", re.ASCII)


@cache
def parse_pattern(text: str) -> tuple[Apply, ...]:
    """Read a pattern; return its alternatives. Raises SlimcError "text-syntax"."""
    cursor = Cursor(text)
    term = _term(cursor)
    cursor.expect_end()
    roots = term.terms if isinstance(term, OneOf) else (term,)
    applied = tuple(replace(root, shared=True) for root in roots if isinstance(root, Apply))
    if len(applied) != len(roots):
        raise cursor.error("the root of a pattern is an operator")
    return applied


def depth(term: Term) -> int:
    """Return how many nodes lie on the longest way through a pattern."""
    if isinstance(term, OneOf):
        return max(map(depth, term.terms))
    if isinstance(term, Apply):
        return 1 + max(map(depth, term.operands), default=0)
    return 0


def _term(cursor: Cursor) -> Term:
    terms = [_single(cursor)]
    while cursor.accept("|"):
        terms.append(_single(cursor))
    return terms[0] if len(terms) == 1 else OneOf(tuple(terms))


def _single(cursor: Cursor) -> Term:
    number = cursor.match(_NUMBER)
    if number is not None:
        return Number(float(number), cursor.accept("~"))
    if cursor.accept("_"):
        return Value("", optional=True)
    if cursor.match(_CONST):
        return Value(cursor.expect_match(_NAME, "a name"), cursor.accept("?"), constant=True)
    shared = cursor.accept("&")
    label = cursor.match(_LABEL) or ""
    if label:
        cursor.expect(":")
    if shared or label or cursor.looking_at(_KIND) or cursor.looking_at(_GROUP):
        return _apply(cursor, shared, label)
    return Value(cursor.expect_match(_NAME, "an operator, a name or a number"), cursor.accept("?"))


def _apply(cursor: Cursor, shared: bool, label: str) -> Apply:
    kinds: list[str] = []
    groups: list[str] = []
    _operator(cursor, kinds, groups)
    while cursor.accept("|"):
        _operator(cursor, kinds, groups)
    unordered = cursor.accept("{")
    if not unordered:
        cursor.expect("(")
    close = "}" if unordered else ")"
    operands: list[Term] = []
    rest = ""
    while not cursor.accept(close):
        if operands or rest:
            cursor.expect(",")
        if cursor.accept("..."):
            rest = "_"
        elif cursor.accept("*"):
            rest = cursor.expect_match(_NAME, "a name")
        else:
            operands.append(_term(cursor))
    if unordered and (len(operands) != 2 or rest):
        raise cursor.error("braces hold two operands")
    return Apply(tuple(kinds), tuple(groups), tuple(operands), unordered, shared, label, rest)


def _operator(cursor: Cursor, kinds: list[str], groups: list[str]) -> None:
    """Read the name of an operator or of a group."""
    group = cursor.match(_GROUP)
    if group is None:
        kinds.append(cursor.expect_match(_KIND, "an operator"))
    elif group[1:] not in GROUPS:
        help = did_you_mean(group[1:], GROUPS)
        raise cursor.error(f"no group of operators is called '{group[1:]}'", help)
    else:
        groups.append(group[1:])


class Surroundings(Protocol):
    """What matching asks of a graph."""

    def producer(self, value: str) -> Node | None:
        """Return the node that makes a value in this graph."""

    def users(self, value: str) -> tuple[Node, ...]:
        """Return the nodes that read a value."""

    def count_users(self, value: str) -> int:
        """Count the nodes that read a value."""

    def is_output(self, value: str) -> bool:
        """Tell whether a value is an output of the graph."""

    def array(self, value: str) -> np.ndarray | None:
        """Return the elements of a constant."""

    @property
    def ops(self) -> OpTable:
        """The operator table."""


@dataclass(frozen=True)
class Found:
    """A match: names and values, labelled nodes (the root first), names of nodes it uses up."""

    values: Mapping[str, str] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    nodes: tuple[tuple[str, Node], ...] = ()
    consumed: tuple[str, ...] = ()

    def bound(self, name: str, value: str) -> Found | None:
        """Return the match with one name more, or None if it stands for another value."""
        if not name or self.values.get(name, value) != value:
            return None if name else self
        return replace(self, values={**self.values, name: value})


def matches(pattern: Apply, root: Node, around: Surroundings) -> Iterator[Found]:
    """Yield the matches of a pattern at a node."""
    for found in _node(pattern, root, Found(), around):
        if _closed(found, root, around):
            yield replace(found, consumed=(root.name, *found.consumed))


def _closed(found: Found, root: Node, around: Surroundings) -> bool:
    """Tell whether what the match uses up is used nowhere else, nor captured by a name."""
    inside = {root.name, *found.consumed}
    kept = {*found.values.values(), *found.rest}
    made = (v for _, node in found.nodes if node.name in found.consumed for v in node.outputs if v)
    return not any(
        value in kept
        or around.is_output(value)
        or around.count_users(value) > len(inside)
        or any(user.name not in inside for user in around.users(value))
        for value in made
    )


def _node(term: Apply, node: Node, found: Found, around: Surroundings) -> Iterator[Found]:
    inputs = term.operands_of(node, around.ops)
    if inputs is None:
        return
    here = replace(found, nodes=(*found.nodes, (term.label, node)))
    if not term.shared and node.name not in found.consumed:
        here = replace(here, consumed=(*here.consumed, node.name))
    if term.rest:
        extra = tuple(i for i in inputs[len(term.operands) :] if i)
        here = here if term.rest == "_" else replace(here, rest=(*here.rest, *extra))
        inputs = inputs[: len(term.operands)]
    yield from _operands(term.operands, inputs, here, around)
    if term.unordered and inputs[0:1] != inputs[1:2]:
        yield from _operands(term.operands, inputs[::-1], here, around)


def _operands(
    terms: tuple[Term, ...], inputs: tuple[str, ...], found: Found, around: Surroundings
) -> Iterator[Found]:
    if not terms:
        if not any(inputs):
            yield found
        return
    value = inputs[0] if inputs else ""
    for here in _operand(terms[0], value, found, around):
        yield from _operands(terms[1:], inputs[1:], here, around)


def _operand(term: Term, value: str, found: Found, around: Surroundings) -> Iterator[Found]:
    if isinstance(term, OneOf):
        for alternative in term.terms:
            yield from _operand(alternative, value, found, around)
    elif isinstance(term, Value):
        here = _named(term, value, found, around)
        if here is not None:
            yield here
    elif isinstance(term, Number):
        if value and _equals(term, around.array(value)):
            yield found
    else:
        node = around.producer(value) if value else None
        if node is not None and node.outputs[0] == value:
            yield from _node(term, node, found, around)


def _named(term: Value, value: str, found: Found, around: Surroundings) -> Found | None:
    if not value:
        return found if term.optional else None
    if term.constant and around.array(value) is None:
        return None
    return found.bound(term.name, value)


def _equals(number: Number, array: np.ndarray | None) -> bool:
    if array is None or array.size != 1 or array.dtype.kind in "OUSbc":
        return False
    element = float(array.astype(np.float64).ravel()[0])
    if not number.near:
        return element == number.value
    near = NEAR.get(DType.of_numpy(array.dtype), 0.0)
    return abs(element - number.value) <= near * abs(number.value)
