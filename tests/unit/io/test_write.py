from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper

from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.io import write as writing
from slimc.io.read import from_bytes, from_model, read
from slimc.io.write import to_bytes, to_bytes_without_weights, to_model, write
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType, SequenceType, TensorType

NET = """graph @net (%x: f32[N,64]) -> (%y)
  %w = constant f32[64,64] random(0)
  %b = constant f32[64] random(1)
  %z: f32[N,64] = Gemm(%x, %w, %b) @gemm
  %y: f32[N,64] = Relu(%z) @relu
"""


def feeds() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)}


def same_graph(one: Graph, other: Graph) -> bool:
    return to_text(one) == to_text(other)


def test_what_is_written_reads_back() -> None:
    graph = parse_text(NET)
    again = from_bytes(to_bytes(graph))
    assert same_graph(again, replace(graph, metadata={"onnx.producer_name": "slimc"}))
    onnx.checker.check_model(to_model(graph), full_check=True)


def test_bytes_are_the_same_every_time() -> None:
    assert to_bytes(parse_text(NET)) == to_bytes(parse_text(NET))


def test_the_opset_is_the_lowest_that_does() -> None:
    def opset(op: str) -> int:
        graph = parse_text(f"graph (%x: f32[2]) -> (%y)\n  %y: f32[2] = {op}(%x)")
        return to_model(graph).opset_import[0].version

    assert opset("Relu") == 17
    assert opset("Mish") == 18
    assert opset("Gelu") == 20
    assert opset("Swish") == 24


def test_the_opset_follows_from_types_too() -> None:
    text = "graph (%x: bf16[2]) -> (%y)\n  %y: bf16[2] = Elu(%x)"
    assert to_model(parse_text(text)).opset_import[0].version == 22


def test_the_ir_version_is_the_lowest_that_the_opset_allows() -> None:
    graph = parse_text(NET)
    assert to_model(graph).ir_version == 8
    assert to_model(graph, 13).ir_version == 7
    assert to_model(graph, 28).ir_version == onnx.IR_VERSION
    assert to_model(graph, ir_version=9).ir_version == 9


def test_opsets_that_cannot_be_written() -> None:
    for opset in (12, 29):
        with pytest.raises(SlimcError, match="opset-out-of-range"):
            to_bytes(parse_text(NET), opset)


def test_notes_and_metadata_go_where_they_came_from() -> None:
    made = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 17]> net (float[N] x) => (float[N] y)'
        " { z = Relu(x) y = Add(z, w) }"
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "w"))
    made.producer_name, made.producer_version, made.domain = "pytorch", "2.9", "org.me"
    made.model_version, made.doc_string, made.graph.doc_string = 3, "model", "graph"
    made.metadata_props.add(key="author", value="me")
    made.graph.metadata_props.add(key="exported", value="yes")
    for proto in (made.graph.node[0], made.graph.input[0], made.graph.output[0],
                  made.graph.initializer[0]):  # fmt: skip
        proto.doc_string = "doc"
        proto.metadata_props.add(key="scope", value="head")
    made.graph.input[0].type.denotation = "IMAGE"
    made.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    made.graph.value_info.append(helper.make_tensor_value_info("z", 1, ["N"]))
    made.graph.value_info[0].metadata_props.add(key="scope", value="inner")
    again = to_model(from_model(made))
    made.graph.node[0].name, made.graph.node[1].name = "z", "y"
    for node in made.graph.node:
        node.domain = ""
    made.ir_version = again.ir_version
    assert again == made


