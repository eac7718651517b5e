"""Rows of TensorRT: releases differ in what they say, and each says how its engine is built."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from shlex import split

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.express.decompose import WAYS
from slimc.targets.target import Subject, Target
from slimc.targets.tensorrt.devices import (
    JETSON_NANO,
    JETSON_ORIN,
    JETSON_ORIN_JP51,
    JETSON_ORIN_JP60,
    JETSON_XAVIER_JP46,
    TENSORRT,
    TRT_A100,
    TRT_H100,
)


def test_releases_know_more_and_more() -> None:
    rows = (JETSON_XAVIER_JP46, JETSON_ORIN_JP51, JETSON_ORIN_JP60, JETSON_ORIN, TRT_A100)
    for older, newer in pairwise(rows):
        assert older.release < newer.release
        assert older.opset_max <= newer.opset_max
        assert set(newer.forbids) < set(older.forbids)
        assert older.plugins <= newer.plugins


@pytest.mark.parametrize("target", list(TENSORRT.values()), ids=list(TENSORRT))
def test_rows_hold_together(target: Target) -> None:
    assert target.opset <= target.opset_max
    assert target.decompose <= set(WAYS)
    assert (target.placement is None) == (not target.schemes)
    assert (target.capability >= 89) == ("fp8" in target.schemes)
    assert bool(target.sparsity) == (target.capability >= 80)
    assert target.typed == (target.release >= (10, 15))


def test_weights_are_stored_in_integers_from_8_5_on() -> None:
    stored = {name: row.placement and row.placement.weights for name, row in TENSORRT.items()}
    assert stored["jetson-xavier-jp46"] == "fp32-qdq"
    assert stored["jetson-nano"] is None
    others = {name for name, how in stored.items() if how == "integers"}
    assert others == set(TENSORRT) - {"jetson-xavier-jp46", "jetson-nano", "jetson-tx2"}


FLOAT = """graph (%x: f32[1,32,4,4]) -> (%y)
  %w = constant f32[32,32,1,1] random(0)
  %y: f32[1,32,4,4] = Conv(%x, %w)"""
SPARSE = FLOAT.replace("random(0)", f"[{', '.join(['1', '2', '0', '0'] * 256)}]")
QUANTIZED = """graph (%x: f32[1,32,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[32,32,1,1] random(0, -64..64)
  %q: i8[1,32,4,4] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,32,4,4] = DequantizeLinear(%q, %s, %z)
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %s, %z)
  %y: f32[1,32,4,4] = Conv(%a, %w)"""
FOUR = """graph (%x: f32[N,64]) -> (%y)
  %w.q = constant i4[64,32] random(0, -7..7)
  %w.s = constant f32[2,32] fill(0.1)
  %w: f32[64,32] = DequantizeLinear(%w.q, %w.s) {axis=0, block_size=32}
  %y: f32[N,32] = MatMul(%x, %w)"""
HALF = FLOAT.replace("f32", "f16")
FLOAT8 = QUANTIZED.replace("i8", "f8e4m3fn").replace("random(0, -64..64)", "fill(1)")


def command(text: str, target: Target) -> str:
    findings = check(Subject(parse_text(text), OPS, target, FileHeader(17, 8)))
    (found,) = [one for one in findings if one.rule == "build-command"]
    assert (found.severity, found.node) == ("info", "")
    return found.message.partition("MODEL.engine")[2]


@pytest.mark.parametrize(
    ("target", "text", "flags"),
    [
        (JETSON_ORIN, FLOAT, " --fp16"),
        (JETSON_ORIN, SPARSE, " --fp16 --sparsity=enable"),
        (JETSON_XAVIER_JP46, SPARSE, " --fp16"),
        (JETSON_ORIN, QUANTIZED, " --int8 --fp16"),
        (JETSON_ORIN, HALF, " --stronglyTyped"),
        (JETSON_ORIN, QUANTIZED.replace("f32", "f16"), " --stronglyTyped"),
        (JETSON_ORIN_JP60, HALF, " --fp16"),
        (JETSON_NANO, HALF, " --fp16"),
        (JETSON_ORIN, FOUR,
         " --int4 --fp16 --minShapes=x:1x64 --optShapes=x:1x64 --maxShapes=x:1x64"),
        (TRT_H100, FLOAT8,
         " --stronglyTyped; TensorRT 11 is always strongly typed and takes no such flag"),
    ],
)  # fmt: skip
def test_the_command_depends_on_the_file(target: Target, text: str, flags: str) -> None:
    assert command(text, target) == flags


def test_names_are_quoted_for_a_shell() -> None:
    graph = parse_text(FLOAT.replace("f32[1,", "f32[N,"))
    name = "x';touch it;'"
    nodes = tuple(
        replace(node, inputs=tuple(name if v == "x" else v for v in node.inputs))
        for node in graph.nodes
    )
    types = {name if v == "x" else v: kind for v, kind in graph.types.items()}
    odd = replace(graph, inputs=(name,), nodes=nodes, types=types)
    findings = check(Subject(odd, OPS, JETSON_ORIN, FileHeader(17, 8)))
    (said,) = [one.message for one in findings if one.rule == "build-command"]
    words = split(said.partition("with: ")[2])
    assert f"--minShapes={name}:1x32x4x4" in words
    (help,) = [one.help for one in findings if one.rule == "open-sizes"]
    assert split(help.partition("largest: ")[2]) == [f"--optShapes={name}:1x32x4x4"]


def test_sizes_that_are_not_known_are_reported() -> None:
    findings = check(Subject(parse_text(FOUR), OPS, JETSON_ORIN, FileHeader(21, 10)))
    found = [one for one in findings if one.rule == "open-sizes"]
    assert [one.severity for one in found] == ["info"]
    assert "--optShapes=x:1x64" in found[0].help
