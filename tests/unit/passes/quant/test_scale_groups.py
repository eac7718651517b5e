"""Products whose sum a runtime could take for a bias run in integers, whatever is added."""

from __future__ import annotations

import pytest
from optimized import integer_kernels

import slimc
from slimc.ir.text import parse_text

RESIDUAL = """graph (%x: f32[{rows},16], %o: f32[{summand}]) -> (%y)
  %w = constant f32[16,16] random(0)
  %p: f32[{rows},16] = MatMul(%x, %w) @product
  %y = Add(%p, %o) @sum"""
TWO_LAYERS = """graph (%x: f32[{rows},16]) -> (%y)
  %w = constant f32[16,16] random(0)
  %v = constant f32[16,16] random(1)
  %p = MatMul(%x, %w) @first
  %a = Add(%p, %x) @residual
  %r = Relu(%a) @relu
  %q = MatMul(%r, %v) @second
  %y = Add(%q, %r) @last"""


@pytest.mark.parametrize("rows", ["1", "2", "n", "1,1", "b,s"])
def test_products_in_residual_blocks_run_in_integers(rows: str) -> None:
    made = slimc.compile(parse_text(TWO_LAYERS.format(rows=rows)), "quant", "cpu-vnni")
    assert integer_kernels(made.graph) == made.report.integer_intended == 2


@pytest.mark.parametrize("summand", ["1,16", "2,16", "16", "2,1", "1", "1,2,16"])
def test_computed_summands_leave_a_product_in_integers(summand: str) -> None:
    text = RESIDUAL.format(rows="2", summand=summand)
    made = slimc.compile(parse_text(text), "quant", "cpu-vnni")
    assert integer_kernels(made.graph) == made.report.integer_intended == 1
