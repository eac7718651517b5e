from __future__ import annotations

import pytest

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.quant.stored_weights import StoredWeights, choose_weights
from slimc.passes.schemes import Schemes
from slimc.targets.openvino import OPENVINO
from slimc.targets.tensorrt.devices import JETSON_ORIN


def chosen(text: str, scheme: str = "int4-weights", least: int = 0) -> StoredWeights:
    graph = parse_text(text)
    ctx = Context(OPS, OPENVINO, Data.synthesize(graph, {}, 0, 1))
    return choose_weights(graph, ctx, infer(graph, OPS), Schemes(OPENVINO, scheme, {}), least)


def product(weight: str, call: str, data: str = "f32[2,96]") -> str:
    return f"graph (%x: {data}) -> (%y)\n  %w = constant {weight} random(0)\n  %y = {call} @node"


@pytest.mark.parametrize(
    ("text", "axis", "block"),
    [
        (product("f32[96,8]", "MatMul(%x, %w)"), 0, 32),
        (product("f32[8,96]", "Gemm(%x, %w) {transB=1}"), 1, 32),
        (product("f32[48,8]", "MatMul(%x, %w)", "f32[2,48]"), 0, 16),  # 32 does not divide
        (product("f32[40,8]", "MatMul(%x, %w)", "f32[2,40]"), 1, 0),  # nor does 16
        (product("f32[8,64,3,3]", "Conv(%x, %w)", "f32[1,64,5,5]"), 1, 32),
        (product("f32[8,3,3,3]", "Conv(%x, %w)", "f32[1,3,5,5]"), 0, 0),
        (product("f32[8,1,3,3]", "Conv(%x, %w) {group=8}", "f32[1,8,5,5]"), 0, 0),  # depthwise
        (product("f32[32,8,3,3]", "ConvTranspose(%x, %w)", "f32[1,32,5,5]"), 0, 32),
        (product("f32[50,64]", "Gather(%w, %x)", "i64[3]"), 1, 32),
        (product("f32[50,6]", "Gather(%w, %x)", "i64[3]"), 0, 0),  # a scale per row
    ],
)
def test_blocks_lie_along_what_is_summed_or_looked_up(text: str, axis: int, block: int) -> None:
    (one,) = chosen(text).stored
    assert (one.axis, one.grid.block) == (axis, block)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("graph (%x: f32[2,8], %w: f32[8,8]) -> (%y)\n  %y = MatMul(%x, %w) @node", "run time"),
        (product("f64[96,8]", "MatMul(%x, %w)", "f64[2,96]"), "integers replace f32"),
        (product("f32[96,8]", 'Einsum(%x, %w) {equation="ij,jk->ik"}'), ""),
    ],
)
def test_what_stays_float_has_a_reason(text: str, said: str) -> None:
    found = chosen(text)
    assert not found.stored
    assert all(said in reason for reason in found.reasons.values())
    assert bool(found.reasons) == bool(said)


def test_a_tiny_weight_is_not_worth_it() -> None:
    text = product("f32[96,8]", "MatMul(%x, %w)")
    assert "768 elements: less than 769" in chosen(text, least=769).reasons["node"]
    assert chosen(text, least=768).stored


@pytest.mark.parametrize(
    ("weight", "data", "found"),
    [
        ("f32[96,8]", "f32[2,96]", 1),
        ("f32[96,7]", "f32[2,96]", 0),
        ("f32[2,96,8]", "f32[2,2,96]", 0),
    ],
)
def test_runtimes_may_want_matrices_of_even_rows(weight: str, data: str, found: int) -> None:
    graph = parse_text(product(weight, "MatMul(%x, %w)", data))
    ctx = Context(OPS, JETSON_ORIN, Data.synthesize(graph, {}, 0, 1))
    schemes = Schemes(JETSON_ORIN, "int4-weights", {})
    made = choose_weights(graph, ctx, infer(graph, OPS), schemes, 0)
    assert len(made.stored) == found
    assert all("rows of a multiple of 2" in why for why in made.reasons.values())
