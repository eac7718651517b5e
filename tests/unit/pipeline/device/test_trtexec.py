"""What trtexec measured is charged to the nodes that its layers are made of.

The files have the form of those in NVIDIA/TensorRT, tools/experimental/trt-engine-explorer:
resnet.onnx.engine.profile.json and .graph.json (A100, fp16 and Q/DQ), mobilenet.qat.onnx (PWN);
ranges as in issue 3768; separators of Metadata as TensorRT 10 writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.shapes import infer
from slimc.analysis.workload import steps
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.device.trtexec import (
    Layer,
    from_qdq,
    nodes_of,
    profile_of_files,
    read_layers,
    step_seconds,
)

TEXT = """
graph (%x: f32[1,16,8,8]) -> (%y)
  %wa = constant f32[16,16,3,3] random(0)
  %wb = constant f32[16,16,3,3] random(1)
  %wc = constant f32[16,10] random(2)
  %flat = constant i64[2] [1, 16]
  %a: f32[1,16,8,8] = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @Conv_0
  %r: f32[1,16,8,8] = Relu(%a) @Relu_1
  %b: f32[1,16,8,8] = Conv(%r, %wb) {pads=[1, 1, 1, 1]} @Conv_2
  %s: f32[1,16,8,8] = Add(%b, %r) @Add_3
  %g: f32[1,16,8,8] = Sigmoid(%s) @"/act/Sigmoid"
  %m: f32[1,16,8,8] = Mul(%s, %g) @"/act/Mul"
  %p: f32[1,16,1,1] = GlobalAveragePool(%m) @"GlobalAveragePool_4"
  %f: f32[1,16] = Reshape(%p, %flat) @Reshape_5
  %y: f32[1,10] = MatMul(%f, %wc) @MatMul_6
