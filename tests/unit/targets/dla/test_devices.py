"""For DLA one compile makes a model in floats, the ranges of all its tensors, and arguments."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import slimc
from slimc.cli import main
from slimc.execute.ort import Session, run
from slimc.ops import OPS
from slimc.passes.lower.insert_qdq import as_computed
from slimc.pipeline.compiler import Compiled
from slimc.targets.dla.devices import JETSON_ORIN_DLA

DEMO = Path(slimc.__file__).parent / "demo"
SHAPE = {"x": "1x1x32x32"}
PASSES = "fuse-bias,assign-scales{samples=16}"


def cache_of(path: Path) -> dict[str, float]:
    """Parse a calibration cache as TensorRT does: name, colon, bytes of a f32 from the highest."""
    head, *lines = path.read_text().splitlines()
    assert head == "TRT-8600-EntropyCalibration2"
    pairs = (line.rsplit(": ", 1) for line in lines)
    return {name: struct.unpack(">f", bytes.fromhex(number))[0] for name, number in pairs}


def samples(part: str, count: int) -> np.ndarray:
    """Return images of the demo as the network takes them."""
    images = np.load(DEMO / "samples.npz")[part][:count, None]
    scaled: np.ndarray = (images.astype(np.float32) - 127.5) / 64
    return scaled


@pytest.fixture(scope="module")
def calib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calib")
    np.savez(folder / "0.npz", x=samples("calibration", 24))  # more than the batch of the graph
    return folder


@pytest.fixture(scope="module")
def made(calib: Path) -> Compiled:
    return slimc.compile(DEMO / "glyphs.onnx", PASSES, "jetson-orin-dla", calib, shape=SHAPE)


@pytest.fixture(scope="module")
def files(made: Compiled, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return made.save(tmp_path_factory.mktemp("dla") / "glyphs.onnx")


def test_every_tensor_has_a_positive_scale(files: tuple[Path, ...]) -> None:
    model = onnx.load(files[0])
    scales = cache_of(files[1])
    floats = {one.name for one in model.graph.input}
    floats |= {value for node in model.graph.node for value in node.output}
    assert floats <= scales.keys()
    assert all(0 < scale < np.inf for scale in scales.values())


def test_the_file_is_plain_floats_for_tensorrt_8_6(files: tuple[Path, ...]) -> None:
    model = onnx.load(files[0])
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in model.graph.node}
    assert {one.domain: one.version for one in model.opset_import}[""] <= 17
    types = {one.data_type for one in model.graph.initializer}
    assert types == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


def test_weights_are_numbers_that_tensorrt_rounds_to(files: tuple[Path, ...]) -> None:
    model = onnx.load(files[0])
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = [arrays[n.input[1]] for n in model.graph.node if n.op_type == "Conv"]
    assert len(weights) == 8
    for w in weights:
        scale = np.abs(w).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
        np.testing.assert_allclose(np.rint(w / scale) * scale, w, rtol=1e-6)


def test_arguments_name_what_computes_in_floats(made: Compiled, files: tuple[Path, ...]) -> None:
    words = files[2].read_text().split()
    assert words[:5] == [
        "--int8", "--fp16", "--useDLACore=0", "--allowGPUFallback", "--precisionConstraints=obey"
    ]  # fmt: skip
    (listed,) = [word.removeprefix("--layerPrecisions=") for word in words[5:]]
    names = {one.rsplit(":", 1)[0] for one in listed.split(",")}
    assert names == {node.name for node in made.graph.nodes if not node.integer}


def test_agreement_is_that_of_the_integers(made: Compiled) -> None:
    (one,) = made.report.agreement
    assert 15 < one.sqnr_db < 60  # floats alone agree up to 1e-5: 100 dB
    assert made.report.integer_intended == 8
    assert made.report.integer_achieved is None
    assert made.report.integer_float == ()
    computed = as_computed(made.graph, OPS, JETSON_ORIN_DLA)
    x = samples("test", 1)
    exact = run(slimc.load(DEMO / "glyphs.onnx"), {"x": x})["logits"]
    off = run(computed, {"x": x})["logits"] - exact
    assert 0 < np.square(off).sum() < 0.05 * np.square(exact).sum()


def test_the_cache_alone_describes_the_same_integers(
    made: Compiled, files: tuple[Path, ...]
) -> None:
    """Put Q and DQ with the scales of the cache around every tensor of the file, and run it."""
    model, scales = onnx.load(files[0]), cache_of(files[1])
    helper, numpy = onnx.helper, onnx.numpy_helper
    zero = numpy.from_array(np.array(0, np.int8), "zero")
    model.graph.initializer.append(zero)
    nodes, ends = [], {one.name for one in model.graph.output}
    renamed: dict[str, str] = {}

    def quantized(value: str) -> None:
        scale = numpy.from_array(np.array(scales[value], np.float32), f"{value}.s")
        model.graph.initializer.append(scale)
        pair = [scale.name, "zero"]
        nodes.append(helper.make_node("QuantizeLinear", [value, *pair], [f"{value}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{value}.q", *pair], [f"{value}.d"]))
        renamed[value] = f"{value}.d"

    for one in model.graph.input:
        quantized(one.name)
    for node in model.graph.node:
        inputs = [renamed.get(value, value) for value in node.input]
        del node.input[:]
        node.input.extend(inputs)
        nodes.append(node)
        for value in node.output:
            if value not in ends:
                quantized(value)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    computed = as_computed(made.graph, OPS, JETSON_ORIN_DLA)
    exact = Session(computed, fuse_integers=False, optimize=False)
    for i in range(4):
        x = samples("test", 4)[i : i + 1]
        (by_cache,) = session.run(None, {"x": x})
        ours = exact.run({"x": x})["logits"]
        np.testing.assert_allclose(by_cache, ours, atol=1e-5)  # scales of the same f32


def test_without_quant_floats_stay_what_they_are(tmp_path: Path) -> None:
    made = slimc.compile(DEMO / "glyphs.onnx", "", "jetson-orin-dla", shape=SHAPE)
    files = made.save(tmp_path / "glyphs.onnx")
    assert [one.name for one in files] == ["glyphs.onnx", "glyphs.trtexec.txt"]
    assert files[1].read_text() == "--fp16 --useDLACore=0 --allowGPUFallback\n"
    x = samples("test", 1)
    wanted = run(slimc.load(DEMO / "glyphs.onnx"), {"x": x})["logits"]
    found = run(slimc.load(files[0]), {"x": x})["logits"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)  # sums in another order


def test_layers_kept_in_floats_are_listed() -> None:
    passes = 'assign-scales{samples=8,keep=["node_linear","node_conv2d_3"]}'
    made = slimc.compile(DEMO / "glyphs.onnx", passes, "jetson-orin-dla", shape=SHAPE)
    text = next(one for one in JETSON_ORIN_DLA.companions if "trtexec" in one.suffix)
    words = text.make(made.graph)
    assert "node_conv2d_3:fp16," in words
    assert "node_linear:fp16," in words  # a convolution now, by the name of the user's Gemm
    assert made.report.integer_intended == 6
    assert made.report.integer_float == ("node_conv2d_3", "node_linear")


def test_sizes_must_be_numbers() -> None:
    with pytest.raises(slimc.SlimcError) as error:
        slimc.compile(DEMO / "glyphs.onnx", "assign-scales", "jetson-orin-dla")
    assert error.value.name == "target-refuses"
    assert "--shape x=1x1x32x32" in error.value.help


def test_one_command_writes_all(
    calib: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*more: object) -> str:
        words = [DEMO / "glyphs.onnx", "--passes", PASSES, "--target", "jetson-orin-dla"]
        words += ["--calib", calib, "--shape", "x=1x1x32x32", "-o", tmp_path / "g.onnx", *more]
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        assert not left.value.code
        return capsys.readouterr().out.replace("\n", "")

    assert "nothing written" in call("--dry-run")
    assert list(tmp_path.iterdir()) == []
    out = call("--report", tmp_path / "r.json")
    names = ["g.calib.cache", "g.onnx", "g.trtexec.txt", "r.json"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert all(name in out for name in names[:3])
    digests = json.loads((tmp_path / "r.json").read_text())["digests"]
    assert {"output", "output.calib.cache", "output.trtexec.txt"} <= digests.keys()
