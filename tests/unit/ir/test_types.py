from __future__ import annotations

import numpy as np
import pytest

from slimc.ir import dims
from slimc.ir.constant import Constant
from slimc.ir.graph import Quantization
from slimc.ir.types import DType, SequenceType, TensorType, static_shape


@pytest.mark.parametrize("dtype", list(DType))
def test_every_type_is_found_by_code_text_and_numpy(dtype: DType) -> None:
    assert DType.of_code(dtype.code) is dtype
    assert DType.of_text(dtype.text) is dtype
    assert DType.of_numpy(dtype.numpy) is dtype


def test_bits_of_types() -> None:
    bits = {DType.F32: 32, DType.BF16: 16, DType.I4: 4, DType.F8E4M3FN: 8, DType.C128: 128}
    assert {d: d.bits for d in bits} == bits
    assert DType.BOOL.bits == 8


def test_text_of_types() -> None:
    assert str(TensorType(DType.F32, ("N", 3, None))) == "f32[N,3,?]"
    assert str(SequenceType(TensorType(DType.I64, ()))) == "seq<i64[]>"
    assert str(TensorType(DType.U8, None)) == "u8[...]"


def test_static_shape() -> None:
    assert static_shape(TensorType(DType.F32, (2, 3))) == (2, 3)
    assert static_shape(TensorType(DType.F32, ("n", 3))) is None
    assert static_shape(None) is None


def test_arithmetic_on_sizes() -> None:
    assert dims.multiply(2, 3) == 6
    assert dims.multiply(2, "h") == "2*h"
    assert dims.multiply("h", 1) == "h"
    assert dims.multiply("h", None) is None
    assert dims.multiply("h", 0) == 0
    assert dims.multiply("w+1", "h") == dims.multiply("h", "w+1")
    assert dims.add("h", 1, 2) == "h+3"
    assert dims.add("h", -1) == "h-1"
    assert dims.floor_divide("h+1", 2) == "(h+1)//2"
    assert dims.floor_divide(7, 2) == 3


def test_constants_compare_by_bits() -> None:
    a = Constant(np.array([0.0, np.nan], np.float32))
    assert a.same_as(Constant(np.array([0.0, np.nan], np.float32)))
    assert not a.same_as(Constant(np.array([-0.0, np.nan], np.float32)))
    assert not a.same_as(Constant(np.array([0.0, np.nan], np.float64)))
    assert a.size_bytes == 8


def test_quantization_rounds_to_the_grid_and_back() -> None:
    scale = np.array([0.5, 0.25], np.float32)
    record = Quantization(DType.I8, scale, np.zeros(2, np.int8), -64, 64, axis=0)
    x = np.array([[0.6, 100.0], [0.3, -100.0]], np.float32)
    q = record.quantize(x)
    assert q.tolist() == [[1, 64], [1, -64]]
    assert record.dequantize(q).tolist() == [[0.5, 32.0], [0.25, -16.0]]
