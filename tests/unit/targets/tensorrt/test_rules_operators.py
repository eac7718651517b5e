"""Rules on operators: what TensorRT's parser refuses is found, by release, and nothing else."""

from __future__ import annotations

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.target import Finding, Subject, Target
from slimc.targets.tensorrt.devices import (
    JETSON_ORIN,
    JETSON_ORIN_JP51,
    JETSON_ORIN_JP60,
    JETSON_XAVIER_JP46,
    TRT_A100,
)

IMAGE = "graph (%x: f32[1,4,8,8]) -> (%y)\n"
ROWS = "graph (%x: f32[1,5000]) -> (%y)\n"
RESIZE = "  %r = constant f32[4] [1, 1, 2, 2]\n  %y: f32[1,4,16,16] = Resize(%x, _, %r) "
LSTM = """graph (%x: f32[3,2,8]) -> (%y)
  %w = constant f32[1,16,8] random(0)
  %r = constant f32[1,16,4] random(1)
  %y: f32[3,1,2,4] = LSTM(%x, %w, %r) """
GRU = """graph (%x: f32[3,2,8]) -> (%y)
  %w = constant f32[2,12,8] random(0)
  %r = constant f32[2,12,4] random(1)
  %y: f32[3,2,2,4] = GRU(%x, %w, %r) {direction="bidirectional", hidden_size=4, """
EINSUM = "graph (%x: f32[2,3,4], %z: f32[4,5]) -> (%y)\n  %y: f32[2,3,5] = Einsum(%x, %z) "


def errors(text: str, target: Target = TRT_A100, opset: int = 17) -> list[Finding]:
    found = check(Subject(parse_text(text), OPS, target, FileHeader(opset, 8)))
    return [one for one in found if one.severity == "error"]


LOOP = """graph (%x: f32[2,3]) -> (%y)
  %n = constant i64[] 3
  %yes = constant bool[] true
  %y: f32[2,3] = Loop(ARGS, %x) @loop
    body = graph (%i: i64[], %go: bool[], %v: f32[2,3]) -> (%on, %w)
      %on: bool[] = TEST
      %w: f32[2,3] = Add(%v, %x)"""


def loop(operands: str, test: str) -> str:
    return LOOP.replace("ARGS", operands).replace("TEST", test)


