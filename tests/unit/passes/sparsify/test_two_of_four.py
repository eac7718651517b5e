from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimc.analysis.shapes import infer, retype
from slimc.analysis.sparsity import largest_two
from slimc.fit.layer import LayerPair, pair_layer
from slimc.ir.constant import Constant
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.sparsify.two_of_four import SparseFit, TwoOfFour

TEXT = """
graph (%x: f32[1,16]) -> (%y)
  %w = constant f32[8,16] random(0)
  %b = constant f32[8] random(1)
  %y: f32[1,8] = Gemm(%x, %w, %b) {transB=1} @node
"""
RNG = np.random.default_rng(0)


def layer() -> tuple[LayerPair, np.ndarray, np.ndarray]:
    """Return a layer with its two largest weights of four, the dense weights, and the bias."""
    dense = retype(parse_text(TEXT), OPS)
    array = dense.constants["w"].array
    masked = Constant(array * largest_two(array, 1))
    student = replace(dense, constants={**dense.constants, "w": masked})
    facts = infer(dense, OPS), infer(student, OPS)
    one = pair_layer(dense, student, OPS, facts, student.by_name["node"])
    assert isinstance(one, LayerPair)
    return one, array.astype(np.float64)[None], dense.constants["b"].array[None].astype(np.float64)


def fitted(rows: int, mix: np.ndarray) -> SparseFit | str:
    one, dense, b = layer()
    largest = dense * largest_two(dense, 2)
    fit = TwoOfFour(dense, one, largest, b)
    x = RNG.standard_normal((rows, 1, 16)) @ mix
    fit.add(x, x @ dense[0].T + b, np.arange(rows) % 5 == 4)
    found = fit.fit()
    assert isinstance(found, str | SparseFit)
    return found


def test_correlated_columns_choose_what_the_others_make_up_for() -> None:
    found = fitted(2000, RNG.standard_normal((16, 16)))
    assert isinstance(found, SparseFit)
    assert found.criterion == "second order"
    assert found.after < 0.5 * found.before
    assert (np.count_nonzero(found.w.reshape(1, 8, 4, 4), axis=3) == 2).all()
    assert found.description.startswith(
        "two of every four weights are kept by second order, refitted with ridge"
    )


def test_of_independent_columns_of_one_size_the_largest_stay() -> None:
    found = fitted(4000, np.eye(16))
    assert isinstance(found, SparseFit)
    _, dense, _ = layer()
    np.testing.assert_array_equal(found.w != 0, largest_two(dense, 2))


def test_too_few_rows_leave_the_largest() -> None:
    assert fitted(3, np.eye(16)) == "too few results to fit and validate on"
