"""Arithmetic on sizes that may be numbers, names or unknown.

A computed size is text in one normal form, so that equal sizes have equal text: a sum of terms,
each a number times names and floor divisions, as in `2*h*w+h//2-1`. A name that does not parse as
such an expression is an atom, in braces within an expression.
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
    return _dim(_floor_terms(_terms(a), b))


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


def are_equal(a: Dim, b: Dim) -> bool:
    """Return whether two sizes are equal for all values of their names."""
    return a is not None and b is not None and (a == b or _terms(a) == _terms(b))


def collect_names(dim: Dim) -> tuple[str, ...]:
    """Return the names that a size is computed from, sorted."""
    if not isinstance(dim, str):
        return ()
    atoms = {atom for monomial, _ in _terms(dim) for atom in monomial}
    parts = {
        n for a in atoms for n in (collect_names(a.rpartition("//")[0]) if "//" in a else (a,))
    }
    return tuple(sorted(parts))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """Substitute the numbers in `sizes` for the names of a size."""
    if not isinstance(dim, str) or not sizes:
        return dim
    if dim in sizes:
        return sizes[dim]
    total: Dim = 0
    for monomial, coefficient in _terms(dim):
        factors = [_evaluate_atom(atom, sizes) for atom in monomial]
        total = add(total, multiply(coefficient, *factors))
    return total


def _evaluate_atom(atom: str, sizes: Mapping[str, int]) -> Dim:
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


def _floor_terms(terms: Terms, b: int) -> Terms:
    """Divide by `b`; terms that divide exactly and whole multiples of `b` leave the floor."""
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
    """Put a computed size in parentheses and an unusual name in braces, to make it one factor."""
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
    parser = _DimParser(tokens)
    terms = parser.sum()
    return terms if terms is not None and not parser.tokens else (((dim,), 1),)


class _DimParser:
    """Recursive-descent parser of sizes; a method returns None where the tokens do not fit."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def _accept(self, *expected: str) -> str:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in expected else ""

    def sum(self) -> Terms | None:
        sign = -1 if self._accept("-") else 1
        total: Terms = ()
        while (term := self.product()) is not None:
            total = _sum(total, _product(_number(sign), term))
            if not (operator := self._accept("+", "-")):
                return total
            sign = -1 if operator == "-" else 1
        return None

    def product(self) -> Terms | None:
        result = self.factor()
        while result is not None and (operator := self._accept("*", "//")):
            right = self.factor()
            if right is None:
                return None
            if operator == "*":
                result = _product(result, right)
            elif len(right) == 1 and right[0][0] == () and right[0][1] > 0:
                result = _floor_terms(result, right[0][1])
            else:
                return None
        return result

    def factor(self) -> Terms | None:
        if self._accept("("):
            inside = self.sum()
            return inside if self._accept(")") else None
        if not self.tokens or self.tokens[0] in ("+", "-", "*", "//", ")"):
            return None
        token = self.tokens.pop(0)
        return _number(int(token)) if token.isdigit() else (((token.strip("{}"),), 1),)
