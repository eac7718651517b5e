"""A model and what belongs beside it are written all together, or not at all."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from slimc.errors import SlimcError
from slimc.ir.graph import Form
from slimc.ir.text import parse_text
from slimc.pipeline.save import companion_digests, companions, save
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.target import Companion

NET = replace(
    parse_text("graph (%x: f32[1,2]) -> (%y)\n  %y: f32[1,2] = Relu(%x)"),
    form=Form.LEGAL,
    target="mine",
)
MINE = replace(
    GENERIC_ONNX,
    name="mine",
    companions=(
        Companion(".notes.txt", "names", lambda graph: f"{graph.name}\n"),
        Companion(".empty.txt", "nothing", lambda graph: ""),
    ),
)


def test_companions_lie_beside_the_model(tmp_path: Path) -> None:
    written = save(NET, MINE, tmp_path / "net.v2.onnx")
    assert written == (tmp_path / "net.v2.onnx", tmp_path / "net.v2.notes.txt")
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert written[1].read_text() == "graph\n"


def test_their_digests_are_those_of_the_files(tmp_path: Path) -> None:
    files = save(NET, MINE, tmp_path / "net.onnx")
    digest = sha256(files[1].read_bytes()).hexdigest()
    assert companion_digests(NET, MINE) == {"output.notes.txt": digest}


def test_a_graph_that_is_not_lowered_has_none() -> None:
    assert list(companions(replace(NET, form=Form.CANONICAL), MINE)) == []


def test_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "net.notes.txt").write_text("old")
    (tmp_path / "net.onnx").mkdir()  # in the way of the model
    with pytest.raises(SlimcError, match=r"net\.onnx"):
        save(NET, MINE, tmp_path / "net.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.notes.txt", "net.onnx"]
    assert (tmp_path / "net.notes.txt").read_text() == "old"


def test_a_folder_in_the_way_of_a_companion(tmp_path: Path) -> None:
    (tmp_path / "net.notes.txt").mkdir()
    with pytest.raises(SlimcError, match="it is a folder"):
        save(NET, MINE, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SlimcError) as error:
        save(NET, MINE, tmp_path / "none" / "net.onnx")
    assert error.value.name == "unwritable"
    assert "net.notes.txt" in error.value.message
