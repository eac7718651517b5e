from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from slimc.errors import SlimcError
from slimc.io.named import copy_with_names
from slimc.io.read import read
from slimc.io.write import write
from slimc.ir.text import parse_text

CHAIN = """graph (%x: f32[2]) -> (%y)
  %a: f32[2] = Relu(%x) @one
  %b: f32[2] = Neg(%a) @two
  %y: f32[2] = Abs(%b) @three"""


def renamed(path: Path, names: list[str]) -> Path:
    write(parse_text(CHAIN), path)
    model = onnx.load(str(path))
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["", "", ""], ["a", "b", "y"]),
        (["b", "", "b"], ["b", "b_1", "b_2"]),
        (["n", "n", "n_1"], ["n", "n_2", "n_1"]),
    ],
)
def test_every_node_has_a_name_of_its_own(
    names: list[str], wanted: list[str], tmp_path: Path
) -> None:
    file = renamed(tmp_path / "model.onnx", names)
    (tmp_path / "copy").mkdir()
    copy = copy_with_names(file, tmp_path / "copy")
    assert copy != file
    assert [node.name for node in read(copy).nodes] == wanted
    assert [node.name for node in onnx.load(str(file)).graph.node] == names


@pytest.mark.parametrize("place", ["w.data", "../home/w.data", "{home}/w.data"])
def test_data_files_come_along(tmp_path: Path, place: str) -> None:
    """A path that leaves the folder and comes back is no way out of the folder of the copy."""
    text = """graph (%x: f32[2]) -> (%y)
  %w = constant f32[2] random(0)
  %y: f32[2] = Add(%x, %w)"""
    home, folder = tmp_path / "home", tmp_path / "deep" / "copy"
    home.mkdir()
    folder.mkdir(parents=True)
    file = home / "model.onnx"
    write(parse_text(text), file)
    model = onnx.load(str(file))
    model.graph.node[0].name = ""
    onnx.save(model, str(file), save_as_external_data=True, location="w.data", size_threshold=0)
    model = onnx.load(str(file), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = place.format(home=home)
    onnx.save(model, str(file))
    copy = copy_with_names(file, folder)
    assert copy.parent == folder
    assert sorted(one.name for one in folder.iterdir()) == ["model.onnx", "w.data"]
    assert [one.name for one in folder.parent.iterdir()] == ["copy"]
    array = read(copy).array("w")
    assert array is not None
    assert (array == parse_text(text).array("w")).all()


def test_a_file_with_names_stays_where_it_is(tmp_path: Path) -> None:
    file = renamed(tmp_path / "model.onnx", ["one", "two", "three"])
    assert copy_with_names(file, tmp_path / "nowhere") == file


def test_data_files_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    home, folder = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    folder.mkdir()
    file = renamed(home / "model.onnx", ["", "", ""])
    model = onnx.load(str(file))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    model.graph.initializer.append(tensor)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(SlimcError, match="is outside the model's folder"):
        copy_with_names(file, folder)
    assert list(folder.iterdir()) == []