def test_kinds_of_attributes_survive() -> None:
    made = helper.make_node("Op", ["x"], ["y"], domain="mine", i=1, f=0.1, s=b"\xff", ints=[1, 2],
                            floats=[0.1], strings=["a"])  # fmt: skip
    tensor = onnx.numpy_helper.from_array(np.ones(2, np.float32))
    kinds = {
        "none_i": ([], AttributeProto.INTS),
        "none_f": ([], AttributeProto.FLOATS),
        "none_s": ([], AttributeProto.STRINGS),
        "none_t": ([], AttributeProto.TENSORS),
        "none_g": ([], AttributeProto.GRAPHS),
        "t": (tensor, AttributeProto.TENSOR),
        "tensors": ([tensor, tensor], AttributeProto.TENSORS),
        "type": (helper.make_tensor_type_proto(1, [2]), AttributeProto.TYPE_PROTO),
        "g": (helper.make_graph([], "g", [], []), AttributeProto.GRAPH),
    }
    for key, (value, kind) in kinds.items():
        made.attribute.append(helper.make_attribute(key, value, attr_type=kind))
    inputs = [helper.make_tensor_value_info("x", 1, [1])]
    outputs = [helper.make_tensor_value_info("y", 1, [1])]
    model = helper.make_model(
        helper.make_graph([made], "net", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )
    again = to_model(from_model(model)).graph.node[0]
    assert {a.name: a for a in again.attribute} == {a.name: a for a in made.attribute}


def test_the_schema_decides_what_a_number_is() -> None:
    node = Node("Elu", ("x",), ("y",), "elu", {"alpha": 1})
    types = {v: TensorType(DType.F32, (2,)) for v in "xy"}
    graph = Graph("g", ("x",), ("y",), (node,), types=types)
    (attribute,) = to_model(graph).graph.node[0].attribute
    assert attribute.type == AttributeProto.FLOAT
    assert attribute.f == 1.0


def test_sequences_keep_their_types() -> None:
    text = "graph (%x: f32[2]) -> (%y)\n  %y: seq<f32[2]> = SequenceConstruct(%x)"
    again = from_bytes(to_bytes(parse_text(text)))
    assert again.type_of("y") == SequenceType(TensorType(DType.F32, (2,)))


def test_a_file_takes_its_place_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    write(parse_text(NET), path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR
    assert same_graph(read(path), from_bytes(to_bytes(parse_text(NET))))


def test_a_failed_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"before")
    with pytest.raises(SlimcError):
        write(parse_text(NET), path, opset=5)
    with pytest.raises(SlimcError, match="unwritable"):
        write(parse_text(NET), tmp_path / "none" / "net.onnx")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_weights_in_a_data_file(tmp_path: Path) -> None:
    graph = parse_text(NET)
    path = tmp_path / "net.onnx"
    write(graph, path, external=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 2000
    again = read(path)
    assert run(again, feeds())["y"].tolist() == run(graph, feeds())["y"].tolist()
    onnx.checker.check_model(path)
    # written over itself, while its constants are mapped from the file
    write(again, path, external=True)
    assert run(read(path), feeds())["y"].tolist() == run(graph, feeds())["y"].tolist()


def test_constants_of_bodies_and_small_elements_in_a_data_file(tmp_path: Path) -> None:
    text = """graph (%c: bool[], %x: f32[2048]) -> (%y)
  %w = constant i4[4096] random(0)
  %d: i8[4096] = Cast(%w) {to=3}
  %y: f32[2048] = If(%c)
    then_branch = graph () -> (%r)
      %k = constant f32[2048] random(1)
      %r: f32[2048] = Mul(%x, %k)
    else_branch = graph () -> (%s)
      %s: f32[2048] = Relu(%x)
"""
    graph = replace(parse_text(text), outputs=("y", "d"))
    path = tmp_path / "net.onnx"
    write(graph, path, external=True)
    assert path.stat().st_size < 3000
    given = {"c": np.array(True), "x": np.ones(2048, np.float32)}
    wanted, got = run(graph, given), run(read(path), given)
    assert all((wanted[o] == got[o]).all() for o in graph.outputs)


def test_what_no_file_can_hold_goes_into_a_data_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PROTO_LIMIT_BYTES", 4096)
    with pytest.raises(SlimcError, match="model-too-large"):
        to_bytes(parse_text(NET))
    write(parse_text(NET), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").exists()


def test_weights_beside_the_bytes() -> None:
    data, weights = to_bytes_without_weights(parse_text(NET))
    assert len(data) < 1000
    assert list(weights) == ["w"]
    assert isinstance(weights["w"], Constant)


def test_rights_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(parse_text(NET), tmp_path / "net.onnx")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "net.onnx").stat().st_mode) == 0o640


def test_a_link_into_another_folder_takes_no_data_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "latest.onnx"
    link.symlink_to("real/net.onnx")
    with pytest.raises(SlimcError, match="a link into another folder") as caught:
        write(parse_text(NET), link, external=True)
    assert caught.value.name == "unwritable"
    assert list((tmp_path / "real").iterdir()) == []
    link.unlink()
    link.symlink_to("net.onnx")  # in its own folder both names find the data
    write(parse_text(NET), link, external=True)
    for name in (link, tmp_path / "net.onnx"):
        assert run(read(name), feeds())["y"].tolist() == run(parse_text(NET), feeds())["y"].tolist()
