"""A stage says once what its passes share; passes that are written out have to agree."""

from __future__ import annotations

from dataclasses import fields

import pytest

from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.passes import STAGES
from slimc.passes.base import Pass
from slimc.passes.lower.lower_float16 import LowerFloat16
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.prune.repair_weights import RepairWeights
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.quant.fuse_bias import FuseBias
from slimc.passes.stages import Prune, Quant, Stage, check_schemes, expand
from slimc.passes.text import options_of, parse_passes
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.compiler import compile
from slimc.targets import resolve

GRAPH = parse_text("""graph (%x: f32[2,4]) -> (%y)
  %w = constant f32[4,4] random(0)
  %y: f32[2,4] = MatMul(%x, %w) @fc
""")
FP16 = AssignScales(scheme="fp16")


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
def test_a_stage_has_the_options_of_its_passes(stage: type[Stage]) -> None:
    described = {f.name: f for f in options_of(stage)}
    names = {f.name for member in stage.members for f in fields(member)}
    assert described.keys() == names
    for member in stage.members:
        for option in options_of(member):
            own = described[option.name]
            assert (own.kind, own.default) == (option.kind, option.default)
    assert stage().parts() == tuple(member() for member in stage.members)


def test_a_scheme_is_said_once() -> None:
    stage = Quant(scheme="fp16", keep=("head/*",))
    fuse, scales, _, lower = stage.parts()
    assert (fuse, scales) == (FuseBias("fp16"), AssignScales(scheme="fp16", keep=("head/*",)))
    assert lower == LowerFloat16(scheme="fp16", keep=("head/*",))
    assert str(stage) == 'quant{scheme=fp16,keep=["head/*"]}'
    assert parse_passes(str(stage), (), STAGES) == stage.parts()


def test_a_stage_is_compiled_as_its_text_is() -> None:
    made = compile(GRAPH, [Prune(ratio=0.2), Quant(scheme="fp16")], "jetson")
    text = "prune{ratio=0.2},quant{scheme=fp16}"
    again = compile(GRAPH, text, "jetson")
    assert made.report.recipe == again.report.recipe == text
    assert made.report.digests == again.report.digests


def test_stages_and_rounds_are_expanded() -> None:
    once = RepairWeights()
    first, repair, second, last = expand([Prune(ratio=0.5, steps=2)])
    assert (repair, last) == (once, once)
    assert first == RemoveChannels(ratio=0.25)
    assert isinstance(second, RemoveChannels)


def test_options_of_a_stage_are_checked_as_it_is_made() -> None:
    with pytest.raises(SlimcError, match="samples is -1") as caught:
        Quant(samples=-1)
    assert caught.value.where == "pass assign-scales"


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ((FP16,), "gives nodes fp16, and no lower-float16 computes in fp16"),
        ((FP16, LowerFloat16(scheme="bf16")), "lower-float16 has scheme=bf16"),
        ((FP16, LowerFloat16(scheme="int8")), "lower-float16 has scheme=int8"),
        ((FuseBias("int8"), AssignScales(scheme="int8-dynamic")), "fuse-bias has scheme=int8"),
        ((AssignScales(mixed=("a=bf16",)), LowerFloat16(rest="fp16")), "computes in bf16"),
    ],
)
def test_schemes_that_disagree_are_refused(passes: tuple[Pass, ...], message: str) -> None:
    with pytest.raises(SlimcError, match=message) as caught:
        check_schemes(passes, resolve("generic-onnx"))
    assert caught.value.name == "schemes-disagree"


@pytest.mark.parametrize(
    ("passes", "target"),
    [
        ("quant{scheme=fp16}", "jetson"),
        ("fuse-bias,assign-scales{scheme=int8},lower-float16{scheme=fp16}", "jetson"),
        ("assign-scales{scheme=fp16}", "jetson-nano"),  # it prefers f16
        ('quant{mixed=["fc=bf16"]}', "jetson-orin"),
        ("fuse-bias,assign-scales{scheme=int8-dynamic}", "cpu"),
    ],
)
def test_schemes_that_agree_are_not(passes: str, target: str) -> None:
    check_schemes(catalogue().parse(passes), resolve(target))


def test_a_compile_refuses_them_before_the_model_is_read() -> None:
    with pytest.raises(SlimcError, match="no lower-float16 computes in fp16"):
        compile("missing.onnx", "assign-scales{scheme=fp16}", "generic-onnx")
