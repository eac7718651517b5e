"""Arithmetic on sizes that may be numbers, names or unknown."""

from __future__ import annotations

from slimc.ir.types import Dim


def multiply(*dims: Dim) -> Dim:
    """Return the product: a number, an expression such as `4*h`, or None if a factor is unknown."""
    if 0 in dims:
        return 0
    if None in dims:
        return None
    number, names = 1, []
    for d in dims:
        if isinstance(d, int):
            number *= d
        else:
            names.append(_atom(str(d)))
    if not names:
        return number
    return (
        "*".join(([str(number)] if number != 1 else []) + sorted(names))
        if number != 1 or len(names) > 1
        else _bare(names[0])
    )


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
    return a if a is None or b == 1 else f"{_atom(a)}//{b}"


def _atom(text: str) -> str:
    return (
        f"({text})"
        if any(c in text for c in "+-/*") and not (text.startswith("(") and text.endswith(")"))
        else text
    )


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