EVERY = {  # refused by every release; TensorRT-RTX 1.7 shows it
    "MaxPool with dilations": IMAGE
    + "  %y: f32[1,4,6,6] = MaxPool(%x) {kernel_shape=[2, 2], dilations=[2, 2]}",
    "AveragePool with dilations": IMAGE
    + "  %y: f32[1,4,6,6] = AveragePool(%x) {kernel_shape=[2, 2], dilations=[2, 2]}",
    "MaxPool with indices": IMAGE.replace("(%y)", "(%y, %i)")
    + "  %y: f32[1,4,7,7], %i: i64[1,4,7,7] = MaxPool(%x) {kernel_shape=[2, 2]}",
    "BatchNormalization in training": IMAGE + "  %s = constant f32[4] fill(1)\n"
    "  %y: f32[1,4,8,8], %a: f32[4], %b: f32[4] = BatchNormalization(%x, %s, %s, %s, %s) "
    "{training_mode=1}",
    "LayerNormalization with a mean": "graph (%x: f32[2,8]) -> (%y, %m)\n"
    "  %s = constant f32[8] fill(1)\n"
    "  %y: f32[2,8], %m: f32[2,1] = LayerNormalization(%x, %s)",
    "Resize by crops": IMAGE + RESIZE
    + '{mode="linear", coordinate_transformation_mode="tf_crop_and_resize"}',
    "Resize with antialias": IMAGE + RESIZE + '{mode="linear", antialias=1}',
    "Resize that keeps the ratio": IMAGE + "  %r = constant i64[4] [1, 4, 16, 16]\n"
    "  %y: f32[1,4,16,16] = Resize(%x, _, _, %r) {keep_aspect_ratio_policy=\"not_larger\"}",
    "Resize to a float input": "graph (%x: f32[1,4,8,8], %r: f32[4]) -> (%y)\n"
    "  %y: f32[A,B,C,D] = Resize(%x, _, %r)",
    "a count of no trip count": loop("_, %yes", "Less(%i, %n)"),
    "a condition that is none": loop("%n, _", "Identity(%go)"),
    "TopK of many": ROWS + "  %k = constant i64[1] [4000]\n"
    "  %y: f32[1,4000], %i: i64[1,4000] = TopK(%x, %k)",
    "EyeLike of open sizes": "graph (%x: f32[N,4]) -> (%y)\n  %y: f32[N,4] = EyeLike(%x)",
    "Einsum in capitals": EINSUM + '{equation="Bij,jk->Bik"}',
    "Conv over four axes": "graph (%x: f32[1,4,2,2,2,2]) -> (%y)\n"
    "  %w = constant f32[4,4,1,1,1,1] random(0)\n  %y: f32[1,4,2,2,2,2] = Conv(%x, %w)",
    "ScatterElements that adds": "graph (%x: f32[4,8]) -> (%y)\n"
    "  %i = constant i64[1,8] fill(2)\n  %u = constant f32[1,8] fill(1)\n"
    '  %y: f32[4,8] = ScatterElements(%x, %i, %u) {reduction="add"}',
    "Squeeze by computed axes": "graph (%x: f32[1,8], %s: i64[1]) -> (%y)\n"
    "  %y: f32[A] = Squeeze(%x, %s)",
    "LSTM of coupled gates": LSTM + "{hidden_size=4, input_forget=1}",
    "GRU of two kinds": GRU + 'activations=["Sigmoid", "Tanh", "Tanh", "Tanh"]}',
    "sums of u8": "graph (%x: u8[4,8]) -> (%y)\n  %y: u8[4,8] = Add(%x, %x)",
    "sums of u32": "graph (%x: u32[4,8]) -> (%y)\n  %y: u32[4,8] = Add(%x, %x)",
    "ScatterND that adds": "graph (%x: f32[4,8], %i: i64[1,1], %u: f32[1,8]) -> (%y)\n"
    '  %y: f32[4,8] = ScatterND(%x, %i, %u) {reduction="add"}',
    "ReduceSum over computed axes": "graph (%x: f32[1,8], %s: i64[1]) -> (%y)\n"
    "  %y: f32[A,B] = ReduceSum(%x, %s)",
    "LpPool by cubes": IMAGE + "  %y: f32[1,4,7,7] = LpPool(%x) {kernel_shape=[2, 2], p=3}",
    "Dropout in training": "graph (%x: f32[1,8], %t: bool[]) -> (%y)\n"
    "  %r = constant f32[] 0.5\n  %y: f32[1,8] = Dropout(%x, %r, %t)",
    "comparisons of u8": "graph (%x: u8[4,8]) -> (%y)\n  %y: bool[4,8] = Less(%x, %x)",
    "8-bit floats of another kind": "graph (%x: f32[4,8]) -> (%y)\n"
    "  %y: f8e5m2[4,8] = Cast(%x) {to=19}",
    "sums of two types": IMAGE
    + "  %h = constant f16[1,4,8,8] fill(1)\n  %y: f32[1,4,8,8] = Add(%x, %h)",
    "an operator of onnxruntime": IMAGE.replace(")\n", ")\n  opset com.microsoft 1\n")
    + "  %y: f32[1,4,8,8] = com.microsoft.QLinearSigmoid(%x)",
}  # fmt: skip


@pytest.mark.parametrize("case", list(EVERY))
def test_what_every_release_refuses(case: str) -> None:
    for target in (TRT_A100, JETSON_ORIN):
        found = errors(EVERY[case], target)
        assert {one.code for one in found} <= {"L16", "L17", "L19"}
        assert found
        assert all(one.help for one in found)


