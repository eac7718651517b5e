from __future__ import annotations

import pytest

from slimc.calib.data import Data
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.traits import Trait
from slimc.pipeline.compiler import compile
from slimc.targets import resolve
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.target import Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN

GRAPH = parse_text("""\
graph (%x: f32[1,32,16,16]) -> (%y)
  %wa = constant f32[96,32,3,3] random(0)
  %wb = constant f32[96,96,3,3] random(1)
  %wc = constant f32[32,96,1,1] random(2)
  %a: f32[1,96,14,14] = Conv(%x, %wa) @a
  %b: f32[1,96,6,6] = Conv(%a, %wb) {strides=[2, 2]} @b
  %y: f32[1,32,6,6] = Conv(%b, %wc) @c
""")


@pytest.mark.parametrize(
    ("target", "integers", "align"),
    [
        (JETSON_ORIN, False, 8),
        (JETSON_ORIN, True, 32),
        (CPU_VNNI, True, 16),
        (JETSON_NANO, True, JETSON_NANO.align_float),  # it runs nothing in integers
    ],
)
def test_widths_suit_what_comes_out(target: Target, integers: bool, align: int) -> None:
    traits = frozenset({Trait.INTEGERS} if integers else ())
    ctx = Context(OPS, target, Data.synthesize(GRAPH, {}), traits=traits)
    assert ctx.align == align


@pytest.mark.parametrize(("target", "align"), [(JETSON_ORIN, 16), (JETSON_NANO, 8)])
def test_widths_suit_sparse_kernels_where_there_are_some(target: Target, align: int) -> None:
    ctx = Context(OPS, target, Data.synthesize(GRAPH, {}), traits=frozenset({Trait.SPARSIFIES}))
    assert ctx.align == align


@pytest.mark.parametrize("passes", ["prune{ratio=0.2}", "prune{ratio=0.2},quant"])
def test_no_kernel_pads_what_a_compile_left_of_even_widths(passes: str) -> None:
    made = compile(GRAPH, passes, resolve("jetson"))
    assert made.report.after.parameters < made.report.before.parameters
    said = [r.message for one in made.report.passes for r in one.remarks]
    assert not [m for m in said if "padded" in m]
