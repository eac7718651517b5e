"""Compare two texts: numbers that are no integers up to their last digits, all else exactly."""

from __future__ import annotations

import difflib
import math
import re

# Texts show six digits; the last may differ between machines, whose kernels add in another order.
RELATIVE = 1e-4
ABSOLUTE = 1e-7

_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


def same_text(wanted: str, got: str) -> bool:
    """Tell whether both texts say the same."""
    a, b = _NUMBER.split(wanted), _NUMBER.split(got)
    return len(a) == len(b) and all(
        x == y or (i % 2 == 1 and _same_number(x, y))
        for i, (x, y) in enumerate(zip(a, b, strict=True))
    )


def _same_number(a: str, b: str) -> bool:
    if a.lstrip("+-").isdigit() and b.lstrip("+-").isdigit():
        return int(a) == int(b) and a.startswith("+") == b.startswith("+")
    return math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def diff(wanted: str, got: str) -> str:
    """Return the lines that differ, with their neighbours."""
    old, new = wanted.splitlines(), got.splitlines()
    new = [_quiet(line, old) for line in new]
    lines = difflib.unified_diff(old, new, "expected", "found", lineterm="", n=2)
    return "\n".join(lines)


def _quiet(line: str, known: list[str]) -> str:
    return next((k for k in known if same_text(k, line)), line)