OLD = {  # refused by the first target, not by the second
    "cubic Resize": (JETSON_ORIN_JP60, JETSON_ORIN, IMAGE + RESIZE + '{mode="cubic"}'),
    "TopK of a computed K": (JETSON_ORIN_JP60, JETSON_ORIN,
        "graph (%x: f32[1,50], %k: i64[1]) -> (%y)\n"
        "  %y: f32[1,K], %i: i64[1,K] = TopK(%x, %k)"),
    "TopK of integers": (JETSON_ORIN_JP60, JETSON_ORIN, "graph (%x: i32[1,50]) -> (%y)\n"
        "  %k = constant i64[1] [3]\n  %y: i32[1,3], %i: i64[1,3] = TopK(%x, %k)"),
    "CumSum along a computed axis": (JETSON_ORIN_JP60, JETSON_ORIN,
        "graph (%x: f32[1,50], %k: i64[]) -> (%y)\n  %y: f32[1,50] = CumSum(%x, %k)"),
    "Slice along computed axes": (JETSON_ORIN_JP60, JETSON_ORIN,
        "graph (%x: f32[4,8], %s: i64[1]) -> (%y)\n  %b = constant i64[1] [0]\n"
        "  %e = constant i64[1] [2]\n  %y: f32[A,B] = Slice(%x, %b, %e, %s)"),
    "InstanceNormalization by a computed scale": (JETSON_ORIN_JP60, JETSON_ORIN,
        "graph (%x: f32[1,4,8,8], %s: f32[4]) -> (%y)\n"
        "  %y: f32[1,4,8,8] = InstanceNormalization(%x, %s, %s)"),
    "Einsum with an ellipsis": (JETSON_ORIN_JP60, JETSON_ORIN,
        EINSUM + '{equation="...ij,jk->...ik"}'),
    "Einsum of a diagonal": (JETSON_ORIN_JP60, JETSON_ORIN,
        'graph (%x: f32[3,3]) -> (%y)\n  %y: f32[3] = Einsum(%x) {equation="ii->i"}'),
    "Conv by a computed weight": (JETSON_XAVIER_JP46, JETSON_ORIN_JP51,
        "graph (%x: f32[1,4,8,8], %w: f32[4,4,1,1]) -> (%y)\n  %y: f32[1,4,8,8] = Conv(%x, %w)"),
    "Range of computed floats": (JETSON_XAVIER_JP46, JETSON_ORIN_JP51,
        "graph (%x: f32[4]) -> (%y)\n  %o = constant f32[] 1\n  %a = constant i64[1] [0]\n"
        "  %e: f32[] = ReduceMax(%x, %a) {keepdims=0}\n  %y: f32[K] = Range(%o, %e, %o)"),
    "images of bytes": (JETSON_XAVIER_JP46, JETSON_ORIN_JP51,
        "graph (%x: u8[4,8]) -> (%y)\n  %y: f32[4,8] = Cast(%x) {to=1}"),
    "NonZero": (JETSON_XAVIER_JP46, JETSON_ORIN_JP51,
        "graph (%x: f32[4,8]) -> (%y)\n  %y: i64[2,K] = NonZero(%x)"),
    "LayerNormalization": (JETSON_ORIN_JP51, JETSON_ORIN_JP60,
        "graph (%x: f32[2,8]) -> (%y)\n  %s = constant f32[8] fill(1)\n"
        "  %y: f32[2,8] = LayerNormalization(%x, %s)"),
    "Hardmax": (JETSON_ORIN_JP60, JETSON_ORIN,
        "graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Hardmax(%x)"),
    "STFT": (JETSON_ORIN, TRT_A100, "graph (%x: f32[1,64,1]) -> (%y)\n"
        "  %s = constant i64[] 16\n  %l = constant i64[] 32\n"
        "  %y: f32[1,3,17,2] = STFT(%x, %s, _, %l)"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(OLD))
def test_what_older_releases_refuse(case: str) -> None:
    older, newer, text = OLD[case]
    assert {one.code for one in errors(text, older)} == {"L17"}
    assert errors(text, newer) == []


TAKEN = {
    "a loop": loop("%n, %yes", "Identity(%go)"),
    "a loop without a condition": loop("%n, _", "Less(%i, %n)"),
    "a loop without a trip count": loop("_, %yes", "Not(%go)"),
    "pools": IMAGE + "  %y: f32[1,4,7,7] = MaxPool(%x) {kernel_shape=[2, 2], dilations=[1, 1]}",
    "Resize": IMAGE + RESIZE + '{mode="linear", coordinate_transformation_mode="align_corners"}',
    "LSTM": LSTM + "{hidden_size=4}",
    "GRU": GRU + 'activations=["Sigmoid", "Tanh", "Sigmoid", "Tanh"]}',
    "bytes that are cast": "graph (%x: u8[4,8]) -> (%y)\n  %y: f32[4,8] = Cast(%x) {to=1}",
    "doubles": "graph (%x: f64[4,8]) -> (%y)\n  %y: f64[4,8] = Relu(%x)",
    "axes from a shape": "graph (%x: f32[1,8]) -> (%y)\n  %a: i64[2] = Shape(%x)\n"
    "  %o = constant i64[1] [0]\n  %n: i64[1] = Gather(%a, %o)\n  %p: i64[1] = Sub(%n, %n)\n"
    "  %y: f32[8] = Squeeze(%x, %p)",
}  # fmt: skip


@pytest.mark.parametrize("case", list(TAKEN))
def test_what_is_taken_is_no_fault(case: str) -> None:
    for target in (TRT_A100, JETSON_ORIN, JETSON_ORIN_JP60, JETSON_ORIN_JP51):
        assert errors(TAKEN[case], target) == []


def test_10_15_imports_some_operators_of_onnxruntime() -> None:
    text = """graph (%x: f32[2,8]) -> (%y)
  opset com.microsoft 1
  %y: f32[2,8] = com.microsoft.Gelu(%x) @gelu"""
    assert errors(text, TRT_A100) == []
    assert [one.rule for one in errors(text, JETSON_ORIN)] == ["known-domains"]
    found = errors(text.replace("microsoft.Gelu", "microsoft.BiasGelu"), TRT_A100)
    assert {one.rule for one in found} == {"known-domains", "no-fused-nodes"}


REDUCE = """graph (%x: f32[2,8]) -> (%y)
  %a = constant i64[1] [1]
  %y: f32[2,1] = ReduceMean(%x, %a)"""


def test_a_newer_opset_alone_is_no_fault_but_forms_of_it_are() -> None:
    relu = "graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Relu(%x)"
    assert errors(relu, JETSON_ORIN_JP60, 21) == []
    assert errors(REDUCE, JETSON_ORIN_JP60, 17) == []  # there the axes are an attribute
    assert [one.code for one in errors(REDUCE, JETSON_ORIN_JP60, 18)] == ["L18"]
    assert errors(REDUCE, JETSON_ORIN, 18) == []


def test_new_attributes_that_say_nothing_new_are_no_fault() -> None:
    text = """graph (%x: f32[2,8]) -> (%y)
  %s = constant i64[2] [8, 2]
  %y: f32[8,2] = Reshape(%x, %s) {allowzero=0}"""
    assert errors(text, JETSON_XAVIER_JP46, 17) == []
    text = text.replace("allowzero=0", "allowzero=1")
    assert errors(text, JETSON_XAVIER_JP46, 17) == []
    empty = text.replace("f32[2,8]", "f32[0,8]").replace("[8, 2]", "[0, 2]")
    found = errors(empty.replace("f32[8,2]", "f32[0,2]"), JETSON_XAVIER_JP46, 17)
    assert [one.code for one in found] == ["L18"]


def test_operators_that_came_later_are_named() -> None:
    gelu = "graph (%x: f32[2,8]) -> (%y)\n  %y: f32[2,8] = Gelu(%x) @gelu"
    (found,) = errors(gelu, JETSON_ORIN_JP60, 20)
    assert (found.code, found.node) == ("L18", "gelu")
    assert "came with opset 20" in found.message
    assert errors(gelu, JETSON_ORIN, 20) == []
