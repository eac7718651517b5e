"""DLA's limits, one node at a time: what is within, and what is said of what is not."""

from __future__ import annotations

import pytest

from slimc.analysis.shapes import call_of, infer
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.dla.limits import misfit


def said(call: str, made: str = "1,8,6,6", more: str = "", x: str = "1,8,6,6") -> str:
    """Return what is said of a node that reads x."""
    graph = parse_text(f"graph (%x: f32[{x}]) -> (%y)\n{more}  %y: f32[{made}] = {call} @n")
    return misfit(call_of(graph, infer(graph, OPS), graph.by_name["n"]))


def conv(shape: str, attrs: str = "", kind: str = "Conv", x: str = "1,8,40,40") -> str:
    weight = f"  %w = constant f32[{shape}] random(0)\n"
    return said(f"{kind}(%x, %w) {{{attrs}}}", "1,8,9,9", weight, x)


@pytest.mark.parametrize(
    ("shape", "attrs", "why"),
    [
        ("8,8,3,3", "pads=[1,1,1,1], strides=[2,2]", ""),
        ("8,1,5,5", "group=8, pads=[2,2,2,2], dilations=[32,1]", ""),
        ("8,8,33,1", "", "its kernel is 33: 1 to 32 on DLA"),
        ("8,8,3,3", "strides=[9,1]", "its stride is 9: 1 to 8 on DLA"),
        ("8,8,3,3", "pads=[3,0,0,0]", "its kernel beyond its padding is 0: 1 to 32 on DLA"),
        ("8,8,32,3", "pads=[32,0,0,0]", "its padding is 32: 0 to 31 on DLA"),
        ("8,8,2,2", "dilations=[33,1]", "its dilation is 33: 1 to 32 on DLA"),
        ("8193,8,1,1", "", "its count of output maps is 8193: 1 to 8192 on DLA"),
    ],
)
def test_convolutions(shape: str, attrs: str, why: str) -> None:
    assert conv(shape, attrs) == why


@pytest.mark.parametrize(
    ("attrs", "why"),
    [
        ("strides=[2,2]", ""),
        ("strides=[2,2], pads=[1,1,1,1]", "its padding is 1: it must be 0 on DLA"),
        ("group=2", "its count of groups is 2: it must be 1 on DLA"),
        ('auto_pad="SAME_UPPER"', "its auto_pad is SAME_UPPER: NOTSET or VALID on DLA"),
        ("output_shape=[9,9]", "its output_shape is given: left out on DLA"),
        ("dilations=[2,2]", "its dilation is 2: it must be 1 on DLA"),
    ],
)
def test_transposed_convolutions(attrs: str, why: str) -> None:
    assert conv("8,8,2,2", attrs, "ConvTranspose") == why


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("MaxPool(%x) {kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]}", ""),
        ("AveragePool(%x) {kernel_shape=[9,3]}", "its window is 9: 1 to 8 on DLA"),
        ("MaxPool(%x) {kernel_shape=[2,2], strides=[17,1]}", "its stride is 17: 1 to 16 on DLA"),
        ("MaxPool(%x) {kernel_shape=[2,2], dilations=[2,2]}",
         "its dilation is 2: it must be 1 on DLA"),
        ("Relu(%x)", ""),
        ("Erf(%x)", "DLA has no Erf"),
        ("Softmax(%x) {axis=1}", ""),
        ("Softmax(%x) {axis=0}", "its axis is 0: 1 to 3 on DLA"),
        ("LRN(%x) {size=4}", "its window is 4: 3 or 5 or 7 or 9 on DLA"),
        ("Concat(%x, %x) {axis=1}", ""),
        ("Concat(%x, %x) {axis=2}", "its axis is 2: it must be 1 on DLA"),
        ("Transpose(%x) {perm=[0,2,3,1]}", ""),
        ("Transpose(%x) {perm=[1,0,2,3]}", "its first axis is 1: 0 on DLA"),
        ("Add(%x, %x)", ""),
    ],
)  # fmt: skip
def test_layers_without_constants(call: str, why: str) -> None:
    assert said(call) == why


