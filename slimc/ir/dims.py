"""Arithmetic on sizes that may be numbers, names or unknown.

A computed size is text in one normal form, so that sizes that are equal on paper are equal as text:
a sum of terms, each a number times names and floor divisions, `2*h*w+h//2-1`. A name that does not
read as such an expression stands for itself, in braces within an expression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from math import prod

from slimc.ir.types import Dim

Monomial = tuple[str, ...]  # sorted atoms: names, or floor divisions `a//2`
Terms = tuple[tuple[Monomial, int], ...]  # sorted, coefficients not 0

_NAME = re.compile(r"[^\s(){}+*/-]+")
_TOKEN = re.compile(rf"\d+(?![^\s()+*/-])|//|[-+*()]|{{[^{{}}]+}}|{_NAME.pattern}")


def multiply(*dims: Dim) -> Dim:
    """Return the product: a number, an expression such as `4*h`, or None if a factor is unknown."""
    if all(isinstance(d, int) for d in dims):
        return prod(d for d in dims if isinstance(d, int))
    if 0 in dims:
        return 0
    if None in dims:
        return None
    result = _number(1)
    for d in dims:
        result = _product(result, _terms(d))
    return _dim(result)


def add(*dims: Dim) -> Dim:
    """Return the sum: a number, an expression such as `h+1`, or None if a term is unknown."""
    if all(isinstance(d, int) for d in dims):
        return sum(d for d in dims if isinstance(d, int))
    if None in dims:
        return None
    return _dim(_sum(*(_terms(d) for d in dims)))


def subtract(a: Dim, b: Dim) -> Dim:
    """Return a - b."""
    return add(a, multiply(-1, b))


def floor_divide(a: Dim, b: int) -> Dim:
    """Return a // b for a positive b."""
    if a is None or isinstance(a, int):
        return None if a is None else a // b
    return _dim(_floored(_terms(a), b))


def ceil_divide(a: Dim, b: int) -> Dim:
    """Return a / b, rounded up, for a positive b."""
    return floor_divide(add(a, b - 1), b)


def divide(a: Dim, b: Dim) -> Dim:
    """Return a / b where it is exact for every value of the names, else None."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    if a is None or b is None or a == 0 or b == 0:
        return None
    divisor = _terms(b)
    if len(divisor) != 1:
        return 1 if divisor == _terms(a) else None
    (atoms, number), terms = divisor[0], []
    for monomial, coefficient in _terms(a):
        rest = Counter(monomial)
        rest.subtract(atoms)
        if coefficient % number or min(rest.values(), default=0) < 0:
            return None
        terms.append((tuple(sorted(rest.elements())), coefficient // number))
    return _dim(_collect(terms))


def same(a: Dim, b: Dim) -> bool:
    """Tell whether two sizes are equal whatever the names stand for."""
    return a is not None and b is not None and (a == b or _terms(a) == _terms(b))


def names(dim: Dim) -> tuple[str, ...]:
    """Return the names that a size is computed from, sorted."""
    if not isinstance(dim, str):
        return ()
    atoms = {atom for monomial, _ in _terms(dim) for atom in monomial}
    found = {n for a in atoms for n in (names(a.rpartition("//")[0]) if "//" in a else (a,))}
    return tuple(sorted(found))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """Return a size with numbers for the names that `sizes` has."""
    if not isinstance(dim, str) or not sizes:
        return dim
    if dim in sizes:
        return sizes[dim]
    total: Dim = 0
    for monomial, coefficient in _terms(dim):
        factors = [_evaluated_atom(atom, sizes) for atom in monomial]
        total = add(total, multiply(coefficient, *factors))
    return total


def _evaluated_atom(atom: str, sizes: Mapping[str, int]) -> Dim:
    dividend, slashes, divisor = atom.rpartition("//")
    if slashes and divisor.isdigit():
        return floor_divide(evaluate(dividend, sizes), int(divisor))
    return sizes.get(atom, atom)


def _number(n: int) -> Terms:
    return (((), n),) if n else ()


def _collect(terms: list[tuple[Monomial, int]]) -> Terms:
    totals: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        totals[monomial] = totals.get(monomial, 0) + coefficient
    return tuple(sorted((m, c) for m, c in totals.items() if c))


def _sum(*several: Terms) -> Terms:
    return _collect([term for terms in several for term in terms])


def _product(a: Terms, b: Terms) -> Terms:
    return _collect([(tuple(sorted(m + n)), c * d) for m, c in a for n, d in b])


def _floored(terms: Terms, b: int) -> Terms:
    """Divide by `b`: what is divisible comes out, and so do whole multiples of `b`."""
    outside = [(m, c // b) for m, c in terms if not m or c % b == 0]
    inside = [(m, c if m else c % b) for m, c in terms if c % b]
    if not any(m for m, _ in inside):
        return _collect(outside)
    rest = _text(_collect(inside))
    atom = f"{_factor(rest)}//{b}"
    return _collect([*outside, ((atom,), 1)])


def _dim(terms: Terms) -> Dim:
    if not terms or terms[-1][0] == terms[0][0] == ():
        return terms[0][1] if terms else 0
    return _text(terms)


def _text(terms: Terms) -> str:
    parts = []
    for monomial, coefficient in sorted(terms, key=lambda t: (not t[0], t[1] < 0, t[0])):
        factors = [_factor(atom) if len(monomial) > 1 or abs(coefficient) > 1 else atom
                   for atom in monomial]  # fmt: skip
        if abs(coefficient) != 1 or not monomial:
            factors = [str(abs(coefficient)), *factors]
        parts.append(("-" if coefficient < 0 else "+") + "*".join(factors))
    return "".join(parts).removeprefix("+")


def _factor(text: str) -> str:
    """Put a computed size in parentheses and an odd name in braces: they stand as one factor."""
    if _NAME.fullmatch(text):
        return text
    return f"{{{text}}}" if _terms(text) == (((text,), 1),) and "//" not in text else f"({text})"


@cache
def _terms(dim: int | str) -> Terms:
    if isinstance(dim, int):
        return _number(dim)
    tokens = _TOKEN.findall(dim)
    if not tokens or _TOKEN.sub("", dim).strip():
        return (((dim,), 1),)
    reader = _Reader(tokens)
    found = reader.sum()
    return found if found is not None and not reader.tokens else (((dim,), 1),)


class _Reader:
    """Reads a size from tokens; a method returns None where they do not read as one."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def _take(self, *wanted: str) -> str:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else ""

    def sum(self) -> Terms | None:
        sign = -1 if self._take("-") else 1
        total: Terms = ()
        while (term := self.product()) is not None:
            total = _sum(total, _product(_number(sign), term))
            if not (operator := self._take("+", "-")):
                return total
            sign = -1 if operator == "-" else 1
        return None

    def product(self) -> Terms | None:
        left = self.factor()
        while left is not None and (operator := self._take("*", "//")):
            right = self.factor()
            if right is None:
                return None
            if operator == "*":
                left = _product(left, right)
            elif len(right) == 1 and right[0][0] == () and right[0][1] > 0:
                left = _floored(left, right[0][1])
            else:
                return None
        return left

    def factor(self) -> Terms | None:
        if self._take("("):
            inside = self.sum()
            return inside if self._take(")") else None
        if not self.tokens or self.tokens[0] in ("+", "-", "*", "//", ")"):
            return None
        token = self.tokens.pop(0)
        return _number(int(token)) if token.isdigit() else (((token.strip("{}"),), 1),)
