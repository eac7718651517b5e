"""Files that are written are told apart from each other and from what is read."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from slimc.errors import SlimcError
from slimc.io.places import Input, Output, check_places, model_inputs, sample_inputs
from slimc.io.write import replace_file


def refusal(outputs: list[Output], inputs: list[Input] | None = None) -> SlimcError:
    with pytest.raises(SlimcError) as caught:
        check_places(outputs, inputs or [])
    return caught.value


def test_files_that_differ_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    check_places([Output(tmp_path / "a"), Output(tmp_path / "b")], [("the model", tmp_path / "c")])


def test_nothing_that_is_read_is_looked_at_before_an_output_exists(tmp_path: Path) -> None:
    looked_at: list[str] = []
    inputs = (looked_at.append("x") or ("the model", tmp_path / "x") for _ in range(1))
    check_places([Output(tmp_path / "a")], inputs)
    assert looked_at == []


def test_one_output_of_two_options(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    other = tmp_path / "sub" / ".." / "r.json"
    error = refusal([Output(tmp_path / "r.json", "-o"), Output(other, "--report")])
    assert (error.name, error.where) == ("output-overwritten", "option -o and --report")


def test_links_and_hard_links_are_followed(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(b"model")
    (tmp_path / "link").symlink_to(model)
    (tmp_path / "hard").hardlink_to(model)
    for name in ("link", "hard"):
        error = refusal([Output(tmp_path / name, "-o")], [("the model", model)])
        assert (error.name, error.where) == ("input-overwritten", "option -o")
        assert "would overwrite an input: the model" in error.message
    (tmp_path / "ahead").symlink_to(tmp_path / "none")  # of a file that is not there yet
    assert refusal([Output(tmp_path / "ahead"), Output(tmp_path / "none")])


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    (path.mkdir if kind == "folder" else lambda: os.mkfifo(path))()
    mode = path.stat().st_mode
    assert refusal([Output(path, "-o")]).name == "unwritable"
    with pytest.raises(SlimcError, match="unwritable"), replace_file(path):
        pass
    assert path.stat().st_mode == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_not_replaced() -> None:
    assert "device" in refusal([Output(Path(os.devnull), "-o")]).message


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "v2.onnx"
    link = tmp_path / "latest.onnx"
    link.symlink_to(target)
    for text in (b"first", b"second"):
        with replace_file(link) as file:
            file.write(text)
        assert (link.is_symlink(), target.read_bytes()) == (True, text)
    assert [path.name for path in target.parent.iterdir()] == ["v2.onnx"]


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(
        name=name, dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_data_files_of_a_model_are_found_wherever_tensors_stand(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("r", TensorProto.FLOAT, [4])
    constant = helper.make_node("Constant", [], ["r"], value=external("", "attribute.bin"))
    inner = helper.make_graph([constant], "body", [], [value], [external("k", "body.bin")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([branch], "g", [], [value], [external("w", "top.bin")])
    function = helper.make_function(
        "f", "F", [], ["r"], [helper.make_node("Constant", [], ["r"], value=external("", "f.bin"))],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    names = ["net.onnx", "attribute.bin", "body.bin", "f.bin", "top.bin"]
    assert [place.name for _, place in model_inputs(path)] == names
    assert onnx.load(path, load_external_data=False).graph.name == "g"


def test_a_file_that_is_no_model_has_no_data_files(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text("graph (%x: f32[2]) -> (%x)\n")
    for name in ("net.txt", "none.onnx"):
        assert list(model_inputs(tmp_path / name)) == [("the model", tmp_path / name)]


def test_samples_are_a_file_or_those_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"")
    assert list(sample_inputs(tmp_path)) == [("a sample file", tmp_path / "a.npz")]
    assert list(sample_inputs(tmp_path / "a.npz")) == list(sample_inputs(tmp_path))
