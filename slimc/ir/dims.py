"""Arithmetic on sizes that may be numbers, names or unknown."""

from __future__ import annotations

from math import prod

from slimc.ir.types import Dim


def multiply(*dims: Dim) -> Dim:
    """Return the product: a number, an expression such as `4*h`, or None if a factor is unknown."""
    if 0 in dims:
        return 0
    if None in dims:
        return None
    number = prod(d for d in dims if isinstance(d, int))
    names = [d for d in dims if isinstance(d, str)]
    if not names:
        return number
    if number == 1 and len(names) == 1:
        return names[0]
    factors = sorted(_factor(name) for name in names)
    return "*".join(([str(number)] if number != 1 else []) + factors)


def add(*dims: Dim) -> Dim:
    """Return the sum: a number, an expression such as `h+1`, or None if a term is unknown."""
    if None in dims:
        return None
    number = sum(d for d in dims if isinstance(d, int))
    names = sorted(str(d) for d in dims if isinstance(d, str))
    if not names:
        return number
    tail = "" if number == 0 else f"{number:+d}"
    return "+".join(names) + tail


def floor_divide(a: Dim, b: int) -> Dim:
    """Return a // b."""
    if isinstance(a, int):
        return a // b
    return a if a is None or b == 1 else f"{_factor(a)}//{b}"


def _factor(text: str) -> str:
    """Put a computed size in parentheses, so that it stands as one factor."""
    return f"({text})" if any(c in text for c in "+-/*") else text
