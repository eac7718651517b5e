"""Operators that multiply integers directly, without DQ, and the operands of each.

Source: operators of ONNX and of onnxruntime (ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class IntegerProduct(NamedTuple):
    """The operands of an operator that multiplies integers."""

    data: int
    """Operand with the data."""
    weight: int
    """Operand with the weight."""
    zero_point: int
    """Operand with the zero point of the weight, which may be absent."""
    slides: bool = False
    """Whether the weight slides over the data: it is [M,C/g,*k], else [..,K,N]."""
    first: bool = False
    """Whether the weight is the first factor of the kernel's matrix product."""


INTEGER_PRODUCTS: Mapping[str, IntegerProduct] = {
    "ConvInteger": IntegerProduct(0, 1, 3, slides=True, first=True),
    "MatMulInteger": IntegerProduct(0, 1, 3),
    "QLinearConv": IntegerProduct(0, 3, 5, slides=True),
    "QLinearMatMul": IntegerProduct(0, 3, 5),
    "com.microsoft.DynamicQuantizeMatMul": IntegerProduct(0, 1, 3),
    "com.microsoft.MatMulIntegerToFloat": IntegerProduct(0, 1, 5),
    "com.microsoft.QGemm": IntegerProduct(0, 3, 5),
}

# Kernels with several weights, or whose weight is packed: nothing reads their axes.
_OTHERS: Mapping[str, tuple[IntegerProduct, ...]] = {
    "com.microsoft.DynamicQuantizeLSTM": (IntegerProduct(0, 1, 9), IntegerProduct(0, 2, 11)),
    "com.microsoft.QAttention": (IntegerProduct(0, 1, 7),),
}


def products_of(kind: str) -> tuple[IntegerProduct, ...]:
    """Return all products of integers that an operator sums, none for most."""
    product = INTEGER_PRODUCTS.get(kind)
    return (product,) if product is not None else _OTHERS.get(kind, ())
