from __future__ import annotations

import numpy as np
import pytest

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Quantization, is_f32
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import find_problems

RNG = np.random.default_rng(0)


def blocked(dtype: DType = DType.I4) -> Quantization:
    scale = RNG.uniform(0.1, 0.2, (2, 3)).astype(np.float32)
    zero = RNG.integers(0, 3, (2, 3)).astype(dtype.numpy)
    return Quantization(dtype, scale, zero, *dtype.span, axis=0, block=4)


def test_scales_are_spread_over_a_value_whatever_the_form() -> None:
    one = Quantization(DType.I8, np.array(0.5, np.float32), np.array(1, np.int8), -128, 127)
    assert one.spread((2, 3))[0].shape == (2, 3)
    axis = Quantization(
        DType.I8, np.array([1, 2], np.float32), np.array([0, 1], np.int8), -128, 127, axis=1
    )
    scale, zero = axis.spread((3, 2))
    assert scale.tolist() == [[1, 2]] * 3
    assert zero.tolist() == [[0, 1]] * 3
    of = blocked()
    scale, _ = of.spread((8, 3))
    assert (scale[:4] == of.scale[0]).all()
    assert (scale[4:] == of.scale[1]).all()


@pytest.mark.parametrize("dtype", [DType.I4, DType.U4, DType.I8, DType.U16, DType.F8E4M3FN])
def test_numbers_of_the_grid_stay_what_they_are(dtype: DType) -> None:
    of = blocked(dtype)
    if dtype.is_float:
        of = Quantization(dtype, of.scale, np.zeros((2, 3), dtype.numpy), *dtype.span, 0, 4)
    first = of.quantize(RNG.normal(size=(8, 3)).astype(np.float32))
    assert first.dtype == dtype.numpy
    again = of.quantize(of.dequantize(first))
    assert (again.astype(np.float32) == first.astype(np.float32)).all()


def test_8_bit_floats_saturate_and_round_to_the_nearest() -> None:
    of = Quantization(
        DType.F8E4M3FN,
        np.array(1, np.float32),
        np.array(0, DType.F8E4M3FN.numpy),
        *DType.F8E4M3FN.span,
    )
    real = np.array([1000, -1000, 1.0, 17.1, 0.0], np.float32)
    assert of.dequantize(of.quantize(real)).tolist() == [448, -448, 1, 18, 0]


def recorded(line: str) -> Graph:
    return parse_text(f"""graph (%x: f32[2,4]) -> (%y)
  form quantized
  %w = constant f32[4,2] fill(0)
  %w quantized i4 axis=0 {line}
  %y: f32[2,2] = MatMul(%x, %w) @product""")


def test_blocks_survive_text() -> None:
    graph = recorded("block=2 scales=[2, 2] scale=[0.5, 0.25, 1.0, 2.0] zero=[0, 1, 0, -2]")
    assert graph.records["w"].scale.tolist() == [[0.5, 0.25], [1, 2]]
    assert to_text(parse_text(to_text(graph))) == to_text(graph)
    assert not list(find_problems(graph))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("block=3 scales=[2, 2] scale=[1, 1, 1, 1]", "blocks of 3 along an axis of 4"),
        ("block=2 scales=[1, 4] scale=[1, 1, 1, 1]", "scales [1, 4], but its blocks need [2, 2]"),
    ],
)
def test_blocks_that_do_not_fit_are_found(line: str, said: str) -> None:
    assert any(said in problem for problem in find_problems(recorded(line)))


def test_types_of_tensors_in_one_call() -> None:
    graph = parse_text("""graph (%x: f32[N,4], %s: seq<f32[N]>, %r: i64[...]) -> (%x)
  %w = constant f16[2,3] fill(0)""")
    for typed in (graph, Editor(graph)):
        assert typed.tensor("x") == TensorType(DType.F32, ("N", 4))
        assert (typed.dtype_of("w"), typed.shape_of("w"), typed.rank_of("w")) == (
            DType.F16, (2, 3), 2
        )  # fmt: skip
        assert (typed.dtype_of("r"), typed.shape_of("r"), typed.rank_of("r")) == (
            DType.I64, None, None
        )  # fmt: skip
        assert [typed.tensor(value) for value in ("s", "", "unknown")] == [None] * 3
        assert [typed.is_float(value) for value in ("x", "w", "r", "s", "")] == [
            True, True, False, False, False
        ]  # fmt: skip
    assert is_f32(graph, "x")
    assert not is_f32(graph, "w")
