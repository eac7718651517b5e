"""Operators that sum products of integers as they are, without DQ: the operands of each.

Source: operators of ONNX and of onnxruntime (ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class IntegerProduct(NamedTuple):
    """The operands of data, of weight, and of the weight's zero point, which may be absent.

    slides: the weight is [M,C/g,*k], else [..,K,N]. first: the weight is the first factor of the
    kernel's matrix product, the data the second.
    """

    data: int
    weight: int
    zero_point: int
    slides: bool = False
    first: bool = False


INTEGER_PRODUCTS: Mapping[str, IntegerProduct] = {
    "ConvInteger": IntegerProduct(0, 1, 3, slides=True, first=True),
    "MatMulInteger": IntegerProduct(0, 1, 3),
    "QLinearConv": IntegerProduct(0, 3, 5, slides=True),
    "QLinearMatMul": IntegerProduct(0, 3, 5),
    "com.microsoft.DynamicQuantizeMatMul": IntegerProduct(0, 1, 3),
    "com.microsoft.MatMulIntegerToFloat": IntegerProduct(0, 1, 5),
    "com.microsoft.QGemm": IntegerProduct(0, 3, 5),
}
