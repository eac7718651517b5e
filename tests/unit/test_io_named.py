from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from slimc.io.named import named_copy
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
    copy = named_copy(file, tmp_path / "copy")
    assert copy != file
    assert [node.name for node in read(copy).nodes] == wanted
    assert [node.name for node in onnx.load(str(file)).graph.node] == names


def test_data_files_come_along(tmp_path: Path) -> None:
    text = """graph (%x: f32[2]) -> (%y)
  %w = constant f32[2] random(0)
  %y: f32[2] = Add(%x, %w)"""
    file = tmp_path / "model.onnx"
    write(parse_text(text), file)
    model = onnx.load(str(file))
    model.graph.node[0].name = ""
    onnx.save(model, str(file), save_as_external_data=True, location="w.data", size_threshold=0)
    (tmp_path / "copy").mkdir()
    copy = named_copy(file, tmp_path / "copy")
    assert copy.parent == tmp_path / "copy"
    array = read(copy).array("w")
    assert array is not None
    assert (array == parse_text(text).array("w")).all()


def test_a_file_with_names_stays_where_it_is(tmp_path: Path) -> None:
    file = renamed(tmp_path / "model.onnx", ["one", "two", "three"])
    assert named_copy(file, tmp_path / "nowhere") == file