"""
GRAPH = parse_text(TEXT)
KNOWN = {node.name: node.name for node in GRAPH.nodes}


def nodes(name: str, *said: str, graph: Graph = GRAPH) -> tuple[str, ...]:
    return nodes_of(Layer(name, said, 0.0), graph, KNOWN)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Conv_0 + Relu_1", ("Conv_0", "Relu_1")),
        ("Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1", ("Conv_0", "Relu_1")),
        ("Reformatting CopyNode for Output Tensor 0 to Conv_2 + Add_3", ("Conv_2", "Add_3")),
        ("conv1.weight + QuantizeLinear_7 + Conv_2 + Add_3", ("Conv_2", "Add_3")),
        ("PWN(PWN(/act/Sigmoid), PWN(/act/Mul))", ("/act/Sigmoid", "/act/Mul")),
        ("PWN(/act/Sigmoid, /act/Mul)", ("/act/Sigmoid", "/act/Mul")),
        ("Conv_2 + PWN(/act/Mul)", ("Conv_2", "/act/Mul")),
        ("MatMul_6 + fc.bias + (Unnamed Layer* 35) [Shuffle]", ("MatMul_6",)),
        ("Conv_0 input reformatter 0", ("Conv_0",)),
        ("{Conv_0,Relu_1,Conv_2}", ("Conv_0", "Relu_1", "Conv_2")),
        ("{ForeignNode[Conv_2.../act/Mul]}", ("Conv_2", "Add_3", "/act/Sigmoid", "/act/Mul")),
        ("{ForeignNode[fc.bias...Conv_2]}", ("Conv_0", "Relu_1", "Conv_2")),
        ("{ForeignNode[(Unnamed Layer* 3) [Shuffle]...Reshape_5 + MatMul_6]}", tuple(KNOWN)),
        ("reshape_after_Gemm_48", ()),
    ],
)
def test_names_of_layers_tell_their_nodes(name: str, wanted: tuple[str, ...]) -> None:
    assert nodes(name) == wanted


def test_layer_information_says_it_better() -> None:
    assert nodes("__myl_ConvRelu_myl0_1", "Conv_0", "Relu_1", "gone") == ("Conv_0", "Relu_1")


def test_layers_without_nodes_go_to_the_next_and_a_joint_one_is_shared_out() -> None:
    found = steps(couple(GRAPH, OPS, infer(GRAPH, OPS)))
    names = [step.node.name for step in found]
    layers = [
        Layer("reshape_before", (), 1.0),
        Layer("Conv_0 + Relu_1", (), 2.0),
        Layer("{ForeignNode[Conv_2...MatMul_6]}", (), 8.0),
        Layer("copied_squeeze_after", (), 1.0),
    ]
    expected = [float(name in ("Conv_2", "MatMul_6")) for name in names]
    taken, share = step_seconds(GRAPH, found, layers, expected)
    seconds = dict(zip(names, taken, strict=True))
    assert seconds["Conv_0"] == pytest.approx(3.0)
    assert seconds["Conv_2"] == seconds["MatMul_6"] == pytest.approx(4.5)
    assert sum(taken) == pytest.approx(12.0)
    assert share == pytest.approx(10 / 12)


def times(path: Path, layers: dict[str, float]) -> Path:
    rows = [
        {"name": name, "timeMs": 9 * ms, "averageMs": 2 * ms, "medianMs": ms, "percentage": 1.0}
        for name, ms in layers.items()
    ]
    path.write_text(json.dumps([{"count": 9}, *rows]))
    return path


def test_files_are_read(tmp_path: Path) -> None:
    file = times(tmp_path / "t.json", {"Conv_0 + Relu_1": 0.25, "__myl_1": 0.5})
    about = tmp_path / "l.json"
    text = "[ONNX Layer: Conv_2]\x1f[ONNX Layer: /act/x[0]/Mul]\x1e[ONNX Layer: Add_3]"
    rows = [{"Name": "__myl_1", "LayerType": "kgen", "Metadata": text}, "Conv_0 + Relu_1"]
    about.write_text(json.dumps({"Layers": rows, "Bindings": ["x", "y"]}))
    assert read_layers(file, None)[0] == Layer("Conv_0 + Relu_1", (), 0.25e-3)
    assert read_layers(file, about)[1].nodes == ("Conv_2", "/act/x[0]/Mul", "Add_3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "starts with the number of runs"),
        ('[{"count": 1}, {"name": "a"}]', "'averageMs' is missing"),
        ('[{"count": 1}, {"name": "a", "averageMs": -1}]', "takes -1 ms"),
        ('[{"count": 1}, {"name": 3, "averageMs": 1}]', "layer 3"),
        ('[{"count": 1}, 3]', "not subscriptable"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_other_files_are_one_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(SlimcError) as raised:
        read_layers(tmp_path / "t.json", None)
    assert (raised.value.name, said in raised.value.message) == ("bad-layer-times", True)


def test_layer_information_without_nodes_is_an_error(tmp_path: Path) -> None:
    file = times(tmp_path / "t.json", {"Conv_0": 1.0})
    (tmp_path / "l.json").write_text('{"Layers": ["Conv_0"], "Bindings": []}')
    with pytest.raises(SlimcError, match="profilingVerbosity=detailed"):
        read_layers(file, tmp_path / "l.json")


MANY = "\n".join(
    [
        "graph (%v0: f32[1,16,8,8]) -> (%v12)",
        *(f"  %w{i} = constant f32[16,16,3,3] random({i})" for i in range(12)),
        *(
            f"  %v{i + 1}: f32[1,16,8,8] = Conv(%v{i}, %w{i}) {{pads=[1, 1, 1, 1]}} @Conv_{i}"
            for i in range(12)
        ),
    ]
)


def test_a_profile_of_a_device_predicts_what_was_measured_there(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text(MANY)
    file = times(tmp_path / "t.json", {f"Conv_{i}": 0.5 for i in range(12)})
    made = profile_of_files([tmp_path / "net.txt"], [file], target="jetson", device="Orin")
    assert (made.device, made.runtime, made.target) == ("Orin", "tensorrt", "jetson-orin")
    graph = parse_text(MANY)
    found = steps(couple(graph, OPS, infer(graph, OPS)))
    assert len(found) == 12
    rates = made.classes["convolution"].rates
    macs = 16 * 16 * 9 * 64
    moved = 4 * (2 * 16 * 64 + 16 * 16 * 9)
    seconds = rates.mac * macs + rates.moved * moved + rates.visit * 9 * 64 + rates.fixed
    assert seconds == pytest.approx(0.5e-3, rel=1e-3)
    assert made.notes == ("net: 100 % of the time is of layers named after nodes",)


def test_times_of_another_model_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text(MANY)
    file = times(tmp_path / "t.json", {"Conv_0": 0.1, "/model.0/conv": 0.5})
    with pytest.raises(SlimcError) as raised:
        profile_of_files([tmp_path / "net.txt"], [file], target="jetson")
    assert raised.value.name == "layers-unknown"


def test_times_of_tensorrt_are_of_no_other_runtime(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="trtexec measures TensorRT"):
        profile_of_files([tmp_path / "net.txt"], [tmp_path / "t.json"], target="cpu-vnni")


def test_a_file_with_qdq_is_counted_as_integers() -> None:
    text = """
graph (%x: f32[1,16,8,8]) -> (%y)
  %w = constant i8[16,16,3,3] random(0)
  %s = constant f32[] 0.1
  %z = constant i8[] 0
  %xq: i8[1,16,8,8] = QuantizeLinear(%x, %s, %z) @q
  %xd: f32[1,16,8,8] = DequantizeLinear(%xq, %s, %z) @dq
  %wd: f32[16,16,3,3] = DequantizeLinear(%w, %s, %z) @wdq
  %y: f32[1,16,8,8] = Conv(%xd, %wd) {pads=[1, 1, 1, 1]} @conv
"""
    graph = from_qdq(parse_text(text), OPS)
    (step,) = steps(couple(graph, OPS, infer(graph, OPS)))
    assert (step.work, step.node.name) == ("integer convolution", "conv")
    assert graph.records.keys() == {"x", graph.nodes[0].inputs[1]}
    assert from_qdq(GRAPH, OPS) is GRAPH
