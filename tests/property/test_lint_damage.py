"""Damaged files are refused, or judged and mended: nothing else is ever raised."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from slimc.errors import SlimcError
from slimc.io.read import FileHeader, from_model
from slimc.io.write import to_model
from slimc.ir.text import parse_text
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.inspect.fix import mend
from slimc.pipeline.inspect.lint import judge
from slimc.targets.target import Subject

NAMES = catalogue()
SOUND = """graph (%x: f32[1,8,8,8]) -> (%y)
  opset com.microsoft 1
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %w.q = constant i8[8,8,3,3] random(0, -64..64)
  %w.s = constant f32[8] random(1, 0.01..0.02)
  %w.z = constant i8[8] fill(0)
  %b.q = constant i32[8] fill(3)
  %n = constant f32[8] random(2, 0.5..1)
  %h = constant f32[8,8] random(3)
  %k = constant i4[8,8] random(4, -8..7)
  %k.s = constant f32[2,8] fill(0.1)
  %q: u8[1,8,8,8] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,8,8,8] = DequantizeLinear(%q, %s, %z)
  %w: f32[8,8,3,3] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0}
  %b: f32[8] = DequantizeLinear(%b.q, %s)
  %c: f32[1,8,8,8] = Conv(%a, %w, %b) {pads=[1,1,1,1]}
  %m: f32[1,8,8,8] = BatchNormalization(%c, %n, %n, %n, %n)
  %r: f32[1,8,8,8] = Relu(%m)
  %j: f32[1,16,8,8] = Concat(%r, %a) {axis=1}
  %f: f32[1,8,8,8] = com.microsoft.FusedConv(%r, %w) {activation="Relu", pads=[1,1,1,1]}
  %l: f32[8,8] = DequantizeLinear(%k, %k.s) {axis=0, block_size=4}
  %t: f32[1,8,8,8] = MatMul(%f, %l)
  %y: f32[1,8,8,8] = Add(%t, %r)"""
SHAPES = ((), (1,), (2,), (3, 2), (0,), (1, 1, 1))
TYPES = (np.float32, np.int8, np.uint8, np.int64, np.float16, np.int32, np.bool_)
KINDS = ("Conv", "MatMul", "Relu", "Concat", "QuantizeLinear", "DequantizeLinear", "If", "Foo")


def damaged(rng: random.Random) -> ModelProto:
    """Break a few places: operands, attributes, constants, operators, domains."""
    model = to_model(parse_text(SOUND))
    for _ in range(rng.randint(1, 3)):
        node = rng.choice(model.graph.node)
        what = rng.randrange(8)
        if what == 0 and node.input:
            del node.input[rng.randrange(len(node.input)) :]
        elif what == 1 and node.input:
            node.input[rng.randrange(len(node.input))] = ""
        elif what == 2 and node.attribute:
            del node.attribute[rng.randrange(len(node.attribute))]
        elif what == 3:
            tensor = rng.choice(model.graph.initializer)
            array = np.ones(rng.choice(SHAPES), rng.choice(TYPES))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        elif what == 4:
            node.op_type = rng.choice(KINDS)
        elif what == 5:
            node.domain = rng.choice(("", "com.microsoft", "own"))
        elif what == 6:
            for attr in node.attribute:
                if attr.type == onnx.AttributeProto.INT:
                    attr.i = rng.choice((-99, -1, 0, 7, 1 << 40))
                elif attr.type == onnx.AttributeProto.INTS:
                    attr.ints[:] = [rng.choice((-1, 0, 5, 1 << 40)) for _ in range(3)]
        elif node.input:
            node.input[0] = rng.choice([tensor.name for tensor in model.graph.initializer])
    return model


def check(seed: int) -> None:
    rng = random.Random(seed)
    model = damaged(rng)
    try:
        graph = from_model(model)
    except SlimcError:
        return
    for name in rng.sample(list(NAMES.targets), 5):
        subject = Subject(graph, NAMES.ops, NAMES.target(name), FileHeader(21, model.ir_version))
        judge(subject)
        mend(subject, ())


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 2500))
def test_many_damaged_files(seed: int) -> None:
    check(seed)
