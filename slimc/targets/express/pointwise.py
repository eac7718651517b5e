"""Element-wise operators by older ones."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from slimc.targets.express.old_node import OldNode, Way


def _hard_swish(old: OldNode) -> None:
    """HardSwish is x * HardSigmoid(x), with slope 1/6 and offset 1/2."""
    x = old.operand(0)
    old.become("Mul", x, old.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))


def _gelu(old: OldNode) -> None:
    """Gelu is x / 2 * (1 + erf(x / sqrt(2))), or its approximation by tanh.

    Each is written in a form that onnxruntime fuses again (gelu_fusion.cc, fast_gelu_fusion.cc):
    x / 2 (1 + erf(x / sqrt(2))), and x / 2 (1 + tanh(sqrt(2 / pi) x (1 + (0.044715 x) x))).
    """
    x = old.operand(0)
    if old.node.attrs.get("approximate") == b"tanh":
        square = old.add("Mul", old.add("Mul", x, old.constant(0.044715)), x)
        factor = old.add("Add", square, old.constant(1))
        inner = old.add("Mul", old.add("Mul", x, old.constant(math.sqrt(2 / math.pi))), factor)
        whole = old.add("Add", old.add("Tanh", inner), old.constant(1))
    else:
        curve = old.add("Erf", old.add("Div", x, old.constant(math.sqrt(2))))
        whole = old.add("Add", curve, old.constant(1))
    old.become("Mul", old.add("Mul", x, old.constant(0.5)), whole)


def _mish(old: OldNode) -> None:
    """Mish is x * tanh(softplus(x))."""
    x = old.operand(0)
    old.become("Mul", x, old.add("Tanh", old.add("Softplus", x)))


def _swish(old: OldNode) -> None:
    """Swish is x * sigmoid(alpha * x)."""
    x, alpha = old.operand(0), old.number("alpha", 1)
    inner = x if alpha == 1 else old.add("Mul", x, old.constant(alpha))
    old.become("Mul", x, old.add("Sigmoid", inner))


def _shrink(old: OldNode) -> None:
    """Shrink is x + bias below -lambd, x - bias above lambd, and 0 between."""
    x, bound = old.operand(0), old.number("lambd", 0.5)
    bias = old.constant(old.number("bias", 0))
    low = old.add("Less", x, old.constant(-bound))
    high = old.add("Greater", x, old.constant(bound))
    above = old.add("Where", high, old.add("Sub", x, bias), old.constant(0))
    old.become("Where", low, old.add("Add", x, bias), above)


def _reciprocal(old: OldNode) -> None:
    """Reciprocal is 1 / x."""
    old.become("Div", old.constant(1), old.operand(0))


def _xor(old: OldNode) -> None:
    """Xor is (a or b) and not (a and b): older runtimes compare no booleans."""
    a, b = old.operand(0), old.operand(1)
    old.become("And", old.add("Or", a, b), old.add("Not", old.add("And", a, b)))


def _is_inf(old: OldNode) -> None:
    """IsInf is beyond the largest number, on the sides that count."""
    x = old.operand(0)
    infinity, zero = np.array([np.inf, 0], old.dtype.numpy)
    largest = float(np.nextafter(infinity, zero))
    high, low = bool(old.whole("detect_positive", 1)), bool(old.whole("detect_negative", 1))
    if high and low:
        x = old.add("Abs", x)
    if low and not high:
        old.become("Less", x, old.constant(-largest))
    elif high:
        old.become("Greater", x, old.constant(largest))
    else:
        old.become("And", *[old.add("Less", x, x)] * 2)


def _mod(old: OldNode) -> None:
    """Mod has the sign of b, or with fmod=1 of a: r + b where the signs of r and b differ.

    Of integers r = a - trunc(a / b) * b: they are divided so; of floats r = sign(a) rem(|a|, |b|).
    """
    a, b, dtype = old.operand(0), old.operand(1), old.dtype
    rest = _float_rest(old) if dtype.is_float else _whole_rest(old, a)
    if old.whole("fmod", 0) or dtype.text.startswith("u"):
        old.become("Identity", rest)
    elif dtype.is_float:
        signs = old.add("Mul", old.add("Sign", rest), old.add("Sign", b))
        apart = old.add("Less", signs, old.constant(0))
        old.become("Where", apart, old.add("Add", rest, b), rest)
    else:
        old.become("Identity", _whole_rest(old, old.add("Add", rest, b)))


def _whole_rest(old: OldNode, a: str) -> str:
    b = old.operand(1)
    return old.add("Sub", a, old.add("Mul", old.add("Div", a, b), b))


def _float_rest(old: OldNode) -> str:
    """Return sign(a) * (|a| - floor(|a| / |b|) * |b|).

    |b| is added or taken away where the quotient was rounded over an integer.
    """
    size, step = (old.add("Abs", old.operand(i)) for i in range(2))
    whole = old.add("Floor", old.add("Div", size, step))
    rest = old.add("Sub", size, old.add("Mul", whole, step))
    below = old.add("Less", rest, old.constant(0))
    rest = old.add("Where", below, old.add("Add", rest, step), rest)
    within = old.add("Less", rest, step)
    rest = old.add("Where", within, rest, old.add("Sub", rest, step))
    rest = old.add("Where", old.add("Less", size, step), size, rest)
    return old.add("Mul", old.add("Sign", old.operand(0)), rest)


POINTWISE: Mapping[str, Way] = {
    "Gelu": _gelu,
    "HardSwish": _hard_swish,
    "IsInf": _is_inf,
    "Mish": _mish,
    "Mod": _mod,
    "Reciprocal": _reciprocal,
    "Shrink": _shrink,
    "Swish": _swish,
    "Xor": _xor,
}