@pytest.mark.parametrize(
    ("call", "constants", "why"),
    [
        ("Clip(%x, %a, %b)", ["a = constant f32[] 0", "b = constant f32[] 6"], ""),
        ("Clip(%x, %a, %b)", ["a = constant f32[] -1", "b = constant f32[] 6"],
         "its lower bound is -1: it must be 0 on DLA"),
        ("Clip(%x, %a)", ["a = constant f32[] 0"], "its upper bound is 0: 1 to 127 on DLA"),
        ("Mul(%x, %a)", ["a = constant f32[8,1,1] random(0)"], ""),
        ("Mul(%x, %a)", ["a = constant f32[] 2"], ""),
        ("Mul(%x, %a)", ["a = constant f32[6] random(0)"],
         "its broadcast is [1,8,6,6] with [6]: whole or per channel on DLA"),
        ("Reshape(%x, %a)", ["a = constant i64[2] [0, -1]"], ""),
        ("Reshape(%x, %a)", ["a = constant i64[2] [8, 36]"],
         "its batch is changed: kept on DLA"),
        ("Slice(%x, %a, %b, %c)",
         ["a = constant i64[1] [0]", "b = constant i64[1] [4]", "c = constant i64[1] [-1]"], ""),
        ("Slice(%x, %a, %b, %c, %d)",
         ["a = constant i64[1] [0]", "b = constant i64[1] [4]", "c = constant i64[1] [3]",
          "d = constant i64[1] [2]"], "its step is 2: it must be 1 on DLA"),
        ("Resize(%x, _, %a) {mode=\"nearest\"}", ["a = constant f32[4] [1, 1, 2, 2]"], ""),
        ("Resize(%x, _, %a) {mode=\"linear\"}", ["a = constant f32[4] [1, 1, 5, 5]"],
         "its factor is 5: 1 to 4 on DLA"),
        ("Resize(%x, _, %a) {mode=\"cubic\"}", ["a = constant f32[4] [1, 1, 2, 2]"],
         "its mode is cubic: nearest or linear on DLA"),
        ("Resize(%x, _, %a) {mode=\"nearest\"}", ["a = constant f32[4] [1, 1, 1.5, 2]"],
         "its factor's fraction is 0.5: it must be 0 on DLA"),
        ("Resize(%x, _, _, %a) {mode=\"nearest\"}", ["a = constant i64[4] [1, 8, 12, 6]"], ""),
    ],
)  # fmt: skip
def test_layers_with_constants(call: str, constants: list[str], why: str) -> None:
    more = "".join(f"  %{line}\n" for line in constants)
    assert said(call, more=more) == why


def test_limits_of_every_layer() -> None:
    assert said("Relu(%x)", "8,6", x="8,6") == "its data has rank 2: DLA takes maps [N,C,H,W]"
    large = "axis 2 of its data has 9000: at most 8192 on DLA"
    assert said("Relu(%x)", "1,1,9000,1", x="1,1,9000,1") == large
    open_ = "axis 0 of its data has N: DLA takes sizes that are fixed"
    assert said("Relu(%x)", "N,1,4,4", x="N,1,4,4") == open_


def test_a_long_softmax_is_alone() -> None:
    assert said("Softmax(%x) {axis=1}", "1,8000,1,1", x="1,8000,1,1") == ""
    assert "its axis size" in said("Softmax(%x) {axis=1}", "1,2000,2,1", x="1,2000,2,1")


def test_computed_weights_do_not_fit() -> None:
    graph = parse_text(
        "graph (%x: f32[1,2,4,4], %w: f32[2,2,1,1]) -> (%y)\n  %y: f32[1,2,4,4] = Conv(%x, %w) @n"
    )
    call = call_of(graph, infer(graph, OPS), graph.by_name["n"])
    assert misfit(call) == "its weight is computed: constant on DLA"
