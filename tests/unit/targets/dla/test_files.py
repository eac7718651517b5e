"""The calibration cache and the arguments of trtexec say what the records say."""

from __future__ import annotations

import struct
from dataclasses import replace

from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.targets.dla.files import awkward, calibration_cache, scales, trtexec_arguments

NET = """graph (%x: f32[1,2,4,4]) -> (%y, %n)
  form quantized
  %x quantized i8 scale=0.02
  %w = constant f32[2,2,1,1] [0.5, 0.26, -0.1, 0.02]
  %w quantized i8 axis=0 scale=[0.00393701, 0.0008]
  %h = constant f32[1] -2.54
  %c: f32[1,2,4,4] = Conv(%x, %w) @conv integer
  %c quantized i8 scale=0.01
  %m: f32[1,2,4,4] = Mul(%c, %h) @half
  %m quantized i8 scale=0.005
  %y: f32[1,2,4,4] = Tanh(%m) @tanh
  %y quantized i8 scale=0.00787402
  %n: i64[4] = Shape(%y) @shape"""


def net() -> Graph:
    return parse_text(NET)


def test_a_line_for_every_tensor_but_weights_and_integers() -> None:
    text = calibration_cache(8600)(net())
    head, *lines = text.splitlines()
    assert head == "TRT-8600-EntropyCalibration2"
    found = {}
    for line in lines:
        name, number = line.rsplit(": ", 1)
        assert len(number) == 8
        (found[name],) = struct.unpack(">f", bytes.fromhex(number))
    assert list(found) == ["x", "c", "m", "y", "h"]
    assert {name: round(scale, 6) for name, scale in found.items()} == {
        "x": 0.02, "c": 0.01, "m": 0.005, "y": 0.007874, "h": 0.02
    }  # fmt: skip
    assert text.endswith("\n")


def test_a_constant_that_shares_a_range_has_that() -> None:
    record = net().records["c"]
    graph = replace(net(), records={**net().records, "h": record})
    assert scales(graph)["h"] == float(record.scale)


def test_the_known_hex_of_a_scale() -> None:
    # 1/127 as TensorRT writes it: bytes of 0x3c010204.
    graph = replace(net(), records={"x": replace(net().records["x"], scale=(1 / 127))})
    assert "x: 3c010204\n" in calibration_cache(8600)(graph)


def test_without_records_there_is_no_cache() -> None:
    plain = replace(net(), records={})
    assert calibration_cache(8600)(plain) == ""
    assert scales(plain) == {}
    assert trtexec_arguments(plain) == "--fp16 --useDLACore=0 --allowGPUFallback\n"


def test_layers_in_floats_are_listed() -> None:
    assert trtexec_arguments(net()) == (
        "--int8 --fp16 --useDLACore=0 --allowGPUFallback --precisionConstraints=obey "
        "--layerPrecisions=half:fp16,tanh:fp16\n"
    )
    nodes = tuple(replace(node, integer=True) for node in net().nodes)
    assert "layerPrecisions" not in trtexec_arguments(replace(net(), nodes=nodes))


def test_names_that_arguments_cannot_hold() -> None:
    assert awkward("/model.0/conv/Conv:0") == ""
    assert awkward("a,b") == ","
    assert awkward("a b") == " "
    nodes = tuple(replace(n, name="a,b") if n.name == "half" else n for n in net().nodes)
    assert "--layerPrecisions=tanh:fp16\n" in trtexec_arguments(replace(net(), nodes=nodes))
